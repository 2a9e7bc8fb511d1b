/** Reading qcow2 files that QEMU, qemu-img or this program wrote. Whatever a file claims is checked before it is used. */
import { constants, inflateRawSync } from 'node:zlib';
import { HostError } from '../../../core/errno.ts';
import { ExtentMap } from '../../../core/extents.ts';
import type { ImageHeader, InternalSnapshot, StoredBitmap } from '../../../core/images.ts';
import type { ByteSource } from '../host-file.ts';
import { type Interner, uniformByte } from '../intern.ts';
import { type BitmapEntry, bitClusters, decodeEntry, markBits } from './bitmaps.ts';
import {
  AUTOCLEAR_BITMAPS,
  BITMAPS,
  CLUSTER_BITS,
  ENTRY,
  EXTENSION,
  HEADER,
  HEADER_BYTES,
  KNOWN_INCOMPATIBLE,
  MAGIC,
  MAX_BACKING_NAME_BYTES,
  MAX_L1_ENTRIES,
  MAX_SNAPSHOTS,
  SNAPSHOT,
  SNAPSHOT_BYTES,
  TABLE_ENTRY_BYTES,
} from './layout.ts';

const WORD = 2 ** 32;

/** What a file's header says, besides where its content lies. */
export interface Qcow2Image {
  readonly virtualSizeBytes: number;
  readonly header: ImageHeader;
  /** Oldest first. */
  readonly snapshots: readonly InternalSnapshot[];
  /** In the order of the directory; none if another program has written to the image and does not know of them. */
  readonly bitmaps: readonly StoredBitmap[];
}

/** A stretch of L2 entries that say the same. Indexes count clusters from the table's first. */
interface EntryRun {
  readonly start: number;
  readonly end: number;
  readonly high: number;
  readonly low: number;
}

/** Whether a file begins as a qcow2 image does. */
export const isQcow2 = (source: ByteSource): boolean => {
  const head = source.read(0, 4);
  return head.length === 4 && head.readUInt32BE(0) === MAGIC;
};

/**
 * Takes a file's content into an interner. HostError EINVAL: the file is damaged; ENOTSUP: it needs something that the
 * simulation does not have (encryption, an external data file, subclusters, zstd, the machine's state that a real QEMU has kept).
 */
export function readQcow2(source: ByteSource, into: Interner): Qcow2Image {
  const reader = new Reader(source);
  reader.readContent(into);
  return reader;
}

class Reader implements Qcow2Image {
  readonly virtualSizeBytes: number;
  readonly header: ImageHeader;
  readonly snapshots: InternalSnapshot[] = [];
  readonly bitmaps: StoredBitmap[] = [];
  readonly #source: ByteSource;
  readonly #head: Buffer;
  readonly #clusterBytes: number;
  /** By the table's offset: many L1 entries may share a table. */
  readonly #tables = new Map<number, readonly EntryRun[]>();

  constructor(source: ByteSource) {
    this.#source = source;
    const start = source.read(0, HEADER_BYTES[3]);
    this.#require(start.length >= HEADER_BYTES[2], 'EINVAL');
    const version = start.readUInt32BE(HEADER.version);
    this.#require(version === 2 || version === 3, 'ENOTSUP');
    const bits = start.readUInt32BE(HEADER.clusterBits);
    this.#require(bits >= CLUSTER_BITS.min && bits <= CLUSTER_BITS.max, 'EINVAL');
    this.#clusterBytes = 2 ** bits;
    this.#head = source.read(0, this.#clusterBytes);
    this.#checkFeatures(version);
    this.virtualSizeBytes = this.#u64(this.#head, HEADER.virtualSizeBytes);
    this.header = this.#readHeader();
  }

  readContent(into: Interner): void {
    const entries = this.#head.readUInt32BE(HEADER.l1Entries);
    this.#readLayer(into, this.#u64(this.#head, HEADER.l1Offset), entries, this.virtualSizeBytes);
    this.#readSnapshots(into);
    this.#readBitmaps();
  }

  /** One disk: what the guest has now, or had at a snapshot. */
  #readLayer(into: Interner, l1Offset: number, entries: number, sizeBytes: number): void {
    const needed = Math.ceil(sizeBytes / this.#tableSpanBytes);
    this.#require(entries >= needed && entries <= MAX_L1_ENTRIES, 'EINVAL');
    const l1 = this.#table(l1Offset, entries);
    for (let index = 0; index < entries; index++) {
      const offset = offsetOf(l1.readUInt32BE(index * 8), l1.readUInt32BE(index * 8 + 4));
      if (offset === 0) continue;
      // Behind the disk lies the state of a machine.
      this.#require(index < needed, 'ENOTSUP');
      this.#readTable(into, offset, index * this.#tableSpanBytes, sizeBytes);
    }
  }

  #readSnapshots(into: Interner): void {
    const count = this.#head.readUInt32BE(HEADER.snapshotCount);
    this.#require(count <= MAX_SNAPSHOTS, 'EINVAL');
    let at = this.#u64(this.#head, HEADER.snapshotsOffset);
    for (let index = 0; index < count; index++) at = this.#readSnapshot(into, at);
  }

  /** Takes the entry of the snapshot table at `at`; the place of the next one. */
  #readSnapshot(into: Interner, at: number): number {
    const fixed = this.#bytes(at, SNAPSHOT_BYTES.fixed);
    const extraBytes = fixed.readUInt32BE(SNAPSHOT.extraBytes);
    const [idBytes, nameBytes] = [
      fixed.readUInt16BE(SNAPSHOT.idBytes),
      fixed.readUInt16BE(SNAPSHOT.nameBytes),
    ];
    this.#require(extraBytes <= this.#clusterBytes, 'EINVAL');
    const names = SNAPSHOT_BYTES.fixed + extraBytes;
    const entry = this.#bytes(at, names + idBytes + nameBytes);
    const has = (member: number) => names >= member + 8;
    const virtualSizeBytes = has(SNAPSHOT.virtualSizeBytes)
      ? this.#u64(entry, SNAPSHOT.virtualSizeBytes)
      : this.virtualSizeBytes;
    const extents = new ExtentMap();
    const l1Entries = entry.readUInt32BE(SNAPSHOT.l1Entries);
    this.#readLayer(into.for(extents), this.#u64(entry, SNAPSHOT.l1Offset), l1Entries, virtualSizeBytes);
    this.snapshots.push({
      id: entry.toString('utf8', names, names + idBytes),
      name: entry.toString('utf8', names + idBytes, names + idBytes + nameBytes),
      dateSec: entry.readUInt32BE(SNAPSHOT.dateSec),
      dateNsec: entry.readUInt32BE(SNAPSHOT.dateNsec),
      vmClockNs: this.#u64(entry, SNAPSHOT.vmClockNs),
      vmStateBytes: has(SNAPSHOT.vmStateBytes)
        ? this.#u64(entry, SNAPSHOT.vmStateBytes)
        : entry.readUInt32BE(SNAPSHOT.vmStateBytes32),
      virtualSizeBytes,
      extents,
    });
    return at + Math.ceil(entry.length / 8) * 8;
  }

  #readBitmaps(): void {
    const version = this.#head.readUInt32BE(HEADER.version);
    const extension = version === 2 ? undefined : this.#extension(EXTENSION.bitmaps);
    const isTrue = (this.#head.readUInt32BE(HEADER.autoclearFeatures) & AUTOCLEAR_BITMAPS) !== 0;
    if (extension === undefined || !isTrue) return;
    this.#require(extension.length === BITMAPS.bytes, 'EINVAL');
    const count = extension.readUInt32BE(BITMAPS.count);
    const directoryBytes = this.#u64(extension, BITMAPS.directoryBytes);
    this.#require(count <= BITMAPS.maxCount && directoryBytes <= BITMAPS.maxDirectoryBytes, 'EINVAL');
    const directory = this.#bytes(this.#u64(extension, BITMAPS.directoryOffset), directoryBytes);
    for (let index = 0, at = 0; index < count; index++) {
      const entry = decodeEntry(directory, at) ?? this.#refuse('EINVAL');
      this.bitmaps.push(this.#readBitmap(entry));
      at += entry.entryBytes;
    }
  }

  #readBitmap(entry: BitmapEntry): StoredBitmap {
    const { name, granularityBytes, auto, inUse } = entry;
    const ranges = new ExtentMap();
    // A disk may have got another size while nobody kept the bitmap.
    const count = bitClusters(this.virtualSizeBytes, granularityBytes, this.#clusterBytes);
    this.#require(inUse || entry.tableEntries === count, 'EINVAL');
    const table = inUse ? Buffer.alloc(0) : this.#table(entry.tableOffset, count);
    for (let index = 0; index * TABLE_ENTRY_BYTES < table.length; index++) {
      const bits = this.#bits(table.readUInt32BE(index * 8), table.readUInt32BE(index * 8 + 4));
      if (bits) markBits(ranges, bits, index, entry, this.virtualSizeBytes);
    }
    return { name, granularityBytes, auto, inUse, ranges };
  }

  /** One cluster of bits: somewhere in the file, or all ones, or (undefined) all zeroes. */
  #bits(high: number, low: number): Buffer | undefined {
    if (offsetOf(high, low) !== 0) return this.#plain(high, low);
    return (low & 1) === 1 ? Buffer.alloc(this.#clusterBytes, 0xff) : undefined;
  }

  get #tableSpanBytes(): number {
    return (this.#clusterBytes / TABLE_ENTRY_BYTES) * this.#clusterBytes;
  }

  #checkFeatures(version: number): void {
    const head = this.#head;
    this.#require(head.readUInt32BE(HEADER.encryption) === 0, 'ENOTSUP');
    if (version === 2) return;
    this.#require(head.length >= HEADER_BYTES[3], 'EINVAL');
    const features = this.#u64(head, HEADER.incompatibleFeatures);
    this.#require(features === 0 || features === KNOWN_INCOMPATIBLE, 'ENOTSUP');
  }

  #readHeader(): ImageHeader {
    const nameOffset = this.#u64(this.#head, HEADER.backingNameOffset);
    const clusterSizeBytes = this.#clusterBytes;
    if (nameOffset === 0) return { clusterSizeBytes };
    const nameBytes = this.#head.readUInt32BE(HEADER.backingNameBytes);
    this.#require(nameBytes > 0 && nameBytes <= MAX_BACKING_NAME_BYTES, 'EINVAL');
    this.#require(nameOffset + nameBytes <= this.#head.length, 'EINVAL');
    const backingName = this.#head.toString('utf8', nameOffset, nameOffset + nameBytes);
    const backingFormat = this.#extension(EXTENSION.backingFormat)?.toString('utf8');
    return { clusterSizeBytes, backingName, ...(backingFormat !== undefined && { backingFormat }) };
  }

  /** What an extension of the header holds; undefined if there is none. */
  #extension(wanted: number): Buffer | undefined {
    const head = this.#head;
    const isOld = head.readUInt32BE(HEADER.version) === 2;
    for (let at = isOld ? HEADER_BYTES[2] : head.readUInt32BE(HEADER.headerBytes); at + 8 <= head.length; ) {
      const [type, bytes] = [head.readUInt32BE(at), head.readUInt32BE(at + 4)];
      if (type === EXTENSION.end) break;
      this.#require(at + 8 + bytes <= head.length, 'EINVAL');
      if (type === wanted) return head.subarray(at + 8, at + 8 + bytes);
      at += 8 + Math.ceil(bytes / 8) * 8;
    }
    return undefined;
  }

  #readTable(into: Interner, tableOffset: number, start: number, sizeBytes: number): void {
    const runs = this.#tables.get(tableOffset) ?? this.#runsOf(tableOffset);
    this.#tables.set(tableOffset, runs);
    for (const run of runs) {
      const from = start + run.start * this.#clusterBytes;
      const to = Math.min(start + run.end * this.#clusterBytes, sizeBytes);
      if (from < to) this.#readRun(into, run, from, to);
    }
  }

  /** The table's entries that are not empty, equal neighbours as one. */
  #runsOf(tableOffset: number): EntryRun[] {
    const entries = this.#clusterBytes / TABLE_ENTRY_BYTES;
    const table = this.#table(tableOffset, entries);
    const runs: EntryRun[] = [];
    for (let index = 0; index < entries; index++) {
      const [high, low] = [table.readUInt32BE(index * 8), table.readUInt32BE(index * 8 + 4)];
      if (high === 0 && low === 0) continue;
      const last = runs.at(-1);
      if (last?.end === index && last.high === high && last.low === low) {
        runs[runs.length - 1] = { ...last, end: index + 1 };
      } else runs.push({ start: index, end: index + 1, high, low });
    }
    return runs;
  }

  #readRun(into: Interner, { high, low }: EntryRun, from: number, to: number): void {
    if ((high & ENTRY.compressed) === 0 && (low & ENTRY.zero) !== 0) {
      into.fill(from, to, 0);
      return;
    }
    const bytes = (high & ENTRY.compressed) === 0 ? this.#plain(high, low) : this.#inflated(high, low);
    const byte = uniformByte(bytes);
    if (byte !== undefined) {
      into.fill(from, to, byte);
      return;
    }
    for (let at = from; at < to; at += this.#clusterBytes) {
      into.put(at, bytes.subarray(0, Math.min(bytes.length, to - at)), true);
    }
  }

  #plain(high: number, low: number): Buffer {
    const offset = offsetOf(high, low);
    this.#require(offset % this.#clusterBytes === 0 && offset > 0, 'EINVAL');
    // A file may end within its last cluster.
    const bytes = Buffer.alloc(this.#clusterBytes);
    this.#source.read(offset, this.#clusterBytes).copy(bytes);
    return bytes;
  }

  #inflated(high: number, low: number): Buffer {
    const descriptor = BigInt(high & 0x3fff_ffff) * BigInt(WORD) + BigInt(low);
    const offsetBits = BigInt(62 - (Math.log2(this.#clusterBytes) - 8));
    const offset = Number(descriptor & ((1n << offsetBits) - 1n));
    const sectors = Number(descriptor >> offsetBits) + 1;
    const packed = this.#source.read(offset, sectors * 512 - (offset % 512));
    try {
      // What follows in the last sector belongs to another cluster.
      const bytes = inflateRawSync(packed, {
        maxOutputLength: this.#clusterBytes,
        finishFlush: constants.Z_SYNC_FLUSH,
      });
      this.#require(bytes.length === this.#clusterBytes, 'EINVAL');
      return bytes;
    } catch (error) {
      if (error instanceof HostError) throw error;
      throw new HostError('EINVAL', this.#source.path);
    }
  }

  #table(offset: number, entries: number): Buffer {
    const bytes = entries * TABLE_ENTRY_BYTES;
    this.#require(offset % this.#clusterBytes === 0, 'EINVAL');
    return this.#bytes(offset, bytes);
  }

  #bytes(offset: number, length: number): Buffer {
    this.#require(offset + length <= this.#source.sizeBytes, 'EINVAL');
    return length === 0 ? Buffer.alloc(0) : this.#source.read(offset, length);
  }

  #u64(bytes: Buffer, at: number): number {
    const value = bytes.readUInt32BE(at) * WORD + bytes.readUInt32BE(at + 4);
    this.#require(Number.isSafeInteger(value), 'EINVAL');
    return value;
  }

  #require(condition: boolean, code: 'EINVAL' | 'ENOTSUP'): void {
    if (!condition) this.#refuse(code);
  }

  #refuse(code: 'EINVAL' | 'ENOTSUP'): never {
    throw new HostError(code, this.#source.path);
  }
}

const offsetOf = (high: number, low: number): number =>
  (high & ENTRY.offsetHigh) * WORD + ((low & ENTRY.offsetLow) >>> 0);
