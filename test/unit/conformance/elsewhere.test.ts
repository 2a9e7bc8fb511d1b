import { expect, test } from 'vitest';
import { canaries, contracts, runConformance } from '../../../conformance/index.ts';
import { memoryTarget } from '../../../entry/targets/memory.ts';
import { simTarget } from '../../../entry/targets/sim.ts';

/** What no machine of today can refuse is refused where it can: by the driver in memory, and by early generations. */
test.each([
  ['anyDisk', memoryTarget()],
  ['early', simTarget('qemu-1.3')],
] as const)('refusals that need %s are kept and judged on %o', async (need, target) => {
  const wanted = contracts.filter(({ needs }) => needs.includes(need));
  const planted = canaries.filter(({ contract }) => wanted.some(({ id }) => id === contract));
  expect(wanted.length).toBeGreaterThan(4);
  const report = await runConformance({
    targets: [target],
    contracts: wanted,
    canaries: planted,
    seed: 1,
    runs: 1,
  });
  const results = report.contracts.flatMap((line) => Object.values(line.results));
  expect(results.map(({ status }) => status)).toEqual(wanted.map(() => 'pass'));
  expect(report.canaries.filter(({ caught }) => !caught)).toEqual([]);
});
