/**
 * Writing qcow2 files that QEMU and qemu-img read. Many equal clusters are one cluster with many references, and many equal
 * tables one table, so a disk of a tebibyte that holds one repeated byte is a small file; QEMU copies such a cluster when it
 * writes there.
 */
import { HostError } from '../../../core/errno.ts';
import type { Extent } from '../../../core/extents.ts';
import type { ImageHeader, InternalSnapshot, StoredBitmap } from '../../../core/images.ts';
import { bitClusters, bitsOf, encodeEntry } from './bitmaps.ts';
import { type Cluster, ClusterAllocator } from './clusters.ts';
import {
  AUTOCLEAR_BITMAPS,
  BITMAPS,
  ENTRY,
  EXTENSION,
  HEADER,
  HEADER_BYTES,
  MAGIC,
  NO_INSTRUCTIONS,
  SNAPSHOT,
  SNAPSHOT_BYTES,
  TABLE_ENTRY_BYTES,
} from './layout.ts';

/** One piece of a file. What lies between pieces is holes. */
export interface Piece {
  readonly offsetBytes: number;
  readonly bytes: Buffer;
}

/** What a file is to hold. */
export interface Qcow2Content {
  readonly path: string;
  readonly virtualSizeBytes: number;
  readonly header: ImageHeader;
  readonly extents: readonly Extent[];
  /** Oldest first. */
  readonly snapshots: readonly InternalSnapshot[];
  readonly bitmaps: readonly StoredBitmap[];
  /** The bytes of a stretch of one tag. */
  bytesOf(start: number, end: number, tag: number): Buffer;
}

const WORD = 2 ** 32;
// An L2 entry in the making: a cluster's number, or one of these.
const ABSENT_ENTRY = 0;
const ZERO_ENTRY = -1;

// QEMU leaves a cluster unmarked whose last but one reference it has dropped, and `qemu-img check` finds fault with that. What
// many refer to does not come that far.
const LEAST_SHARED = 64;

/** How often a repeated byte fills a whole cluster, and a whole table. */
interface Uses {
  clusters: number;
  tables: number;
}

/** The pieces of a version 3 file; HostError EINVAL if the names do not fit into its first cluster. */
export function writeQcow2(content: Qcow2Content): Piece[] {
  const uses = new Map<number, Uses>();
  // Once to count, and once for good.
  new Writer({ ...content, bytesOf: () => Buffer.alloc(0) }, uses).write();
  return new Writer(content, new Map(), uses).write();
}

class Writer {
  readonly #content: Qcow2Content;
  readonly #clusterBytes: number;
  readonly #perTable: number;
  readonly #clusters: ClusterAllocator;
  readonly #pieces: Piece[] = [];
  readonly #tables = new Map<Cluster, Float64Array>();
  /** The cluster that holds one repeated byte, by that byte. */
  readonly #uniform = new Map<number, Cluster>();
  /** The table all of whose clusters hold one repeated byte, by that byte. */
  readonly #uniformTables = new Map<number, Cluster>();
  /** Clusters of several extents, by place and content, where a snapshot may share them. */
  readonly #mixed = new Map<string, Cluster>();

  /** Counted here. */
  readonly #uses: Map<number, Uses>;
  /** As counted before; undefined: all is shared. */
  readonly #known: ReadonlyMap<number, Uses> | undefined;

  constructor(content: Qcow2Content, uses: Map<number, Uses>, known?: ReadonlyMap<number, Uses>) {
    this.#uses = uses;
    this.#known = known;
    this.#content = content;
    this.#clusterBytes = content.header.clusterSizeBytes;
    this.#perTable = this.#clusterBytes / TABLE_ENTRY_BYTES;
    this.#clusters = new ClusterAllocator(this.#clusterBytes);
  }

  write(): Piece[] {
    this.#clusters.allocate(this.#clusterBytes);
    const { virtualSizeBytes, extents } = this.#content;
    const active = this.#writeLayer(virtualSizeBytes, extents);
    const snapshots = this.#writeSnapshots();
    const extension = this.#writeBitmaps();
    for (const [cluster, table] of this.#tables) this.#put(cluster, this.#encodeTable(table));
    this.#put(active.at, this.#encodeTable(active.tables));
    this.#writeHeader(active, snapshots, extension, this.#writeRefcounts());
    return this.#pieces;
  }

  #put(cluster: Cluster, bytes: Buffer): void {
    this.#pieces.push({ offsetBytes: cluster * this.#clusterBytes, bytes });
  }

  /** The tables and data of one disk. */
  #writeLayer(sizeBytes: number, extents: readonly Extent[]): Layer {
    const spanBytes = this.#perTable * this.#clusterBytes;
    const tables = new Float64Array(Math.ceil(sizeBytes / spanBytes));
    const at = this.#clusters.allocate(Math.max(1, tables.length * TABLE_ENTRY_BYTES));
    let from = 0;
    for (let index = 0; index < tables.length; index++) {
      const [start, end] = [index * spanBytes, Math.min((index + 1) * spanBytes, sizeBytes)];
      while ((extents[from]?.end ?? Infinity) <= start) from++;
      tables[index] = this.#tableFor(extents, from, start, end);
    }
    return { at, tables };
  }

  /** The table for the clusters from `start`; 0 if none of them holds anything. `from`: the first extent that may reach there. */
  #tableFor(extents: readonly Extent[], from: number, start: number, end: number): Cluster {
    const first = extents[from];
    if (first === undefined || first.start >= end) return ABSENT_ENTRY;
    const isWhole = first.start <= start && first.end >= start + this.#perTable * this.#clusterBytes;
    if (isWhole && first.tag < 256) return this.#uniformTable(first.tag);
    const table = new Float64Array(this.#perTable);
    this.#fillTable(table, extents, from, start, end);
    return this.#addTable(table);
  }

  #uniformTable(byte: number): Cluster {
    this.#use(byte, 0, 1);
    if (!this.#isShared(byte, 'tables')) return this.#addTable(this.#fillUniform(byte));
    const known = this.#uniformTables.get(byte);
    if (known === undefined) {
      const made = this.#addTable(this.#fillUniform(byte));
      this.#uniformTables.set(byte, made);
      return made;
    }
    this.#clusters.refer(known, 1);
    this.#uniformCluster(byte, this.#perTable);
    return known;
  }

  #fillUniform(byte: number): Float64Array {
    return this.#fillSlots(new Float64Array(this.#perTable), byte, 0, this.#perTable);
  }

  /** Lets entries of a table lead to clusters of one repeated byte. */
  #fillSlots(table: Float64Array, byte: number, from: number, to: number): Float64Array {
    if (this.#isShared(byte, 'clusters')) return table.fill(this.#uniformCluster(byte, to - from), from, to);
    for (let slot = from; slot < to; slot++) {
      table[slot] = this.#putNew(Buffer.alloc(this.#clusterBytes, byte)) / this.#clusterBytes;
    }
    return table;
  }

  #isShared(byte: number, what: keyof Uses): boolean {
    if (this.#known === undefined || (byte === 0 && what === 'clusters')) return true;
    return (this.#known.get(byte)?.[what] ?? 0) >= LEAST_SHARED;
  }

  #use(byte: number, clusters: number, tables: number): void {
    const uses = this.#uses.get(byte) ?? { clusters: 0, tables: 0 };
    this.#uses.set(byte, { clusters: uses.clusters + clusters, tables: uses.tables + tables });
  }

  #addTable(table: Float64Array): Cluster {
    const cluster = this.#clusters.allocate(this.#clusterBytes);
    this.#tables.set(cluster, table);
    return cluster;
  }

  #fillTable(
    table: Float64Array,
    extents: readonly Extent[],
    from: number,
    start: number,
    end: number,
  ): void {
    const size = this.#clusterBytes;
    let at = start;
    for (let index = from; at < end; ) {
      while ((extents[index]?.end ?? Infinity) <= at) index++;
      const extent = extents[index];
      if (extent === undefined || extent.start >= end) return;
      at = Math.max(at, Math.floor(extent.start / size) * size);
      const whole = extent.start <= at && extent.tag < 256 ? Math.floor((extent.end - at) / size) : 0;
      const reachesEnd = extent.start <= at && extent.tag < 256 && extent.end >= end;
      const count = reachesEnd ? Math.ceil((end - at) / size) : whole;
      const slot = (at - start) / size;
      if (count > 0) this.#fillSlots(table, extent.tag, slot, slot + count);
      else table[slot] = this.#sharedCluster(extents, index, at);
      at += Math.max(1, count) * size;
    }
  }

  /** The entry for a cluster of one repeated byte, referred to so many times more. */
  #uniformCluster(byte: number, times: number): Cluster {
    if (byte === 0) return ZERO_ENTRY;
    this.#use(byte, times, 0);
    const known = this.#uniform.get(byte);
    if (known !== undefined) {
      this.#clusters.refer(known, times);
      return known;
    }
    const made = this.#clusters.allocate(this.#clusterBytes);
    this.#clusters.refer(made, times - 1);
    this.#uniform.set(byte, made);
    this.#put(made, Buffer.alloc(this.#clusterBytes, byte));
    return made;
  }

  /** A cluster of several extents, the same one for all disks that have the same there. */
  #sharedCluster(extents: readonly Extent[], from: number, start: number): Cluster {
    if (this.#content.snapshots.length === 0) return this.#mixedCluster(extents, from, start);
    const end = start + this.#clusterBytes;
    let key = `${start}`;
    for (let index = from; (extents[index]?.start ?? end) < end; index++) {
      const extent = extents[index] as Extent;
      key += ` ${Math.max(start, extent.start)}-${Math.min(end, extent.end)}:${extent.tag}`;
    }
    const known = this.#mixed.get(key);
    if (known !== undefined) {
      this.#clusters.refer(known, 1);
      return known;
    }
    const made = this.#mixedCluster(extents, from, start);
    this.#mixed.set(key, made);
    return made;
  }

  /** A cluster of several extents. What none of them holds was lost with a process and reads as zeroes. */
  #mixedCluster(extents: readonly Extent[], from: number, start: number): Cluster {
    const end = start + this.#clusterBytes;
    const bytes = Buffer.alloc(this.#clusterBytes);
    for (let index = from; (extents[index]?.start ?? end) < end; index++) {
      const extent = extents[index] as Extent;
      const [left, right] = [Math.max(start, extent.start), Math.min(end, extent.end)];
      this.#content.bytesOf(left, right, extent.tag).copy(bytes, left - start);
    }
    const cluster = this.#clusters.allocate(this.#clusterBytes);
    this.#put(cluster, bytes);
    return cluster;
  }

  /** The table of snapshots: where it is. Each has tables of its own and shares what data it can. */
  #writeSnapshots(): Cluster {
    const { snapshots } = this.#content;
    if (snapshots.length === 0) return 0;
    const entries = snapshots.map((each) => {
      const layer = this.#writeLayer(each.virtualSizeBytes, each.extents.extents);
      // Where the flag is not set, a writer looks at the refcount.
      this.#put(layer.at, this.#encodeTable(layer.tables));
      return snapshotEntry(each, layer.at * this.#clusterBytes, layer.tables.length);
    });
    const bytes = Buffer.concat(entries);
    const at = this.#clusters.allocate(bytes.length);
    this.#put(at, bytes);
    return at;
  }

  /** The persistent bitmaps: the extension of the header that leads to them. */
  #writeBitmaps(): Buffer {
    const { bitmaps, virtualSizeBytes } = this.#content;
    if (bitmaps.length === 0) return Buffer.alloc(0);
    const size = this.#clusterBytes;
    const entries = bitmaps.map((bitmap) => {
      const count = bitClusters(virtualSizeBytes, bitmap.granularityBytes, size);
      const table = Buffer.alloc(Math.max(1, count) * TABLE_ENTRY_BYTES);
      for (let index = 0; index < count; index++) {
        const bits = bitsOf(bitmap, index, size);
        if (bits) table.writeBigUInt64BE(BigInt(this.#putNew(bits)), index * TABLE_ENTRY_BYTES);
      }
      return encodeEntry(bitmap, this.#putNew(table), count);
    });
    const directory = Buffer.concat(entries);
    const extension = Buffer.alloc(BITMAPS.bytes);
    extension.writeUInt32BE(bitmaps.length, BITMAPS.count);
    extension.writeBigUInt64BE(BigInt(directory.length), BITMAPS.directoryBytes);
    extension.writeBigUInt64BE(BigInt(this.#putNew(directory)), BITMAPS.directoryOffset);
    return extension;
  }

  /** Puts bytes into clusters of their own; their offset. */
  #putNew(bytes: Buffer): number {
    const cluster = this.#clusters.allocate(bytes.length);
    this.#put(cluster, bytes);
    return cluster * this.#clusterBytes;
  }

  /** An L1 or L2 table. */
  #encodeTable(table: Float64Array): Buffer {
    const bytes = Buffer.alloc(table.length * TABLE_ENTRY_BYTES);
    for (const [index, entry] of table.entries()) {
      if (entry === ABSENT_ENTRY) continue;
      const isZero = entry === ZERO_ENTRY;
      const offset = isZero ? 0 : entry * this.#clusterBytes;
      const isSole = !isZero && this.#clusters.references[entry] === 1;
      bytes.writeUInt32BE(Math.floor(offset / WORD) + (isSole ? ENTRY.copied : 0), index * 8);
      bytes.writeUInt32BE((offset % WORD) + (isZero ? ENTRY.zero : 0), index * 8 + 4);
    }
    return bytes;
  }

  /** The refcounts of all clusters, their own among them. */
  #writeRefcounts(): RefcountTable {
    const most = this.#clusters.references.reduce((left, right) => Math.max(left, right), 1);
    const entryBytes = most < 2 ** 16 ? 2 : 8;
    const perBlock = this.#clusterBytes / entryBytes;
    const size = refcountSize(this.#clusters.count, perBlock, this.#perTable);
    const table = this.#clusters.allocate(size.tableClusters * this.#clusterBytes);
    const firstBlock = this.#clusters.allocate(size.blocks * this.#clusterBytes);
    const counts = Buffer.alloc(size.blocks * this.#clusterBytes);
    for (const [cluster, count] of this.#clusters.references.entries()) {
      counts.writeUIntBE(
        count,
        (cluster + 1) * entryBytes - Math.min(6, entryBytes),
        Math.min(6, entryBytes),
      );
    }
    this.#put(firstBlock, counts);
    const pointers = Buffer.alloc(size.tableClusters * this.#clusterBytes);
    for (let block = 0; block < size.blocks; block++) {
      pointers.writeBigUInt64BE(BigInt((firstBlock + block) * this.#clusterBytes), block * 8);
    }
    this.#put(table, pointers);
    return { at: table, clusters: size.tableClusters, order: Math.log2(entryBytes * 8) };
  }

  #writeHeader(l1: Layer, snapshotTable: Cluster, bitmaps: Buffer, refcounts: RefcountTable): void {
    const { header, path, virtualSizeBytes, snapshots } = this.#content;
    const bytes = Buffer.alloc(this.#clusterBytes);
    const offset = (at: number, value: number) => bytes.writeBigUInt64BE(BigInt(value), at);
    bytes.writeUInt32BE(MAGIC, HEADER.magic);
    bytes.writeUInt32BE(3, HEADER.version);
    bytes.writeUInt32BE(Math.log2(this.#clusterBytes), HEADER.clusterBits);
    offset(HEADER.virtualSizeBytes, virtualSizeBytes);
    bytes.writeUInt32BE(l1.tables.length, HEADER.l1Entries);
    offset(HEADER.l1Offset, l1.at * this.#clusterBytes);
    bytes.writeUInt32BE(snapshots.length, HEADER.snapshotCount);
    offset(HEADER.snapshotsOffset, snapshotTable * this.#clusterBytes);
    offset(HEADER.refcountTableOffset, refcounts.at * this.#clusterBytes);
    bytes.writeUInt32BE(refcounts.clusters, HEADER.refcountTableClusters);
    bytes.writeUInt32BE(refcounts.order, HEADER.refcountOrder);
    bytes.writeUInt32BE(HEADER_BYTES[3], HEADER.headerBytes);
    if (bitmaps.length > 0) bytes.writeUInt32BE(AUTOCLEAR_BITMAPS, HEADER.autoclearFeatures);
    const tail = Buffer.concat([...extensionsOf(header, bitmaps)]);
    const name = Buffer.from(header.backingName ?? '');
    const nameAt = HEADER_BYTES[3] + tail.length;
    if (nameAt + name.length > bytes.length) throw new HostError('EINVAL', path);
    tail.copy(bytes, HEADER_BYTES[3]);
    if (name.length > 0) {
      name.copy(bytes, nameAt);
      offset(HEADER.backingNameOffset, nameAt);
      bytes.writeUInt32BE(name.length, HEADER.backingNameBytes);
    }
    this.#put(0, bytes);
  }
}

/** Where a disk's L1 table lies, and its entries. */
interface Layer {
  readonly at: Cluster;
  readonly tables: Float64Array;
}

interface RefcountTable {
  readonly at: Cluster;
  readonly clusters: number;
  /** The binary logarithm of an entry's bits. */
  readonly order: number;
}

/** How many blocks and clusters of table count `used` clusters and themselves. */
function refcountSize(used: number, perBlock: number, perTable: number) {
  let blocks = 0;
  let tableClusters = 0;
  for (let total = -1; total !== used + blocks + tableClusters; ) {
    total = used + blocks + tableClusters;
    blocks = Math.ceil(total / perBlock);
    tableClusters = Math.max(1, Math.ceil(blocks / perTable));
  }
  return { blocks, tableClusters };
}

function* extensionsOf(header: ImageHeader, bitmaps: Buffer): Generator<Buffer> {
  if (header.backingFormat !== undefined) {
    yield extension(EXTENSION.backingFormat, Buffer.from(header.backingFormat));
  }
  if (bitmaps.length > 0) yield extension(EXTENSION.bitmaps, bitmaps);
  yield extension(EXTENSION.end, Buffer.alloc(0));
}

function extension(type: number, data: Buffer): Buffer {
  const bytes = Buffer.alloc(8 + Math.ceil(data.length / 8) * 8);
  bytes.writeUInt32BE(type, 0);
  bytes.writeUInt32BE(data.length, 4);
  data.copy(bytes, 8);
  return bytes;
}

/** An entry of the snapshot table. */
function snapshotEntry(snapshot: InternalSnapshot, l1Offset: number, l1Entries: number): Buffer {
  const [id, name] = [Buffer.from(snapshot.id), Buffer.from(snapshot.name)];
  const names = SNAPSHOT_BYTES.fixed + SNAPSHOT_BYTES.extra;
  const bytes = Buffer.alloc(Math.ceil((names + id.length + name.length) / 8) * 8);
  bytes.writeBigUInt64BE(BigInt(l1Offset), SNAPSHOT.l1Offset);
  bytes.writeUInt32BE(l1Entries, SNAPSHOT.l1Entries);
  bytes.writeUInt16BE(id.length, SNAPSHOT.idBytes);
  bytes.writeUInt16BE(name.length, SNAPSHOT.nameBytes);
  bytes.writeUInt32BE(snapshot.dateSec, SNAPSHOT.dateSec);
  bytes.writeUInt32BE(snapshot.dateNsec, SNAPSHOT.dateNsec);
  bytes.writeBigUInt64BE(BigInt(snapshot.vmClockNs), SNAPSHOT.vmClockNs);
  bytes.writeUInt32BE(SNAPSHOT_BYTES.extra, SNAPSHOT.extraBytes);
  bytes.writeBigUInt64BE(BigInt(snapshot.vmStateBytes), SNAPSHOT.vmStateBytes);
  bytes.writeBigUInt64BE(BigInt(snapshot.virtualSizeBytes), SNAPSHOT.virtualSizeBytes);
  bytes.writeBigUInt64BE(NO_INSTRUCTIONS, SNAPSHOT.instructions);
  id.copy(bytes, names);
  name.copy(bytes, names + id.length);
  return bytes;
}
