/** From bytes to content tags. */
import { HostError } from '../../core/errno.ts';
import type { BlobTable, ExtentMap } from '../../core/extents.ts';

const SECTOR_BYTES = 512;
/** How much content that is not one repeated byte a file may have: it is kept in memory. */
export const MAX_MIXED_BYTES = 256 * 2 ** 20;
/** How many stretches a file may have: tables that refer to each other's clusters must not take for ever. */
const MAX_STRETCHES = 2 ** 24;

/** The byte that fills `bytes`; undefined if there are several. */
export function uniformByte(bytes: Buffer): number | undefined {
  const first = bytes[0];
  if (first === undefined) return undefined;
  // A buffer equals itself shifted by one exactly if all its bytes are equal.
  return bytes.subarray(1).equals(bytes.subarray(0, bytes.length - 1)) ? first : undefined;
}

/** Puts the bytes of one file into extent maps, sector by sector. */
export class Interner {
  readonly #path: string;
  readonly #blobs: BlobTable;
  readonly #into: ExtentMap;
  readonly #taken: { mixedBytes: number; stretches: number };

  constructor(path: string, blobs: BlobTable, into: ExtentMap, taken = { mixedBytes: 0, stretches: 0 }) {
    this.#path = path;
    this.#blobs = blobs;
    this.#into = into;
    this.#taken = taken;
  }

  /** One for another map of the same file: the limits hold for both together. */
  for(into: ExtentMap): Interner {
    return new Interner(this.#path, this.#blobs, into, this.#taken);
  }

  /** A stretch of one byte; known zeroes of a format that can tell them are an extent, too. HostError EFBIG. */
  fill(start: number, end: number, byte: number): void {
    this.#taken.stretches++;
    if (this.#taken.stretches > MAX_STRETCHES) throw new HostError('EFBIG', this.#path);
    this.#into.set(start, end, byte);
  }

  /** Any bytes; HostError EFBIG when a file holds more than {@link MAX_MIXED_BYTES} of mixed ones. */
  put(start: number, bytes: Buffer, keepZeroes: boolean): void {
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + SECTOR_BYTES);
      const byte = uniformByte(bytes.subarray(at, end));
      if (byte === undefined) this.#mixed(start + at, bytes.subarray(at, end));
      else if (byte !== 0 || keepZeroes) this.fill(start + at, start + end, byte);
      at = end;
    }
  }

  #mixed(start: number, bytes: Buffer): void {
    this.#taken.mixedBytes += bytes.length;
    if (this.#taken.mixedBytes > MAX_MIXED_BYTES) throw new HostError('EFBIG', this.#path);
    this.#into.set(start, start + bytes.length, this.#blobs.intern(start, bytes));
  }
}
