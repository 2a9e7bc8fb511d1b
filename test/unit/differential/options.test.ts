import { describe, expect, test } from 'vitest';
import { defaultFeatures, FEATURES, featureNames } from '../../differential/features.ts';
import { parseOptions, UsageError } from '../../differential/options.ts';

const WORDS = [
  '--qemu',
  process.execPath,
  '--profile',
  'qemu-7.2',
  '--scripts',
  '1',
  '--seed',
  '1',
  '--report',
  'r',
];

const complaint = (words: readonly string[]): string => {
  try {
    parseOptions(words);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return 'none';
};

describe('--features', () => {
  test('left out: what agrees on the profile', () => {
    expect(parseOptions(WORDS).features).toEqual(defaultFeatures('qemu-7.2'));
  });

  test('names, or none at all', () => {
    expect(parseOptions([...WORDS, '--features', 'reopen,devices']).features).toEqual(['reopen', 'devices']);
    expect(parseOptions([...WORDS, '--features', 'none']).features).toEqual([]);
  });

  test('an unknown name: one line that lists the valid ones', () => {
    const told = complaint([...WORDS, '--features', 'reopen,bogus']);
    expect(told).toBe(`--features 'bogus': no such feature, valid are ${featureNames.join(', ')}`);
    expect(featureNames).toEqual([...FEATURES.map(({ name }) => name), 'none']);
  });

  test('a feature that the profile does not have', () => {
    expect(complaint([...WORDS, '--features', 'change'])).toMatch(
      /qemu-7\.2 does not have it, only qemu-10\.0/,
    );
  });

  test('an unknown option lists the valid ones', () => {
    expect(complaint([...WORDS, '--feature', 'x'])).toMatch(
      /unknown option '--feature': valid are .*--features/,
    );
  });
});
