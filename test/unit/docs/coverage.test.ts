import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { coveragePage, observe, uncovered } from '../../../scripts/coverage.ts';

test('every command, call, flag and event of the family is covered, and the page says by what', {
  timeout: 120_000,
}, async () => {
  const seen = await observe();
  expect(uncovered(seen)).toEqual([]);
  const page = readFileSync(new URL('../../../docs/coverage.md', import.meta.url), 'utf8');
  expect(page, 'out of date: node scripts/coverage.ts').toBe(coveragePage(seen));
});
