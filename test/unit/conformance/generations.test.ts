/** What only other generations than the usual one can be held to, each contract with its canaries. */
import { expect, test } from 'vitest';
import {
  type Capability,
  canaries,
  contracts,
  renderReport,
  runConformance,
} from '../../../conformance/index.ts';
import { simTarget } from '../../../entry/targets/sim.ts';

const OTHERS: readonly (readonly [profile: string, needs: readonly Capability[]])[] = [
  ['qemu-10.0', ['qmpJobChange', 'qmpActive']],
];

test.each(OTHERS)(
  '%s keeps what needs %j, and its canaries are caught',
  { timeout: 60_000 },
  async (profile, capabilities) => {
    const own = contracts.filter(({ needs }) => capabilities.some((each) => needs.includes(each)));
    const planted = canaries.filter(({ contract }) => own.some(({ id }) => id === contract));
    const report = await runConformance({
      targets: [simTarget(profile)],
      contracts: own,
      canaries: planted,
      seed: 1,
    });
    expect(report.summary.ok, renderReport(report)).toBe(true);
    expect(report.summary.skipped).toBe(0);
    expect(report.canaries.length).toBe(planted.length);
    expect(new Set(report.canaries.map(({ contract }) => contract)).size).toBe(own.length);
  },
);
