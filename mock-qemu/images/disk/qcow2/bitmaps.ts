/** Persistent bitmaps in a qcow2 file: a directory of entries, and for each a table of clusters with one bit for each chunk. */
import type { ExtentMap } from '../../../core/extents.ts';
import type { StoredBitmap } from '../../../core/images.ts';
import { BITMAP, BITMAP_BYTES, BITMAP_FLAG, BITMAP_TYPE_DIRTY, BITMAPS } from './layout.ts';

/** What an entry of the directory says, its bits apart. */
export interface BitmapEntry {
  readonly name: string;
  readonly granularityBytes: number;
  readonly auto: boolean;
  readonly inUse: boolean;
  readonly tableOffset: number;
  /** How many clusters the bits take. */
  readonly tableEntries: number;
  /** Length of the entry, padded, in bytes. */
  readonly entryBytes: number;
}

/** How many clusters hold the bits of a disk. */
export function bitClusters(sizeBytes: number, granularityBytes: number, clusterBytes: number): number {
  return Math.ceil(Math.ceil(Math.ceil(sizeBytes / granularityBytes) / 8) / clusterBytes);
}

/** The bits of one cluster; undefined if none is set. The first bit of a byte is its lowest. */
export function bitsOf(bitmap: StoredBitmap, index: number, clusterBytes: number): Buffer | undefined {
  const chunk = bitmap.granularityBytes;
  const first = index * clusterBytes * 8;
  const end = first + clusterBytes * 8;
  let bits: Buffer | undefined;
  for (let next = bitmap.ranges.nextFrom(first * chunk); next; next = bitmap.ranges.nextFrom(next.end)) {
    const from = Math.max(first, Math.floor(next.start / chunk));
    const to = Math.min(end, Math.ceil(next.end / chunk));
    if (from >= end) break;
    bits ??= Buffer.alloc(clusterBytes);
    for (let bit = from - first; bit < to - first; bit++) {
      const at = bit >> 3;
      bits[at] = (bits[at] ?? 0) | (1 << (bit & 7));
    }
  }
  return bits;
}

/** Marks what the bits of one cluster say. */
export function markBits(
  into: ExtentMap,
  bits: Buffer,
  index: number,
  entry: BitmapEntry,
  sizeBytes: number,
): void {
  const first = index * bits.length * 8;
  for (const [at, byte] of bits.entries()) {
    for (let bit = 0; byte >> bit !== 0; bit++) {
      if (((byte >> bit) & 1) === 0) continue;
      const start = (first + at * 8 + bit) * entry.granularityBytes;
      if (start < sizeBytes) into.set(start, start + entry.granularityBytes, 1);
    }
  }
}

/** An entry of the directory. */
export function encodeEntry(bitmap: StoredBitmap, tableOffset: number, tableEntries: number): Buffer {
  const name = Buffer.from(bitmap.name);
  const bytes = Buffer.alloc(Math.ceil((BITMAP_BYTES + name.length) / 8) * 8);
  const flags = (bitmap.inUse ? BITMAP_FLAG.inUse : 0) | (bitmap.auto ? BITMAP_FLAG.auto : 0);
  bytes.writeBigUInt64BE(BigInt(tableOffset), BITMAP.tableOffset);
  bytes.writeUInt32BE(tableEntries, BITMAP.tableEntries);
  bytes.writeUInt32BE(flags, BITMAP.flags);
  bytes.writeUInt8(BITMAP_TYPE_DIRTY, BITMAP.type);
  bytes.writeUInt8(Math.log2(bitmap.granularityBytes), BITMAP.granularityBits);
  bytes.writeUInt16BE(name.length, BITMAP.nameBytes);
  name.copy(bytes, BITMAP_BYTES);
  return bytes;
}

/** The entry at `at` of a directory; undefined if it is none, or of a kind that is not known. */
export function decodeEntry(directory: Buffer, at: number): BitmapEntry | undefined {
  if (at + BITMAP_BYTES > directory.length) return undefined;
  const nameBytes = directory.readUInt16BE(at + BITMAP.nameBytes);
  const names = at + BITMAP_BYTES + directory.readUInt32BE(at + BITMAP.extraBytes);
  const granularityBits = directory.readUInt8(at + BITMAP.granularityBits);
  const isKnown = directory.readUInt8(at + BITMAP.type) === BITMAP_TYPE_DIRTY;
  const isInside = names + nameBytes <= directory.length;
  if (!isKnown || !isInside) return undefined;
  if (granularityBits < BITMAPS.minGranularityBits || granularityBits > BITMAPS.maxGranularityBits)
    return undefined;
  const flags = directory.readUInt32BE(at + BITMAP.flags);
  return {
    name: directory.toString('utf8', names, names + nameBytes),
    granularityBytes: 2 ** granularityBits,
    auto: (flags & BITMAP_FLAG.auto) !== 0,
    inUse: (flags & BITMAP_FLAG.inUse) !== 0,
    tableOffset: Number(directory.readBigUInt64BE(at + BITMAP.tableOffset)),
    tableEntries: directory.readUInt32BE(at + BITMAP.tableEntries),
    entryBytes: Math.ceil((names + nameBytes - at) / 8) * 8,
  };
}
