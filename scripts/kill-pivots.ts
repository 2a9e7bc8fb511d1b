/**
 * Kills real processes at random instants of a pivot while a guest writes, and asks a new connection what happened. The
 * guest's writes go through a monitor of its own, so they go on when the management process is dead; it writes only
 * while the CPUs run. `npm run kill-pivots -- --help` lists the options.
 */
import fc from 'fast-check';
import { KINDS, killPivot, PLANTS, VICTIMS } from '../test/recovery/real/killed-pivot.ts';
import { count, values, wrong } from './options.ts';

const MAX_DELAY_MS = 40;
const HELP = `usage: npm run kill-pivots -- [options]
  --runs N         how many pivots are cut off (200)
  --seed S         of victims and instants (1)
  --kind KIND      ${KINDS.join(', ')} (copy)
  --pause yes|no   whether the guest is paused around the pivot (no)
  --at-once N      how many run side by side (2)
  --emulator PATH  the QEMU (qemu-system-x86_64)
  --plant FAULT    breaks what is found on purpose: ${PLANTS.join(', ')}
`;

function choice<T extends string>(option: string, value: string, valid: readonly T[]): T {
  return (
    valid.find((one) => one === value) ?? wrong(`--${option} '${value}': use one of ${valid.join(', ')}`)
  );
}

const given = values(HELP, {
  runs: '200',
  seed: '1',
  kind: 'copy',
  pause: 'no',
  'at-once': '2',
  emulator: 'qemu-system-x86_64',
  plant: undefined as string | undefined,
});
const runs = count('runs', given.runs, 1);
const seed = count('seed', given.seed, 0);
const kind = choice('kind', given.kind, KINDS);
const pauses = choice('pause', given.pause, ['yes', 'no']) === 'yes';
const plant = given.plant === undefined ? {} : { plant: choice('plant', given.plant, PLANTS) };
const instants = fc.sample(fc.tuple(fc.constantFrom(...VICTIMS), fc.integer({ min: 0, max: MAX_DELAY_MS })), {
  numRuns: runs,
  seed,
});
const queue = instants.values();
const tally: Record<string, number> = {};
let failures = 0;
const began = performance.now();

async function work(): Promise<void> {
  for (const [victim, delayMs] of queue) {
    const test = { kind, victim, delayMs, pauses, emulator: given.emulator, ...plant };
    const result = await killPivot(test);
    tally[result.name] = (tally[result.name] ?? 0) + 1;
    if (result.wrong.length === 0) continue;
    failures += 1;
    process.stdout.write(`${victim} after ${delayMs} ms: ${result.wrong.join('; ')}\n`);
  }
}

await Promise.all(Array.from({ length: count('at-once', given['at-once'], 1) }, work));
const seconds = ((performance.now() - began) / 1000).toFixed(0);
process.stdout.write(
  `${runs} kills of ${kind}, seed ${seed}, pause ${given.pause}: ${failures} wrong in ${seconds} s; ${JSON.stringify(tally)}\n`,
);
process.exitCode = failures === 0 ? 0 : 1;
