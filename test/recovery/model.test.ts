/** The model-based property, small enough for every run; `scripts/random-sequences.ts` runs as many as one likes. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LifeOptions } from './life.ts';
import { runSequence, sequences } from './model.ts';

test('random sequences agree with the model', async () => {
  const probes = new Map();
  await fc.assert(
    fc.asyncProperty(sequences(30), (commands) => runSequence(commands, probes)),
    { seed: 20_261_121, numRuns: 50 },
  );
});

test('a journal that stops being written is caught', async () => {
  const probes = new Map();
  const stops: LifeOptions['wrapState'] = (store) => {
    let left = 6;
    return {
      ...store,
      write: (key, text) => {
        left -= 1;
        if (left > 0) store.write(key, text);
      },
    };
  };
  const details = await fc.check(
    fc.asyncProperty(sequences(30), (steps) => runSequence(steps, probes, { wrapState: stops })),
    { seed: 1, numRuns: 50, endOnFailure: true },
  );
  expect(details.failed).toBe(true);
});
