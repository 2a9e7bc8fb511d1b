import { expect, test } from 'vitest';
import type { Script } from '../../differential/script.ts';
import { shrink } from '../../differential/shrink.ts';

const script = (...names: readonly string[]): Script => ({
  world: 'nodes',
  steps: names.map((execute) => ({ execute })),
});
const namesOf = ({ steps }: Script): string => steps.map(({ execute }) => execute).join('');

test('drops what is not needed, in order, and asks once for each step', async () => {
  let asked = 0;
  const least = await shrink(script(...'abcdefg'), 5, async (candidate) => {
    asked++;
    return /b.*e/.test(namesOf(candidate));
  });
  expect(namesOf(least)).toBe('be');
  expect(asked).toBe(6);
});

test('keeps a script that shows nothing any more', async () => {
  expect(namesOf(await shrink(script('a', 'b'), 1, async () => false))).toBe('ab');
});
