import { expect, test } from 'vitest';
import { Clock } from '../../../../mock-qemu/core/clock.ts';
import { RateLimit } from '../../../../mock-qemu/core/jobs/ratelimit.ts';
import { Random } from '../../../../mock-qemu/core/random.ts';

test('timers run at their instant, those of one instant in the order in which they were set', () => {
  const clock = new Clock(1000);
  const seen: string[] = [];
  const note = (name: string) => () => seen.push(`${name}@${clock.now()}`);
  clock.after(20, note('late'));
  clock.after(10, note('first'));
  clock.after(10, note('second'));
  clock.after(15, note('never')).cancel();
  clock.after(5, () => clock.after(5, note('third')));
  expect(clock.nextAt()).toBe(1005);
  clock.advance(15);
  expect(seen).toEqual(['first@1010', 'second@1010', 'third@1010']);
  expect(clock.now()).toBe(1015);
  clock.advance(100);
  expect(seen.at(-1)).toBe('late@1020');
  expect(clock.nextAt()).toBeUndefined();
});

test('a seed determines the numbers', () => {
  const draw = (seed: number) => {
    const random = new Random(seed);
    return [random.word(), random.below(10), random.chance(0.5)];
  };
  expect(draw(1)).toEqual(draw(1));
  expect(draw(1)).not.toEqual(draw(2));
});

test('a step that overruns its slice is slept off in full', () => {
  const limit = new RateLimit('debt');
  limit.set(65536);
  expect(limit.delayNs(0, 524288)).toBeCloseTo(8.0e9, -7);
  limit.set(0);
  expect(limit.delayNs(0, 524288)).toBe(0);
});
