/** Random images, for tests of what is read and written on a host's disk. */
import fc from 'fast-check';
import type { ImageFile, ImageStore, InternalSnapshot } from '../mock-qemu/core/images.ts';
import { format } from '../mock-qemu/core/jobs/create.ts';

const SECTOR_BYTES = 512;

/** A stretch of sectors. A byte of 256 or more is content that is not one repeated byte. */
export interface SpecWrite {
  readonly at: number;
  readonly sectors: number;
  readonly byte: number;
}

/** An image to make. */
export interface ImageSpec {
  readonly format: 'raw' | 'qcow2';
  readonly clusterBits: number;
  readonly sectors: number;
  readonly writes: readonly SpecWrite[];
  /** After which writes a snapshot is taken. */
  readonly snapshots?: readonly number[];
}

const MAX_SECTORS = 6000;

/** Small clusters make several tables of a small image. */
export const imageArbitrary: fc.Arbitrary<ImageSpec> = fc.record({
  format: fc.constantFrom('qcow2', 'qcow2', 'qcow2', 'raw'),
  clusterBits: fc.constantFrom(9, 9, 12, 16, 16, 21),
  sectors: fc.integer({ min: 1, max: MAX_SECTORS }),
  writes: fc.array(
    fc.record({
      at: fc.nat(MAX_SECTORS - 1),
      sectors: fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: MAX_SECTORS })),
      byte: fc.constantFrom(0, 1, 1, 2, 255, 256, 257),
    }),
    { maxLength: 8 },
  ),
  snapshots: fc.uniqueArray(fc.nat(7), { maxLength: 2 }),
});

const mixed = (start: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: SECTOR_BYTES }, (_, index) => (start / SECTOR_BYTES + index * seed) % 251);

function takeSnapshot(image: ImageFile, index: number): void {
  image.snapshots.push({
    id: String(index + 1),
    name: `after write ${index}`,
    dateSec: 1_700_000_000 + index,
    dateNsec: 5,
    vmClockNs: 6e9,
    vmStateBytes: 0,
    virtualSizeBytes: image.virtualSizeBytes,
    extents: image.extents.copy(),
  });
}

/** A snapshot as it compares between stores: what it says of itself, and the third byte of each of its sectors. */
export function plainSnapshot(store: ImageStore, { extents, ...rest }: InternalSnapshot) {
  const bytes: number[] = [];
  for (let at = 2; at < rest.virtualSizeBytes; at += SECTOR_BYTES) {
    bytes.push(store.blobs.byteAt(extents.at(at, rest.virtualSizeBytes).tag, at));
  }
  return { ...rest, bytes: bytes.join() };
}

/** Makes the image, saved in several steps so that changes are written, too. */
export function writeImage(store: ImageStore, path: string, spec: ImageSpec) {
  const clusterSizeBytes = 2 ** spec.clusterBits;
  const image = store.create(path);
  format(image, {
    format: spec.format,
    sizeBytes: spec.sectors * SECTOR_BYTES,
    header: { clusterSizeBytes },
  });
  for (const [index, { at, sectors, byte }] of spec.writes.entries()) {
    const [from, to] = [at * SECTOR_BYTES, Math.min(at + sectors, spec.sectors) * SECTOR_BYTES];
    if (byte < 256) image.extents.set(from, to, byte);
    const mixedEnd = Math.min(to, from + 16 * SECTOR_BYTES);
    for (let start = from; byte >= 256 && start < mixedEnd; start += SECTOR_BYTES) {
      image.extents.set(start, start + SECTOR_BYTES, store.blobs.intern(start, mixed(start, byte)));
    }
    if (spec.format === 'qcow2' && spec.snapshots?.includes(index)) takeSnapshot(image, index);
    image.save();
  }
  const { virtualSizeBytes, header } = image;
  const snapshots = image.snapshots.map((each) => plainSnapshot(store, each));
  return { virtualSizeBytes, header, snapshots, digest: store.digest(path) };
}
