import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HostError } from '../../../../mock-qemu/core/errno.ts';
import { createDiskStore } from '../../../../mock-qemu/images/disk.ts';
import { type ImageSpec, imageArbitrary, plainSnapshot, writeImage } from '../../../image-specs.ts';

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'mockvirt-qcow2-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

describe('an image file', () => {
  test('holds, for another process, what was saved', () => {
    fc.assert(
      fc.property(imageArbitrary, (spec: ImageSpec) => {
        const path = `${directory}/image`;
        rmSync(path, { force: true });
        const written = writeImage(createDiskStore(), path, spec);
        const store = createDiskStore();
        const read = store.open(path);
        expect(read.format).toBe(spec.format);
        expect(read.virtualSizeBytes).toBe(written.virtualSizeBytes);
        expect(read.header).toEqual(spec.format === 'raw' ? { clusterSizeBytes: 65536 } : written.header);
        expect(read.snapshots.map((each) => plainSnapshot(store, each))).toEqual(written.snapshots);
        expect(createDiskStore().digest(path)).toBe(written.digest);
      }),
      { numRuns: 25 },
    );
  });

  test('is read or refused, whatever its bytes are', () => {
    const path = `${directory}/broken`;
    writeImage(createDiskStore(), path, {
      format: 'qcow2',
      clusterBits: 9,
      sectors: 4096,
      writes: [
        { at: 0, sectors: 3, byte: 5 },
        { at: 100, sectors: 700, byte: 7 },
      ],
    });
    const whole = readFileSync(path);
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(damage, fc.nat(whole.length), fc.nat(111), (changes, length, headerByte) => {
        const bytes = Buffer.from(whole.subarray(0, length));
        for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
        if (headerByte > 4 && headerByte < length) bytes[headerByte] = changes[0]?.[1] ?? 1;
        writeFileSync(path, bytes);
        try {
          createDiskStore().contents(path);
        } catch (error) {
          expect(error).toBeInstanceOf(HostError);
        }
      }),
      { numRuns: 150 },
    );
  });
});
