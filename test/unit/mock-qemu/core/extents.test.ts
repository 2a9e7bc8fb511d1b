import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ABSENT, BlobTable, ExtentMap } from '../../../../mock-qemu/core/extents.ts';

const SIZE = 64;
const write = fc
  .tuple(fc.nat({ max: SIZE }), fc.nat({ max: SIZE }), fc.constantFrom(ABSENT, 0, 1, 2))
  .map(([a, b, tag]) => ({ start: Math.min(a, b), end: Math.max(a, b), tag }));

/** The map as one tag a byte. */
function bytesOf(map: ExtentMap): number[] {
  const bytes: number[] = [];
  for (let offset = 0; offset < SIZE; ) {
    const span = map.at(offset, SIZE);
    for (; offset < span.end; offset++) bytes.push(span.tag);
  }
  return bytes;
}

describe('ExtentMap', () => {
  test('holds what an array of bytes would', () => {
    fc.assert(
      fc.property(fc.array(write, { maxLength: 30 }), (writes) => {
        const map = new ExtentMap();
        const model = new Array<number>(SIZE).fill(ABSENT);
        for (const { start, end, tag } of writes) {
          map.set(start, end, tag);
          model.fill(tag, start, end);
        }
        expect(bytesOf(map)).toEqual(model);
        expect(map.coveredBytes).toBe(model.filter((tag) => tag !== ABSENT).length);
      }),
    );
  });

  test('keeps its extents sorted, apart and joined', () => {
    fc.assert(
      fc.property(fc.array(write, { maxLength: 30 }), (writes) => {
        const map = new ExtentMap();
        for (const { start, end, tag } of writes) map.set(start, end, tag);
        map.extents.forEach((extent, index) => {
          expect(extent.start).toBeLessThan(extent.end);
          const next = map.extents[index + 1];
          if (!next) return;
          expect(extent.end).toBeLessThanOrEqual(next.start);
          if (extent.end === next.start) expect(extent.tag).not.toBe(next.tag);
        });
      }),
    );
  });

  test('a fully written tebibyte is one extent', () => {
    const map = new ExtentMap();
    for (let offset = 0; offset < 2 ** 40; offset += 2 ** 30) map.set(offset, offset + 2 ** 30, 7);
    expect(map.count).toBe(1);
    expect(map.coveredBytes).toBe(2 ** 40);
  });
});

describe('BlobTable', () => {
  test('a tag stays true when its range is cut', () => {
    const blobs = new BlobTable();
    const tag = blobs.intern(100, Uint8Array.of(1, 2, 3));
    expect(tag).toBeGreaterThan(255);
    expect(blobs.byteAt(tag, 102)).toBe(3);
    expect(blobs.intern(100, Uint8Array.of(1, 2, 3))).toBe(tag);
    expect(blobs.byteAt(9, 5)).toBe(9);
  });
});
