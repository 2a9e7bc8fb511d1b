import { describe, expect, test } from 'vitest';
import { type Baseline, holdAgainst, parseBaseline, updatedBaseline } from '../../../conformance/gate.ts';
import type { Contract } from '../../../conformance/index.ts';
import { skipOf } from '../../../conformance/judge.ts';
import { mergeReports } from '../../../conformance/merge.ts';
import type { ContractResult, Report } from '../../../conformance/report/report.ts';
import { summarize } from '../../../conformance/report/report.ts';
import type { Availability, Capability } from '../../../conformance/target.ts';

type Status = ContractResult['status'];

function reportOf(statuses: Readonly<Record<string, Readonly<Record<string, Status>>>>): Report {
  const contracts = Object.entries(statuses).map(([id, results]) => ({
    id,
    title: id,
    source: 'somewhere',
    results: Object.fromEntries(
      Object.entries(results).map(([target, status]) => [
        target,
        {
          status,
          runs: 1,
          seed: 1,
          ms: 1,
          ...(status === 'fail' ? { failure: { message: 'it broke\nbadly' } } : {}),
        },
      ]),
    ),
  }));
  const found = { contracts, canaries: [] };
  return { ...found, summary: summarize(found, { seed: 1, ms: 1, targets: { sim: 'simulated' } }) };
}

const context = { known: ['api/a', 'api/b'], today: '2030-05-10' };
const baseline: Baseline = {
  contracts: { 'api/a': { sim: 'pass' }, 'api/b': { sim: 'skip' } },
  deviations: [],
};
const deviation = { contract: 'api/a', target: 'sim', reason: 'a bug', until: '2030-05-10' };

describe('a run against its baseline', () => {
  test('passes where nothing got worse, also where something got better', () => {
    const held = holdAgainst(
      reportOf({ 'api/a': { sim: 'pass' }, 'api/b': { sim: 'pass' } }),
      baseline,
      context,
    );
    expect([held.summary.ok, held.gate]).toEqual([true, []]);
  });

  test.each([
    ['fail', 'api/a on sim got worse: it was pass, it is fail'],
    ['skip', 'api/a on sim got worse: it was pass, it is skip'],
  ] as const)('fails on what is now %s', (status, finding) => {
    const held = holdAgainst(reportOf({ 'api/a': { sim: status } }), baseline, context);
    expect([held.summary.ok, held.gate]).toEqual([false, [finding]]);
  });

  test('does not mind what is skipped for how the target is met, not for what it is', () => {
    const availability = { ok: true, version: 'a server', capabilities: {} } as Availability & { ok: true };
    const needs = (...names: Capability[]) => ({ needs: names }) as unknown as Contract;
    const skips = (contract: Contract, own?: readonly Capability[]) =>
      skipOf(contract, own ? { ...availability, own } : availability);
    const away = skips(needs('qmpJobChange', 'qmpDisks'), ['qmpJobChange']);
    expect(away).toEqual({
      reason: 'needs qmpJobChange, qmpDisks, which a server lacks',
      isOutOfReach: true,
    });
    for (const missing of [skips(needs('qmpJobChange'), ['qmpJobChange']), skips(needs('qmpDisks'))])
      expect(missing?.isOutOfReach).toBeUndefined();

    const report = reportOf({ 'api/a': { sim: 'skip' } });
    const contracts = report.contracts.map((line) => ({
      ...line,
      results: { sim: { status: 'skip', runs: 0, seed: 1, ms: 0, ...away } as const },
    }));
    expect(holdAgainst({ ...report, contracts }, baseline, context).gate).toEqual([]);
  });

  test('fails on a contract that vanished, but not on one that this part of the run leaves out', () => {
    const report = reportOf({ 'api/a': { sim: 'pass' } });
    expect(holdAgainst(report, baseline, context).summary.ok).toBe(true);
    const held = holdAgainst(report, baseline, { ...context, known: ['api/a'] });
    expect(held.gate).toEqual(['api/b vanished: the baseline has it, the suite has not']);
    expect(held.summary.ok).toBe(false);
  });

  test('puts up with a known deviation until its day is over', () => {
    const known = { ...baseline, deviations: [deviation] };
    const report = reportOf({ 'api/a': { sim: 'fail' } });
    const held = holdAgainst(report, known, context);
    expect([held.summary.ok, held.summary.failed]).toEqual([true, 0]);
    expect(held.contracts[0]?.results.sim?.deviation).toBe('a bug (until 2030-05-10)');
    const late = holdAgainst(report, known, { ...context, today: '2030-05-11' });
    expect(late.summary.ok).toBe(false);
    expect(late.gate).toContain('the deviation of api/a on sim was good until 2030-05-10');
  });

  test('fails on a deviation that passes again', () => {
    const held = holdAgainst(
      reportOf({ 'api/a': { sim: 'pass' } }),
      { ...baseline, deviations: [deviation] },
      context,
    );
    expect(held.gate).toEqual(['api/a on sim passes again: take its deviation out of the ledger']);
    expect(held.summary.ok).toBe(false);
  });
});

describe('an updated baseline', () => {
  test('holds what was found, keeps what was not run, and enters failures into the ledger', () => {
    const before = {
      contracts: { ...baseline.contracts, 'api/gone': { sim: 'pass' as const } },
      deviations: [],
    };
    const after = updatedBaseline(reportOf({ 'api/a': { sim: 'fail' } }), before, context);
    expect(after).toEqual({
      contracts: { 'api/a': { sim: 'fail' }, 'api/b': { sim: 'skip' } },
      deviations: [{ contract: 'api/a', target: 'sim', reason: 'it broke', until: '2030-06-09' }],
    });
    expect(parseBaseline(JSON.stringify(after))).toEqual(after);
  });

  test('keeps the words of a deviation, and drops it once it passes', () => {
    const before = { ...baseline, deviations: [deviation] };
    expect(updatedBaseline(reportOf({ 'api/a': { sim: 'fail' } }), before, context).deviations).toEqual([
      deviation,
    ]);
    expect(updatedBaseline(reportOf({ 'api/a': { sim: 'pass' } }), before, context).deviations).toEqual([]);
  });
});

test.each([
  ['[]', "'contracts' and 'deviations'"],
  ['{"contracts":{"a":{"sim":"maybe"}},"deviations":[]}', 'the statuses of a'],
  ['{"contracts":{},"deviations":[{"contract":"a"}]}', 'a deviation has the strings'],
  [
    JSON.stringify({ contracts: {}, deviations: [{ ...deviation, until: 'later' }] }),
    "until 'later' is not a date",
  ],
])('%s is no baseline', (text, message) => {
  expect(() => parseBaseline(text)).toThrow(message);
});

test('merged, the reports of shards and of targets are one, and a failure outweighs a pass', () => {
  const merged = mergeReports(
    [
      reportOf({ 'api/b': { sim: 'pass' } }),
      reportOf({ 'api/a': { sim: 'pass' }, 'api/b': { qemu: 'skip' } }),
      reportOf({ 'api/b': { sim: 'fail', qemu: 'pass' } }),
    ],
    context.known,
  );
  const statuses = merged.contracts.map(({ id, results }) => [
    id,
    Object.fromEntries(Object.entries(results).map(([target, { status }]) => [target, status])),
  ]);
  expect(statuses).toEqual([
    ['api/a', { sim: 'pass' }],
    ['api/b', { sim: 'fail', qemu: 'pass' }],
  ]);
  expect(merged.summary).toMatchObject({ passed: 2, failed: 1, skipped: 0, ms: 3, ok: false });
});
