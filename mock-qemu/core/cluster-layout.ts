/**
 * Where the clusters of a qcow2 image lie in its file. What they hold is kept elsewhere, in extents; here is only which
 * guest clusters have a place at all, which is more than those that hold something else than zeroes, and where it is.
 */
import { ABSENT, type Extent, ExtentMap } from './extents.ts';

/** Where a new image has its tables, in clusters: the header is the first, the directory of refcounts the second. */
export const FIRST_CLUSTERS = { refcounts: 2, l1: 3 } as const;
const ENTRY_BYTES = 8;
const SECTOR_BYTES = 512;
/** The tables of an image that fit into this much memory are read and written whole, those of larger ones by slices. */
const CACHE_BYTES = 32 << 20;
const SLICE_BYTES = 4096;
const USED = 1;
/** Added to the way from a guest cluster to its place, so that it is never negative. */
const BIAS = 2 ** 40;
/** A compressed cluster takes so little that many share one cluster of the file. */
const COMPRESSED = 0;

/** Clusters of a file in a row. */
export interface HostRun {
  readonly first: number;
  readonly count: number;
}

/** What an image is known by before anybody has looked where its clusters lie. */
export interface LaidOut {
  readonly clusterBytes: number;
  readonly virtualSizeBytes: number;
  readonly extents: readonly Extent[];
  /** What lies behind the disk's own clusters, in clusters. */
  readonly extraClusters: number;
}

/** Whether clusters from one on must stay what they are, and how far that goes. */
export type KeptAt = (cluster: number, limit: number) => { readonly end: number; readonly kept: boolean };

/** The places of one image's clusters. Guest clusters and those of the file are numbered from 0. */
export class ClusterLayout {
  readonly clusterBytes: number;
  /** How much of an L2 table is read and written alone: what is placed in one go is within that. */
  readonly sliceBytes: number;
  /** Where the search for free clusters goes on. */
  searchFrom = 0;
  readonly #hosts = new ExtentMap();
  readonly #used: ExtentMap;
  /** Clusters of the file with the L2 tables, by the number of their L1 entry. */
  readonly #tables = new Map<number, number>();
  /** L1 entries whose tables belong to an internal snapshot as well. */
  readonly #shared = new Set<number>();
  #compressedInto: number | undefined;
  /** Nothing has been taken yet: of the last table there is only a part. */
  #isFresh = true;
  #endCluster: number;
  #freed: HostRun[] = [];

  /** Lays an image out as one that was written from its front to its end. */
  constructor({ clusterBytes, virtualSizeBytes, extents, extraClusters }: LaidOut) {
    this.clusterBytes = clusterBytes;
    const tableBytes = Math.ceil(virtualSizeBytes / clusterBytes) * ENTRY_BYTES;
    this.sliceBytes = tableBytes <= CACHE_BYTES ? clusterBytes : Math.min(SLICE_BYTES, clusterBytes);
    const first = FIRST_CLUSTERS.l1 + this.#clustersOfL1(virtualSizeBytes);
    this.#used = new ExtentMap([{ start: 0, end: first, tag: USED }]);
    this.#endCluster = first;
    for (const { start, end, tag } of extents) {
      const [from, to] = [Math.floor(start / clusterBytes), Math.ceil(end / clusterBytes)];
      if (tag === 0) this.zero(from, to, false);
      else this.put(from, to);
    }
    if (extraClusters > 0) this.allocate(extraClusters);
    this.searchFrom = 0;
  }

  /** How many clusters one L2 table describes. */
  get clustersOfTable(): number {
    return this.clusterBytes / ENTRY_BYTES;
  }

  /** How long the file is, in bytes. It does not get shorter when clusters in its midst are given back. */
  get sizeBytes(): number {
    const bytes = this.#endCluster * this.clusterBytes;
    return this.#isFresh ? bytes - this.clusterBytes + SECTOR_BYTES : bytes;
  }

  /** Where a guest cluster lies, and how far those behind it lie behind that; undefined: it has no place of its own. */
  hostAt(cluster: number, limit: number): { readonly end: number; readonly host: number | undefined } {
    const { end, tag } = this.#hosts.at(cluster, limit);
    return { end, host: tag === ABSENT || tag === COMPRESSED ? undefined : tag - BIAS + cluster };
  }

  /** Whether any of some guest clusters takes room, be it compressed. */
  isTaken(first: number, end: number): boolean {
    const next = this.#hosts.nextFrom(first);
    return next !== undefined && next.start < end;
  }

  /** Where the L2 table of an L1 entry lies. */
  tableAt(l1: number): number | undefined {
    return this.#tables.get(l1);
  }

  /** Says where the L2 table of an L1 entry lies from now on. */
  setTable(l1: number, host: number | undefined): void {
    if (host === undefined) this.#tables.delete(l1);
    else this.#tables.set(l1, host);
  }

  /** Says where guest clusters in a row lie from now on. */
  assign(first: number, count: number, host: number | undefined): void {
    this.#hosts.set(first, first + count, host === undefined ? ABSENT : host - first + BIAS);
  }

  /** Whether a cluster of the file is in use. */
  isUsed(host: number): boolean {
    return this.#used.at(host, host + 1).tag !== ABSENT;
  }

  /** Takes free clusters of the file in a row, the first ones there are. */
  allocate(count: number): number {
    let at = this.searchFrom;
    for (let next = this.#used.nextFrom(at); next && next.start - at < count; ) {
      at = next.end;
      next = this.#used.nextFrom(at);
    }
    this.#take(at, count);
    this.searchFrom = at + count;
    return at;
  }

  /** Takes so many clusters from a place on as are free there, at most `count`. */
  allocateAt(first: number, count: number): number {
    const next = this.#used.nextFrom(first);
    const free = Math.max(0, Math.min(count, (next?.start ?? Infinity) - first));
    if (free > 0) this.#take(first, free);
    return free;
  }

  #take(first: number, count: number): void {
    this.#isFresh = false;
    this.#used.set(first, first + count, USED);
    this.#endCluster = Math.max(this.#endCluster, first + count);
  }

  /** Gives clusters of the file back; `tells`: somebody may want to hear of it. */
  free(first: number, count: number, tells: boolean): void {
    this.#used.clear(first, first + count);
    this.searchFrom = Math.min(this.searchFrom, first);
    if (tells) this.#freed.push({ first, count });
  }

  /** What has been given back since somebody asked last, neighbours as one. */
  takeFreed(): readonly HostRun[] {
    const sorted = this.#freed.sort((left, right) => left.first - right.first);
    this.#freed = [];
    const runs: HostRun[] = [];
    for (const run of sorted) {
      const last = runs.at(-1);
      if (last && last.first + last.count === run.first)
        runs[runs.length - 1] = { first: last.first, count: last.count + run.count };
      else runs.push(run);
    }
    return runs;
  }

  /** Data comes to guest clusters: those without a place, or whose place must stay what it is, get one. */
  put(first: number, end: number, keptAt?: KeptAt): void {
    let next: number | undefined;
    for (let at = first; at < end; ) {
      const span = this.hostAt(at, end);
      const { end: until, kept } = keptAt?.(at, span.end) ?? { end: span.end, kept: false };
      if (span.host !== undefined && !kept) {
        next = span.host + until - at;
        at = until;
        continue;
      }
      this.#needTable(at);
      const wanted = Math.min(until, this.#endOfRow(at)) - at;
      if (span.host === undefined) this.#hosts.clear(at, at + wanted);
      const behind = next === undefined ? 0 : this.allocateAt(next, wanted);
      const count = behind > 0 ? behind : wanted;
      const host = next !== undefined && behind > 0 ? next : this.allocate(count);
      this.assign(at, count, host);
      next = host + count;
      at += count;
    }
  }

  /** Compressed data comes to guest clusters that take no room. */
  putCompressed(first: number, end: number): void {
    for (let at = first; at < end; at++) this.#needTable(at);
    if (this.#compressedInto === undefined || !this.isUsed(this.#compressedInto))
      this.#compressedInto = this.allocate(1);
    this.#hosts.set(first, end, COMPRESSED);
  }

  /** Guest clusters read as zeroes from now on; they keep their places unless these are dropped. */
  zero(first: number, end: number, drops: boolean, keptAt?: KeptAt): void {
    for (let at = first; at < end; at = this.#endOfTable(at)) this.#needTable(at);
    for (let at = first; at < end; ) {
      const { end: until, kept } = keptAt?.(at, end) ?? { end, kept: false };
      if (kept) this.#hosts.clear(at, until);
      else if (drops) this.#drop(at, until);
      else this.#dropCompressed(at, until);
      at = until;
    }
  }

  /** The disk ends at a cluster from now on: what is dropped needs tables, those behind are given back as well, one by one. */
  truncate(end: number, oldEnd: number): readonly HostRun[] {
    for (let at = end; at < oldEnd; at = this.#endOfTable(at)) this.#needTable(at);
    this.#drop(end, Math.max(end, this.#hosts.endBytes));
    const freed = [...this.takeFreed()];
    for (const [l1, host] of this.#tables) {
      if (l1 * this.clustersOfTable < end) continue;
      this.#tables.delete(l1);
      this.free(host, 1, false);
      freed.push({ first: host, count: 1 });
    }
    this.#endCluster = this.#used.endBytes;
    return freed;
  }

  /** An internal snapshot of the disk is taken: it gets an L1 table and an entry, and shares everything else. */
  share(virtualSizeBytes: number): void {
    this.allocate(this.#clustersOfL1(virtualSizeBytes));
    this.allocate(1);
    for (const l1 of this.#tables.keys()) this.#shared.add(l1);
  }

  #drop(first: number, end: number): void {
    for (const { start, end: to, tag } of this.#within(first, end)) {
      if (tag !== COMPRESSED) this.free(tag - BIAS + start, to - start, true);
    }
    this.#hosts.clear(first, end);
  }

  #dropCompressed(first: number, end: number): void {
    for (const { start, end: to, tag } of this.#within(first, end)) {
      if (tag === COMPRESSED) this.#hosts.clear(start, to);
    }
  }

  /** What there is between two guest clusters, cut there. */
  #within(first: number, end: number): Extent[] {
    const found: Extent[] = [];
    for (let at = first; at < end; ) {
      const span = this.#hosts.at(at, end);
      if (span.tag !== ABSENT) found.push({ start: at, end: span.end, tag: span.tag });
      at = span.end;
    }
    return found;
  }

  #clustersOfL1(virtualSizeBytes: number): number {
    const entries = Math.ceil(virtualSizeBytes / this.clusterBytes / this.clustersOfTable);
    return Math.max(1, Math.ceil((entries * ENTRY_BYTES) / this.clusterBytes));
  }

  #needTable(cluster: number): void {
    const l1 = Math.floor(cluster / this.clustersOfTable);
    if (this.#tables.has(l1) && !this.#shared.delete(l1)) return;
    this.#tables.set(l1, this.allocate(1));
  }

  #endOfTable(cluster: number): number {
    return (Math.floor(cluster / this.clustersOfTable) + 1) * this.clustersOfTable;
  }

  /** How far clusters are placed in one go. Where there are no gaps left to fill, that makes no difference. */
  #endOfRow(cluster: number): number {
    if (this.searchFrom >= this.#used.endBytes) return this.#endOfTable(cluster);
    const entries = this.sliceBytes / ENTRY_BYTES;
    return (Math.floor(cluster / entries) + 1) * entries;
  }
}
