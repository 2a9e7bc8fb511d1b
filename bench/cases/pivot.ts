/** Whole cases: images made, a domain started, its disk copied, the guest pivoted to the copy, all put away. */
import type { Target } from '../../conformance/index.ts';
import { World } from '../../conformance/world.ts';
import { qemuTarget } from '../../entry/targets/qemu.ts';
import { simTarget } from '../../entry/targets/sim.ts';
import { BlockJobAbortFlags, BlockJobStatus } from '../../src/index.ts';
import type { Measure } from '../figure.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const DISK = {
  capacityBytes: 64 * MIB,
  isDeclared: true,
  layers: [
    { format: 'qcow2', writes: [{ offsetBytes: 0, lengthBytes: 16 * MIB, byte: 1 }] },
    { format: 'qcow2', writes: [{ offsetBytes: 16 * MIB, lengthBytes: 16 * MIB, byte: 2 }] },
  ],
} as const;
const COPY = {
  disk: DISK,
  shallow: false,
  format: 'qcow2',
  granularityBytes: 0,
  bufSizeBytes: 0,
  held: false,
  speedBytesPerSecond: 0,
  during: [{ offsetBytes: 8 * MIB, lengthBytes: 64 * KIB, byte: 3 }],
  later: [{ offsetBytes: 40 * MIB, lengthBytes: 64 * KIB, byte: 4 }],
} as const;

/** Until the rate is steady: what is compiled late counts as little as what is loaded first. */
const WARM_UP = 1500;
/** In turns, so that what else the machine does hits both alike. */
const ROUNDS = 6;
const SIM_CASES = 200;
const REAL_CASES = 1;
const RATIO = 100;

async function runCase(target: Target, seed: number): Promise<void> {
  const session = await target.open({ seed });
  try {
    const vm = await new World(session).start(DISK);
    await vm.copyUntilReady(COPY);
    await vm.domain.blockJobAbort(vm.disk, BlockJobAbortFlags.PIVOT);
    await vm.ended(BlockJobStatus.COMPLETED);
  } finally {
    await session.dispose();
  }
}

/** Milliseconds that so many cases take. */
async function casesMs(target: Target, cases: number): Promise<number> {
  const started = performance.now();
  for (let number = 0; number < cases; number++) await runCase(target, number);
  return performance.now() - started;
}

/** How many whole cases fit into a second. */
export const pivot: Measure = async ({ emulator }) => {
  const sim = simTarget();
  const real = emulator === undefined ? undefined : await qemuTarget(emulator);
  await casesMs(sim, WARM_UP);
  let [simMs, realMs] = [0, 0];
  for (let round = 0; round < ROUNDS; round++) {
    if (real) realMs += await casesMs(real, REAL_CASES);
    simMs += await casesMs(sim, SIM_CASES);
  }
  await real?.close?.();
  const simulated = (ROUNDS * SIM_CASES * 1000) / simMs;
  const compared = real && (ROUNDS * REAL_CASES * 1000) / realMs;
  const ratio = compared && simulated / compared;
  return [
    {
      id: 'pivots-per-second',
      title: 'whole copy-and-pivot cases',
      unit: '1/s',
      simulated,
      ...(compared !== undefined && { real: compared }),
      ...(ratio !== undefined && {
        goal: { text: `>= ${RATIO} for one real (${Math.round(ratio)})`, met: ratio >= RATIO },
      }),
      note: 'two images with 32 MiB of data, start, writes, blockCopy, READY, pivot, end; one at a time, one thread',
    },
  ];
};
