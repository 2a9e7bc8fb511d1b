/** Whole cases: images made, a domain started, its disk copied, the guest pivoted to the copy, all put away. */
import type { Target } from '../../conformance/index.ts';
import { World } from '../../conformance/world.ts';
import { qemuTarget } from '../../entry/targets/qemu.ts';
import { simTarget } from '../../entry/targets/sim.ts';
import { BlockJobAbortFlags, BlockJobStatus } from '../../src/index.ts';
import type { BenchCase } from '../figure.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const DISK = {
  capacityBytes: 4 * MIB,
  isDeclared: true,
  layers: [
    { format: 'qcow2', writes: [{ offsetBytes: 0, lengthBytes: MIB, byte: 1 }] },
    { format: 'qcow2', writes: [{ offsetBytes: MIB, lengthBytes: MIB, byte: 2 }] },
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
  during: [{ offsetBytes: 2 * MIB, lengthBytes: 64 * KIB, byte: 3 }],
  later: [{ offsetBytes: 3 * MIB, lengthBytes: 64 * KIB, byte: 4 }],
} as const;

const SIM_WARM_UP = 300;
const SIM_CASES = 1000;
const REAL_CASES = 5;
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

/** Cases per second. */
async function rate(target: Target, cases: number): Promise<number> {
  const started = performance.now();
  for (let number = 0; number < cases; number++) await runCase(target, number);
  return (cases * 1000) / (performance.now() - started);
}

/** How many whole cases fit into a second. */
export const pivot: BenchCase = {
  name: 'pivot',
  isolated: true,
  async run({ emulator }) {
    const real = emulator === undefined ? undefined : await qemuTarget(emulator);
    const realRate = real && (await rate(real, REAL_CASES));
    await real?.close?.();
    const target = simTarget();
    await rate(target, SIM_WARM_UP);
    const simulated = await rate(target, SIM_CASES);
    const ratio = realRate === undefined ? undefined : simulated / realRate;
    return [
      {
        id: 'pivots-per-second',
        title: 'whole copy-and-pivot cases',
        unit: '1/s',
        simulated,
        ...(realRate !== undefined && { real: realRate }),
        ...(ratio !== undefined && {
          goal: { text: `>= ${RATIO} for one real (${Math.round(ratio)})`, met: ratio >= RATIO },
        }),
        note: 'images, start, guest writes, blockCopy, READY, pivot, end; one at a time, in one thread',
      },
    ];
  },
};
