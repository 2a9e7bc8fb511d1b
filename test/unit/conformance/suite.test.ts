import { describe, expect, test } from 'vitest';
import { canaries, contracts, renderReport, runConformance } from '../../../conformance/index.ts';
import { fakeTarget } from './fake-target.ts';

const availability = await fakeTarget.available();
const able = availability.ok ? availability.capabilities : {};
/** What a backend without QMP, and with few jobs, can be held to. */
const basic = contracts.filter(({ needs }) => needs.every((name) => able[name as keyof typeof able]));

describe('the suite on a backend that is right', { timeout: 60_000 }, () => {
  test('passes every contract', async () => {
    const report = await runConformance({
      targets: [fakeTarget],
      contracts,
      canaries: [],
      seed: 1,
      runs: 30,
    });
    expect(report.summary.ok, renderReport(report)).toBe(true);
    const { passed, skipped } = report.summary;
    expect(passed + skipped).toBe(contracts.length);
    expect(passed).toBe(basic.length);
  });

  test('catches every canary that breaks the API', async () => {
    const planted = canaries.filter(
      ({ wire, contract }) => wire === undefined && basic.some(({ id }) => id === contract),
    );
    const report = await runConformance({
      targets: [fakeTarget],
      contracts,
      canaries: planted,
      seed: 1,
      runs: 1,
    });
    expect(report.canaries.filter(({ caught }) => !caught)).toEqual([]);
    expect(report.canaries).toHaveLength(planted.length);
  });
});

test('every contract is named by a canary, every canary names a contract, and ids are unique', () => {
  const ids = contracts.map(({ id }) => id);
  expect(new Set(canaries.map(({ contract }) => contract))).toEqual(new Set(ids));
  expect(new Set(ids).size).toBe(ids.length);
  expect(new Set(canaries.map(({ id }) => id)).size).toBe(canaries.length);
});
