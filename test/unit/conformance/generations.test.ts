/** What only other generations than the usual one can be held to; the early ones' contracts with their canaries. */
import { expect, test } from 'vitest';
import {
  type Capability,
  canaries,
  contracts,
  renderReport,
  runConformance,
} from '../../../conformance/index.ts';
import { skipReason } from '../../../conformance/judge.ts';
import { simTarget } from '../../../entry/targets/sim.ts';

// The canaries of 10.0 are planted by a run of their own.
const OTHERS: readonly (readonly [profile: string, needs: readonly Capability[], isPlanted: boolean])[] = [
  ['qemu-10.0', ['qmpJobChange', 'qmpActive'], false],
  ['qemu-1.3', ['earlyQmp'], true],
  ['rhel-6.3', ['redHatMirror'], true],
];

test.each(OTHERS)('%s keeps what needs %j; canaries: %s', { timeout: 60_000 }, async (...row) => {
  const [profile, capabilities, isPlanted] = row;
  const target = simTarget(profile);
  const availability = await target.available();
  const own = contracts.filter(
    (contract) =>
      capabilities.some((each) => contract.needs.includes(each)) &&
      skipReason(contract, availability) === undefined,
  );
  const planted = canaries.filter(({ contract }) => isPlanted && own.some(({ id }) => id === contract));
  const report = await runConformance({ targets: [target], contracts: own, canaries: planted, seed: 1 });
  expect(report.summary.ok, renderReport(report)).toBe(true);
  expect(own.length).toBeGreaterThan(0);
  expect(new Set(report.canaries.map(({ contract }) => contract)).size).toBe(isPlanted ? own.length : 0);
});
