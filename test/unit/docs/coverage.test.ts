import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { canaries } from '../../../conformance/index.ts';
import { apiRows, breakOf } from '../../../conformance/rows.ts';
import { complaints, coverage, coveragePage } from '../../../scripts/coverage.ts';

const ROOT = join(import.meta.dirname, '../../..');
const lines = coverage();

test('every command, call, flag and event of the family is judged or excused, and the page says by what', () => {
  expect(complaints(lines)).toEqual([]);
  const page = readFileSync(join(ROOT, 'docs/coverage.md'), 'utf8');
  expect(page, 'out of date: node scripts/coverage.ts').toBe(coveragePage(lines));
});

test('an excuse that names a test names one that is there', () => {
  for (const { elsewhere = '' } of lines)
    for (const [, path = ''] of elsewhere.matchAll(/`(test\/[^`]+)`/g))
      expect(existsSync(join(ROOT, path)), path).toBe(true);
});

const KINDS = ['QMP command', 'QMP event', 'call', 'flag', 'event'] as const;
test.each(KINDS)('a %s without its judge is uncovered', (kind) => {
  const judged = lines.find(({ row, judges }) => row.kind === kind && judges.length > 0);
  const others = canaries.filter(({ row }) => row?.kind !== kind || row.name !== judged?.row.name);
  expect(complaints(coverage(others), others)).toEqual([`uncovered: ${kind} ${judged?.row.name}`]);
});

test('a judge of what is no row is found out', () => {
  const [one] = canaries;
  const planted = {
    ...(one as (typeof canaries)[number]),
    row: { kind: 'QMP command', name: 'block-nothing' } as const,
  };
  expect(complaints(lines, [...canaries, planted])).toEqual([
    'judged, and no row: QMP command block-nothing',
  ]);
});

test('the break of a row leaves the others alone', () => {
  const passed: unknown[] = [];
  const port = { forward: (message: unknown) => void passed.push(message), back: () => {} };
  const commands = ['block-stream', 'query-jobs'].map((execute) => ({ execute }));
  const events = ['STOP', 'BLOCK_JOB_READY'].map((event) => ({ event }));
  const stream = breakOf({ kind: 'QMP command', name: 'block-stream' }).wire?.();
  for (const message of commands) stream?.toQemu?.(message, port);
  const stop = breakOf({ kind: 'QMP event', name: 'STOP' }).wire?.();
  for (const message of events) stop?.fromQemu?.(message, port);
  expect(passed).toEqual([commands[1], events[1]]);
  for (const row of apiRows()) expect(breakOf(row).api).toBeTypeOf('function');
});
