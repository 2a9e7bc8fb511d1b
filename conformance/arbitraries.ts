/** What properties are generated from: disks with chains and data, copies, pulls. Everything here shrinks. */
import fc from 'fast-check';
import type { Write } from './target.ts';

const KIB = 1024;
/** A stretch that a throttled job is sure to have to copy; generated writes leave it alone. */
const BALLAST_BYTES = 256 * KIB;
const BALLAST_BYTE = 0x5a;

/** One image of a chain, before its domain starts. */
export interface LayerPlan {
  readonly format: 'qcow2' | 'raw';
  readonly writes: readonly Write[];
}

/** A disk with its chain. */
export interface DiskPlan {
  readonly capacityBytes: number;
  /** The base first, the active image last. */
  readonly layers: readonly LayerPlan[];
  /** The domain XML names the whole chain; otherwise it is found out from the headers. */
  readonly isDeclared: boolean;
}

/** What a guest does around a job. */
export interface GuestPlan {
  /** After the job was started, before it is let go. */
  readonly during: readonly Write[];
  /** Once READY, or for a pull once it has been let go. */
  readonly later: readonly Write[];
}

/** A copy of a disk. */
export interface CopyPlan extends GuestPlan {
  readonly disk: DiskPlan;
  readonly shallow: boolean;
  readonly format: 'qcow2' | 'raw';
  /** 0: the hypervisor's choice. */
  readonly granularityBytes: number;
  /** 0: the hypervisor's choice. */
  readonly bufSizeBytes: number;
  /** Held back by a low speed until the check lets it go. */
  readonly held: boolean;
  /** The speed it is let go at; 0: unlimited. */
  readonly speedBytesPerSecond: number;
}

/** A pull of a disk's whole chain into its active image. */
export interface PullPlan extends GuestPlan {
  readonly disk: DiskPlan;
  readonly held: boolean;
  readonly speedBytesPerSecond: number;
}

/** Where a disk gets data that a job has to move. */
export type Ballast = 'none' | 'top' | 'base';

/** How a generated disk is bounded. */
export interface DiskBounds {
  readonly minDepth?: number;
  readonly maxDepth?: number;
  readonly ballast?: Ballast;
}

interface RawWrite {
  readonly slot: number;
  readonly slots: number;
  readonly byte: number;
}

const SLOT_BYTES = 4 * KIB;

/** A write whose place is not yet known; see {@link place}. */
const rawWrite: fc.Arbitrary<RawWrite> = fc.record({
  slot: fc.nat(2047),
  slots: fc.oneof(
    { weight: 5, arbitrary: fc.integer({ min: 1, max: 20 }) },
    fc.integer({ min: 21, max: 200 }),
  ),
  byte: fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 1, max: 255 }) }, fc.constant(0)),
});
const rawWrites = fc.array(rawWrite, { maxLength: 3 });

/** Puts a write onto a disk, behind its ballast. */
function place(write: RawWrite, capacityBytes: number, reservedBytes: number): Write {
  const roomBytes = capacityBytes - reservedBytes;
  const offsetBytes = reservedBytes + ((write.slot * SLOT_BYTES) % roomBytes);
  return {
    offsetBytes,
    lengthBytes: Math.min(write.slots * SLOT_BYTES, capacityBytes - offsetBytes),
    byte: write.byte,
  };
}

/** 1 to 8 MiB, in 64 KiB steps, now and then with a tail that fills no cluster. */
const capacity = fc
  .tuple(fc.integer({ min: 16, max: 127 }), fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat(127)))
  .map(([clusters, tailSectors]) => clusters * 64 * KIB + tailSectors * 512);

const speed = fc.constantFrom(0, 0, 4 * KIB * KIB, 16 * KIB * KIB);

/** A disk, together with guest writes that fit it. */
function diskWithGuest(bounds: DiskBounds): fc.Arbitrary<{ readonly disk: DiskPlan } & GuestPlan> {
  const { minDepth = 1, maxDepth = 4, ballast = 'none' } = bounds;
  const reservedBytes = ballast === 'none' ? 0 : BALLAST_BYTES;
  return fc
    .record({
      capacityBytes: capacity,
      layers: fc.array(rawWrites, { minLength: minDepth, maxLength: maxDepth }),
      rawBase: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, fc.constant(true)),
      isDeclared: fc.boolean(),
      during: rawWrites,
      later: rawWrites,
    })
    .map(({ capacityBytes, layers, rawBase, isDeclared, during, later }) => {
      const put = (write: RawWrite) => place(write, capacityBytes, reservedBytes);
      const ballastAt = { none: -1, top: layers.length - 1, base: 0 }[ballast];
      return {
        disk: {
          capacityBytes,
          isDeclared,
          layers: layers.map((writes, index) => ({
            format: index === 0 && rawBase ? 'raw' : 'qcow2',
            writes: [...(index === ballastAt ? [BALLAST] : []), ...writes.map(put)],
          })),
        },
        during: during.map(put),
        later: later.map(put),
      };
    });
}

const BALLAST: Write = { offsetBytes: 0, lengthBytes: BALLAST_BYTES, byte: BALLAST_BYTE };

/** The same disk with more for a throttled job to do: behind its end, in the layer that has the ballast. */
export function withBallast(plan: DiskPlan, extraBytes: number): DiskPlan {
  if (!plan.layers.some(({ writes }) => writes[0] === BALLAST)) return plan;
  const extra: Write = { offsetBytes: plan.capacityBytes, lengthBytes: extraBytes, byte: BALLAST_BYTE };
  const capacityBytes = plan.capacityBytes + extraBytes;
  const layers = plan.layers.map((layer) =>
    layer.writes[0] === BALLAST ? { ...layer, writes: [...layer.writes, extra] } : layer,
  );
  return { ...plan, capacityBytes, layers };
}

/** Any disk: depth 1 to 4, 1 to 8 MiB, allocations and explicit zeroes at random. */
export function disks(bounds: DiskBounds = {}): fc.Arbitrary<DiskPlan> {
  return diskWithGuest(bounds).map(({ disk }) => disk);
}

/** Copies, full and shallow, into qcow2 and raw. `held`: all of them are, and have something to copy. */
export function copies(options: { readonly held?: true } = {}): fc.Arbitrary<CopyPlan> {
  return fc
    .record({
      guest: diskWithGuest({ ballast: 'top' }),
      shallow: fc.boolean(),
      rawTarget: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, fc.constant(true)),
      granularityBytes: fc.constantFrom(0, 0, 512, 4 * KIB, 64 * KIB, KIB * KIB),
      bufSizeBytes: fc.constantFrom(0, 0, 64 * KIB, KIB * KIB),
      held: options.held ? fc.constant(true) : fc.boolean(),
      speedBytesPerSecond: speed,
    })
    .map(({ guest, rawTarget, shallow, ...rest }) => ({
      ...guest,
      ...rest,
      // A raw image cannot stand on a backing file, so a shallow copy is only made into qcow2.
      shallow: shallow && guest.disk.layers.length > 1,
      format: rawTarget && !(shallow && guest.disk.layers.length > 1) ? 'raw' : 'qcow2',
    }));
}

/** Pulls of chains with at least one backing file. `held`: all of them are, and have something to pull. */
export function pulls(options: { readonly held?: true } = {}): fc.Arbitrary<PullPlan> {
  return fc
    .record({
      guest: diskWithGuest({ minDepth: 2, ballast: 'base' }),
      held: options.held ? fc.constant(true) : fc.boolean(),
      speedBytesPerSecond: speed,
    })
    .map(({ guest, ...rest }) => ({ ...guest, ...rest }));
}
