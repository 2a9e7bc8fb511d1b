/** What openers of one file allow each other. */
import { describe, expect, test } from 'vitest';
import {
  ALL,
  CREATOR_RIGHTS,
  FileLocks,
  NO_RIGHTS,
  namesOf,
  READ,
  RESIZE,
  WRITE,
  WRITE_UNCHANGED,
} from '../../../../mock-qemu/core/rights.ts';

const FORMAT = { needs: READ | WRITE | RESIZE, shares: READ | WRITE_UNCHANGED };
const READER = { needs: READ, shares: READ | WRITE_UNCHANGED };
const MIRROR_TARGET = { needs: READ | WRITE | RESIZE, shares: WRITE_UNCHANGED };

describe('the locks of a file', () => {
  test.each([
    ['two formats', FORMAT, FORMAT, 'Failed to get "write" lock'],
    ['a reader beside a format', FORMAT, READER, 'Failed to get shared "write" lock'],
    ['two readers', READER, READER, undefined],
    ["a reader of a mirror's target", MIRROR_TARGET, READER, 'Failed to get "consistent read" lock'],
    ['whoever empties a file beside its reader', READER, CREATOR_RIGHTS, 'Failed to get "write" lock'],
    [
      'whoever empties a file that others may resize',
      { needs: RESIZE, shares: ALL },
      CREATOR_RIGHTS,
      'Failed to get shared "resize" lock',
    ],
  ])('%s', (_, present, newcomer, complaint) => {
    const locks = new FileLocks();
    locks.set('present', present);
    expect(locks.conflict('newcomer', newcomer)).toBe(complaint);
    expect(locks.conflict('present', newcomer)).toBeUndefined();
    locks.set('present', NO_RIGHTS);
    expect(locks.conflict('newcomer', newcomer)).toBeUndefined();
  });

  test('count writers, and readers that do not write', () => {
    const locks = new FileLocks();
    locks.set('a', FORMAT);
    locks.set('b', READER);
    locks.set('c', READER);
    expect(locks.counts).toEqual({ writers: 1, readers: 2 });
  });

  test('name rights as error texts do', () => {
    expect(namesOf(WRITE | RESIZE)).toBe('write, resize');
    expect(namesOf(READ | WRITE_UNCHANGED)).toBe('consistent read, write unchanged');
  });
});
