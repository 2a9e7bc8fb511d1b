import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { conformanceCli } from '../../../conformance/cli.ts';
import { targetChoices } from '../../../entry/targets/index.ts';

const ROOT = join(import.meta.dirname, '../../..');
const page = readFileSync(join(ROOT, 'docs/writing-a-driver.md'), 'utf8');
const blocks = [...page.matchAll(/^```ts (\S+)\n([\s\S]*?)^```/gm)].map(([, file = '', code = '']) => ({
  file,
  code,
}));

test.each(blocks)('what the tutorial shows of $file stands there', ({ file, code }) => {
  expect(readFileSync(join(ROOT, file), 'utf8')).toContain(code);
});

test('its command passes', { timeout: 60_000 }, async () => {
  const [, line = ''] = /^npx mockvirt conformance (.*)$/m.exec(page) ?? [];
  const out: string[] = [];
  const code = await conformanceCli([...line.split(' '), '--seed', '1', '--runs', '5'], {
    targets: targetChoices,
    stdout: { write: (text) => out.push(text) },
    stderr: { write: () => {} },
  });
  expect([code, out.join('')]).toEqual([0, expect.stringMatching(/[1-9]\d* passed, 0 failed/)]);
});
