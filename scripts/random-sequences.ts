/**
 * Runs many random sequences of calls, guest writes, crashes and restarts on the simulation, each of 30 steps:
 * `node scripts/random-sequences.ts [RUNS] [SEED]`. Prints what failed with its seed and path, and how long it took.
 */
import fc from 'fast-check';
import { runSequence, sequences } from '../test/recovery/model.ts';

const [runs = '5000', seed = '1'] = process.argv.slice(2);
const probes = new Map();
const STEPS = 30;
const began = performance.now();
await fc.assert(
  fc.asyncProperty(sequences(STEPS, STEPS), (steps) => runSequence(steps, probes)),
  { numRuns: Number(runs), seed: Number(seed) },
);
const seconds = (performance.now() - began) / 1000;
process.stdout.write(`${runs} sequences of ${STEPS} steps, seed ${seed}: ${seconds.toFixed(1)} s\n`);
