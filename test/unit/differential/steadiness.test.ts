import { expect, test } from 'vitest';
import type { Divergence } from '../../differential/compare.ts';
import { agreesAtLast } from '../../differential/steadiness.ts';

const saying = (real: string): Divergence => ({
  place: 'step 1 blockdev-mirror',
  subject: 'blockdev-mirror',
  real,
  simulated: '"offset":65536',
  script: '',
  killer: undefined,
});

/** Answers one after the other, the last one again and again; undefined: what the simulation says. */
function answering(...answers: readonly (string | undefined)[]) {
  const asked = { times: 0 };
  const ask = async (): Promise<Divergence | undefined> => {
    const answer = answers[Math.min(asked.times++, answers.length - 1)];
    return answer === undefined ? undefined : saying(answer);
  };
  return { ask, asked };
}

test('one that always gives the same other answer differs, after five more runs', async () => {
  const { ask, asked } = answering('a');
  expect(await agreesAtLast(saying('a'), ask)).toBe(false);
  expect(asked.times).toBe(5);
});

test('one that gives the answer of the simulation once is unsteady', async () => {
  expect(await agreesAtLast(saying('a'), answering('a', 'a', undefined).ask)).toBe(true);
});

test('two answers are no reason to ask more often', async () => {
  const { ask, asked } = answering('a', 'b', 'a', 'b', 'a', undefined);
  expect(await agreesAtLast(saying('a'), ask)).toBe(false);
  expect(asked.times).toBe(5);
});

test('one with three answers is asked until it gives that of the simulation', async () => {
  const others = Array.from({ length: 40 }, (_, index) => `answer ${index}`);
  expect(await agreesAtLast(saying('a'), answering(...others, undefined).ask)).toBe(true);
});

test('one with many answers, none of them that of the simulation, differs', async () => {
  const { ask, asked } = answering('a', 'b', 'c');
  expect(await agreesAtLast(saying('a'), ask)).toBe(false);
  expect(asked.times).toBe(60);
});
