/**
 * qcow2 as a container: what the simulation holds of an image as a file that qemu-img reads, and back. Clusters of one
 * repeated byte are stored once and referred to as often as the format allows, so that a file stays small.
 */
import { constants, inflateRawSync } from 'node:zlib';
import { ABSENT, ExtentMap, type Tag } from '../core/extents.ts';
import type { ImageHeader, InternalSnapshot } from '../core/images.ts';

/** What a qcow2 file holds. */
export interface Qcow2Content {
  readonly virtualSizeBytes: number;
  readonly header: ImageHeader;
  readonly extents: ExtentMap;
  readonly snapshots: readonly InternalSnapshot[];
}

/** How bytes become tags and tags bytes. */
export interface TagCodec {
  /** The bytes that a tag stands for. */
  bytesOf(tag: Tag, start: number, end: number): Uint8Array;
  /** Puts bytes into a map. */
  put(into: ExtentMap, start: number, bytes: Buffer): void;
}

/** A file that claims to be qcow2 and cannot be read; the message says why. */
export class Qcow2Error extends Error {
  override name = 'Qcow2Error';
}

const MAGIC = 0x514649fb;
const HEADER_BYTES = 112;
const BACKING_FORMAT_EXTENSION = 0xe2792aca;
const COPIED = 1n << 63n;
const COMPRESSED = 1n << 62n;
const ZERO = 1n;
const OFFSET_MASK = 0x00ff_ffff_ffff_fe00n;
const REFCOUNT_BITS = 16;
const MAX_REFERENCES = 2 ** REFCOUNT_BITS - 1;
const NO_ICOUNT = 0xffff_ffff_ffff_ffffn;
// Snapshot rows: the fixed part, and what version 3 adds to it.
const ROW_BYTES = 40;
const ROW_EXTRA_BYTES = 24;
const REFUSED_FEATURES: readonly (readonly [bit: bigint, what: string])[] = [
  [4n, 'an external data file'],
  [8n, 'another compression than zlib'],
  [16n, 'subclusters'],
];

/** Whether a file begins like a qcow2 image. */
export const isQcow2 = (bytes: Buffer): boolean => bytes.length >= 72 && bytes.readUInt32BE(0) === MAGIC;

/** A piece of a file. */
export interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** One table of clusters with its second-level tables, before anybody knows how often a cluster is used. */
interface Mapping {
  readonly l1: (number | undefined)[];
  /** Cluster numbers of second-level tables and their entries: a cluster number, a zero flag, or nothing. */
  readonly tables: Map<number, Map<number, number | 'zero'>>;
}

/** Lays out one file. */
class Writer {
  readonly #clusterBytes: number;
  readonly #codec: TagCodec;
  readonly #references: number[] = [];
  readonly #pieces: Piece[] = [];
  /** The cluster that holds a repeated byte, as long as it can be referred to once more. */
  readonly #repeated = new Map<Tag, number>();

  constructor(clusterBytes: number, codec: TagCodec) {
    this.#clusterBytes = clusterBytes;
    this.#codec = codec;
  }

  /** All pieces, and the file's length. */
  write(content: Qcow2Content): { readonly pieces: readonly Piece[]; readonly lengthBytes: number } {
    const cluster = this.#clusterBytes;
    this.#allocate(1);
    const active = this.#map(content.extents, content.virtualSizeBytes);
    const kept = content.snapshots.map((each) => this.#map(each.extents, each.virtualSizeBytes));
    const l1Offset = this.#writeMapping(active, true);
    const l1Offsets = kept.map((mapping) => this.#writeMapping(mapping, false));
    const rows = content.snapshots.map((each, index) =>
      rowOf(each, l1Offsets[index] ?? 0, kept[index]?.l1.length ?? 0),
    );
    const table = Buffer.concat(rows);
    const snapshotsOffset = table.length === 0 ? 0 : this.#put(table);
    const refcounts = this.#writeRefcounts();
    const header = headerOf(content, cluster);
    header.writeUInt32BE(active.l1.length, 36);
    header.writeBigUInt64BE(BigInt(l1Offset), 40);
    header.writeBigUInt64BE(BigInt(refcounts.offset), 48);
    header.writeUInt32BE(refcounts.clusters, 56);
    header.writeUInt32BE(content.snapshots.length, 60);
    header.writeBigUInt64BE(BigInt(snapshotsOffset), 64);
    this.#pieces.unshift({ offset: 0, bytes: header });
    return { pieces: this.#pieces, lengthBytes: this.#references.length * cluster };
  }

  /** The number of the first of some new clusters, each used once. */
  #allocate(clusters: number): number {
    const first = this.#references.length;
    for (let each = 0; each < clusters; each++) this.#references.push(1);
    return first;
  }

  /** Writes bytes to new clusters; their offset. */
  #put(bytes: Uint8Array): number {
    const offset =
      this.#allocate(Math.max(1, Math.ceil(bytes.length / this.#clusterBytes))) * this.#clusterBytes;
    this.#pieces.push({ offset, bytes });
    return offset;
  }

  #map(extents: ExtentMap, sizeBytes: number): Mapping {
    const cluster = this.#clusterBytes;
    const perTable = cluster / 8;
    const l1: (number | undefined)[] = new Array(Math.ceil(sizeBytes / (cluster * perTable))).fill(undefined);
    const tables: Mapping['tables'] = new Map();
    for (let next = extents.nextFrom(0); next && next.start < sizeBytes; ) {
      const index = Math.floor(next.start / cluster);
      const slot = Math.floor(index / perTable);
      const number = l1[slot] ?? this.#allocate(1);
      l1[slot] = number;
      const table = tables.get(number) ?? new Map<number, number | 'zero'>();
      tables.set(number, table);
      table.set(index % perTable, this.#dataCluster(extents, index * cluster, sizeBytes));
      const behind = (index + 1) * cluster;
      const following = extents.nextFrom(behind);
      next = following && { ...following, start: Math.max(following.start, behind) };
    }
    return { l1, tables };
  }

  /** A cluster with the content of a part of the disk; what no extent covers reads as zeroes. */
  #dataCluster(extents: ExtentMap, start: number, sizeBytes: number): number | 'zero' {
    const end = start + this.#clusterBytes;
    const limit = Math.min(end, sizeBytes);
    const span = extents.at(start, limit);
    if (span.end === limit && span.tag < 256) return span.tag <= 0 ? 'zero' : this.#repeat(span.tag);
    const bytes = Buffer.alloc(this.#clusterBytes);
    for (let at = start; at < limit; ) {
      const part = extents.at(at, limit);
      if (part.tag !== ABSENT) bytes.set(this.#codec.bytesOf(part.tag, at, part.end), at - start);
      at = part.end;
    }
    return this.#put(bytes) / this.#clusterBytes;
  }

  #repeat(tag: Tag): number {
    const known = this.#repeated.get(tag);
    const references = known === undefined ? MAX_REFERENCES : (this.#references[known] ?? 0);
    if (known !== undefined && references < MAX_REFERENCES) {
      this.#references[known] = references + 1;
      return known;
    }
    const fresh = this.#put(Buffer.alloc(this.#clusterBytes, tag)) / this.#clusterBytes;
    this.#repeated.set(tag, fresh);
    return fresh;
  }

  /** Writes the tables of a mapping; the first-level table's offset. Only the active one says what is used once. */
  #writeMapping({ l1, tables }: Mapping, active: boolean): number {
    const cluster = this.#clusterBytes;
    const entryOf = (number: number): bigint =>
      BigInt(number * cluster) | (active && this.#references[number] === 1 ? COPIED : 0n);
    for (const [number, entries] of tables) {
      const bytes = Buffer.alloc(cluster);
      for (const [index, entry] of entries)
        bytes.writeBigUInt64BE(entry === 'zero' ? ZERO : entryOf(entry), index * 8);
      this.#pieces.push({ offset: number * cluster, bytes });
    }
    const first = Buffer.alloc(Math.max(8, l1.length * 8));
    l1.forEach((number, index) => {
      if (number !== undefined) first.writeBigUInt64BE(entryOf(number), index * 8);
    });
    return this.#put(first);
  }

  /** Writes how often each cluster is used, the counters' own included. */
  #writeRefcounts(): { readonly offset: number; readonly clusters: number } {
    const cluster = this.#clusterBytes;
    const perBlock = (cluster * 8) / REFCOUNT_BITS;
    let blocks = 0;
    let tables = 1;
    for (;;) {
      const total = this.#references.length + blocks + tables;
      const neededBlocks = Math.ceil(total / perBlock);
      const neededTables = Math.max(1, Math.ceil((neededBlocks * 8) / cluster));
      if (neededBlocks === blocks && neededTables === tables) break;
      blocks = neededBlocks;
      tables = neededTables;
    }
    const firstTable = this.#allocate(tables);
    const firstBlock = this.#allocate(blocks);
    const table = Buffer.alloc(tables * cluster);
    for (let block = 0; block < blocks; block++) {
      table.writeBigUInt64BE(BigInt((firstBlock + block) * cluster), block * 8);
      const bytes = Buffer.alloc(cluster);
      const counts = this.#references.slice(block * perBlock, (block + 1) * perBlock);
      for (const [index, count] of counts.entries()) bytes.writeUInt16BE(count, index * 2);
      this.#pieces.push({ offset: (firstBlock + block) * cluster, bytes });
    }
    this.#pieces.push({ offset: firstTable * cluster, bytes: table });
    return { offset: firstTable * cluster, clusters: tables };
  }
}

/** The first cluster, but for what depends on the layout. */
function headerOf({ virtualSizeBytes, header }: Qcow2Content, clusterBytes: number): Buffer {
  const bytes = Buffer.alloc(clusterBytes);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt32BE(3, 4);
  bytes.writeUInt32BE(Math.log2(clusterBytes), 20);
  bytes.writeBigUInt64BE(BigInt(virtualSizeBytes), 24);
  bytes.writeUInt32BE(4, 96);
  bytes.writeUInt32BE(HEADER_BYTES, 100);
  let at = HEADER_BYTES;
  const { backingName, backingFormat } = header;
  if (backingFormat !== undefined) {
    const format = Buffer.from(backingFormat);
    bytes.writeUInt32BE(BACKING_FORMAT_EXTENSION, at);
    bytes.writeUInt32BE(format.length, at + 4);
    format.copy(bytes, at + 8);
    at += 8 + Math.ceil(format.length / 8) * 8;
  }
  // Eight zero bytes end the extensions.
  at += 8;
  if (backingName !== undefined) {
    const name = Buffer.from(backingName);
    bytes.writeBigUInt64BE(BigInt(at), 8);
    bytes.writeUInt32BE(name.length, 16);
    name.copy(bytes, at);
  }
  return bytes;
}

/** One row of the table of snapshots. */
function rowOf(snapshot: InternalSnapshot, l1Offset: number, l1Size: number): Buffer {
  const id = Buffer.from(snapshot.id);
  const name = Buffer.from(snapshot.name);
  const plain = ROW_BYTES + ROW_EXTRA_BYTES + id.length + name.length;
  const row = Buffer.alloc(Math.ceil(plain / 8) * 8);
  row.writeBigUInt64BE(BigInt(l1Offset), 0);
  row.writeUInt32BE(l1Size, 8);
  row.writeUInt16BE(id.length, 12);
  row.writeUInt16BE(name.length, 14);
  row.writeUInt32BE(snapshot.dateSec, 16);
  row.writeUInt32BE(snapshot.dateNsec, 20);
  row.writeBigUInt64BE(BigInt(Math.round(snapshot.vmClockNs)), 24);
  row.writeUInt32BE(snapshot.vmStateBytes, 32);
  row.writeUInt32BE(ROW_EXTRA_BYTES, 36);
  row.writeBigUInt64BE(BigInt(snapshot.vmStateBytes), 40);
  row.writeBigUInt64BE(BigInt(snapshot.virtualSizeBytes), 48);
  row.writeBigUInt64BE(NO_ICOUNT, 56);
  id.copy(row, 64);
  name.copy(row, 64 + id.length);
  return row;
}

/** The pieces of a file that holds `content`, and its length. */
export function writeQcow2(
  content: Qcow2Content,
  codec: TagCodec,
): { readonly pieces: readonly Piece[]; readonly lengthBytes: number } {
  return new Writer(content.header.clusterSizeBytes, codec).write(content);
}

/** Reads a file. */
class Reader {
  readonly #file: Buffer;
  /** What each cluster of the file that was looked at holds throughout; -1: not one byte. */
  readonly #clusters = new Map<number, number>();
  readonly #codec: TagCodec;
  readonly #clusterBits: number;

  constructor(file: Buffer, codec: TagCodec) {
    this.#file = file;
    this.#codec = codec;
    this.#clusterBits = file.readUInt32BE(20);
  }

  read(): Qcow2Content {
    const file = this.#file;
    const version = file.readUInt32BE(4);
    if (version !== 2 && version !== 3) throw new Qcow2Error(`qcow2 version ${version} is not simulated`);
    if (file.readUInt32BE(32) !== 0) throw new Qcow2Error('encrypted images are not simulated');
    const features = version === 3 ? file.readBigUInt64BE(72) : 0n;
    for (const [bit, what] of REFUSED_FEATURES) {
      if ((features & bit) !== 0n) throw new Qcow2Error(`qcow2 with ${what} is not simulated`);
    }
    const virtualSizeBytes = Number(file.readBigUInt64BE(24));
    return {
      virtualSizeBytes,
      header: this.#header(version),
      extents: this.#mapped(Number(file.readBigUInt64BE(40)), virtualSizeBytes),
      snapshots: this.#snapshots(virtualSizeBytes),
    };
  }

  #header(version: number): ImageHeader {
    const file = this.#file;
    const nameOffset = Number(file.readBigUInt64BE(8));
    const nameEnd = nameOffset + file.readUInt32BE(16);
    const backingName = nameOffset === 0 ? undefined : file.toString('utf8', nameOffset, nameEnd);
    const clusterSizeBytes = 2 ** this.#clusterBits;
    const backingFormat = this.#backingFormat(version === 3 ? file.readUInt32BE(100) : 72);
    return {
      clusterSizeBytes,
      ...(backingName !== undefined && { backingName }),
      ...(backingFormat !== undefined && { backingFormat }),
    };
  }

  #backingFormat(from: number): string | undefined {
    const file = this.#file;
    for (let at = from; at + 8 <= file.length; ) {
      const kind = file.readUInt32BE(at);
      const length = file.readUInt32BE(at + 4);
      if (kind === 0) return undefined;
      if (kind === BACKING_FORMAT_EXTENSION) return file.toString('utf8', at + 8, at + 8 + length);
      at += 8 + Math.ceil(length / 8) * 8;
    }
    return undefined;
  }

  #snapshots(activeSizeBytes: number): InternalSnapshot[] {
    const file = this.#file;
    const list: InternalSnapshot[] = [];
    let at = Number(file.readBigUInt64BE(64));
    for (let left = file.readUInt32BE(60); left > 0; left--) {
      const idEnd = at + ROW_BYTES + file.readUInt32BE(at + 36) + file.readUInt16BE(at + 12);
      const nameEnd = idEnd + file.readUInt16BE(at + 14);
      const extra = file.readUInt32BE(at + 36);
      const sizeBytes = extra >= 16 ? Number(file.readBigUInt64BE(at + 48)) : activeSizeBytes;
      list.push({
        id: file.toString('utf8', at + ROW_BYTES + extra, idEnd),
        name: file.toString('utf8', idEnd, nameEnd),
        dateSec: file.readUInt32BE(at + 16),
        dateNsec: file.readUInt32BE(at + 20),
        vmClockNs: Number(file.readBigUInt64BE(at + 24)),
        vmStateBytes: extra >= 8 ? Number(file.readBigUInt64BE(at + 40)) : file.readUInt32BE(at + 32),
        virtualSizeBytes: sizeBytes,
        extents: this.#mapped(Number(file.readBigUInt64BE(at)), sizeBytes),
      });
      at = Math.ceil(nameEnd / 8) * 8;
    }
    return list;
  }

  #mapped(l1Offset: number, sizeBytes: number): ExtentMap {
    const file = this.#file;
    const cluster = 2 ** this.#clusterBits;
    const perTable = cluster / 8;
    const extents = new ExtentMap();
    for (let slot = 0; slot < Math.ceil(sizeBytes / (cluster * perTable)); slot++) {
      const table = Number(file.readBigUInt64BE(l1Offset + slot * 8) & OFFSET_MASK);
      for (let index = 0; table !== 0 && index < perTable; index++) {
        const start = (slot * perTable + index) * cluster;
        if (start >= sizeBytes) break;
        this.#take(
          extents,
          file.readBigUInt64BE(table + index * 8),
          start,
          Math.min(start + cluster, sizeBytes),
        );
      }
    }
    return extents;
  }

  #take(into: ExtentMap, entry: bigint, start: number, end: number): void {
    if (entry === 0n) return;
    if ((entry & COMPRESSED) !== 0n)
      this.#codec.put(into, start, this.#inflate(entry).subarray(0, end - start));
    else if ((entry & ZERO) !== 0n) into.set(start, end, 0);
    else {
      const offset = Number(entry & OFFSET_MASK);
      const repeated = this.#repeatedByte(offset);
      if (repeated !== undefined) into.set(start, end, repeated);
      else this.#codec.put(into, start, this.#file.subarray(offset, offset + end - start));
    }
  }

  /** The byte that fills a cluster of the file; behind its end all is zero. Looked at once: clusters are shared. */
  #repeatedByte(offset: number): number | undefined {
    const known = this.#clusters.get(offset);
    if (known !== undefined) return known < 0 ? undefined : known;
    const bytes = this.#file.subarray(offset, offset + 2 ** this.#clusterBits);
    const isWhole = bytes.length === 2 ** this.#clusterBits;
    const isRepeated = isWhole ? bytes.subarray(1).equals(bytes.subarray(0, -1)) : bytes.length === 0;
    this.#clusters.set(offset, isRepeated ? (bytes[0] ?? 0) : -1);
    return isRepeated ? (bytes[0] ?? 0) : undefined;
  }

  #inflate(entry: bigint): Buffer {
    const bits = 62n - (BigInt(this.#clusterBits) - 8n);
    const offset = Number(entry & ((1n << bits) - 1n));
    const sectors = Number((entry & (COMPRESSED - 1n)) >> bits) + 1;
    const end = Math.floor(offset / 512) * 512 + sectors * 512;
    return inflateRawSync(this.#file.subarray(offset, end), { finishFlush: constants.Z_SYNC_FLUSH });
  }
}

/** What a qcow2 file holds; throws a {@link Qcow2Error} for what is not simulated or not to be read. */
export function readQcow2(file: Buffer, codec: TagCodec): Qcow2Content {
  try {
    return new Reader(file, codec).read();
  } catch (error) {
    if (error instanceof RangeError) throw new Qcow2Error('the file ends too early');
    throw error;
  }
}
