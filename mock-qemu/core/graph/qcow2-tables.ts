/**
 * The tables of a qcow2 file as a writer has them in memory, and what it reads and writes of the file for them: refcounts, the
 * L1 table and slices of L2 tables. Content is kept elsewhere, in extents; this is only looked at where somebody watches the
 * file below.
 */
import { assert } from '../../../src/util/assert.ts';
import { type ClusterLayout, FIRST_CLUSTERS } from '../cluster-layout.ts';
import type { Errno } from '../errno.ts';
import { type ImageFile, layoutOf, sharedAt } from '../images.ts';
import type { BlockNode } from './node.ts';

/** A request of a format to its file. */
export type FileOp = 'read' | 'write' | 'zero' | 'discard' | 'flush';

/** The file below a format. */
export interface FileBelow {
  /** Requests are made in multiples of this. */
  readonly alignBytes: number;
  /** Something happens in the format. */
  tell(event: string): void;
  /** The error that a request meets. */
  ask(op: FileOp, offset: number, bytes: number): Errno | undefined;
}

const ENTRY_BYTES = 8;

/** What the tables say of one guest cluster. */
export interface ClusterState {
  /** The cluster of the file that is set aside for it; undefined: none. */
  readonly host: number | undefined;
  /** It reads as zeroes, whatever the file holds. */
  readonly zero: boolean;
}

/** Tables of one node. */
export class Qcow2Tables {
  readonly clusterBytes: number;
  readonly #file: FileBelow;
  readonly #image: ImageFile;
  /** Guest clusters that read as zeroes, whatever the file holds. */
  readonly #zeroes = new Set<number>();
  #refcounts = { loaded: false, dirty: false, afterL2: false };
  /** Slices in memory, and whether they are newer than the file. */
  readonly #slices = new Map<number, boolean>();
  /** What has to be in the file before any slice. */
  #slicesAfter: 'nothing' | 'refcounts' | 'flush' = 'nothing';

  constructor(node: BlockNode, file: FileBelow) {
    assert(node.image, `node ${node.name} has no image`);
    this.#file = file;
    this.#image = node.image;
    this.clusterBytes = node.image.header.clusterSizeBytes;
    this.#takeZeroes(node);
    this.#takePending(node);
  }

  #takeZeroes(node: BlockNode): void {
    const end = node.lengthBytes;
    for (let at = 0; at < end; ) {
      const span = node.driver.at(node, at, end);
      const last = Math.ceil(span.end / this.clusterBytes);
      for (let cluster = Math.floor(at / this.clusterBytes); cluster < last && span.tag === 0; cluster++) {
        const start = cluster * this.clusterBytes;
        if (isZeroThroughout(node, start, Math.min(end, start + this.clusterBytes)))
          this.#zeroes.add(cluster);
      }
      at = span.end;
    }
  }

  #takePending(node: BlockNode): void {
    const { clusterBytes } = this;
    const unwritten = [...(node.unwritten?.extents ?? []), ...(node.pending?.extents ?? [])];
    if (unwritten.length === 0) return;
    // What has been written since the last flush is in memory.
    this.#refcounts.loaded = true;
    this.#refcounts.dirty = true;
    this.#slicesAfter = 'refcounts';
    for (const { start, end } of unwritten) {
      for (let cluster = Math.floor(start / clusterBytes); cluster * clusterBytes < end; ) {
        this.#slices.set(this.#sliceOf(cluster), true);
        cluster += this.clustersOfSlice(cluster);
      }
    }
  }

  get #layout(): ClusterLayout {
    return layoutOf(this.#image);
  }

  get #sliceBytes(): number {
    return this.#layout.sliceBytes;
  }

  #sliceOf(cluster: number): number {
    return Math.floor(cluster / (this.#sliceBytes / ENTRY_BYTES));
  }

  #l1Of(cluster: number): number {
    return Math.floor(cluster / this.#layout.clustersOfTable);
  }

  /** How many clusters from one on are in the same slice. */
  clustersOfSlice(cluster: number): number {
    const entries = this.#sliceBytes / ENTRY_BYTES;
    return entries - (cluster % entries);
  }

  /** Whether the slice of a cluster is in memory. */
  has(cluster: number): boolean {
    return this.#slices.has(this.#sliceOf(cluster));
  }

  /** What the tables say of a guest cluster; its slice has been loaded. */
  state(cluster: number): ClusterState {
    return { host: this.#layout.hostAt(cluster, cluster + 1).host, zero: this.#zeroes.has(cluster) };
  }

  /** Changes the entry of a guest cluster, in memory. */
  set(cluster: number, state: ClusterState): void {
    this.#layout.assign(cluster, 1, state.host);
    if (state.zero) this.#zeroes.add(cluster);
    else this.#zeroes.delete(cluster);
    this.#slices.set(this.#sliceOf(cluster), true);
  }

  /** Has the slice of a cluster in memory, where there is a table. */
  load(cluster: number): Errno | undefined {
    const slice = this.#sliceOf(cluster);
    const host = this.#layout.tableAt(this.#l1Of(cluster));
    if (host === undefined || this.#slices.has(slice)) return undefined;
    this.#file.tell('l2_load');
    const error = this.#file.ask('read', this.#placeOf(slice), this.#sliceBytes);
    if (error === undefined) this.#slices.set(slice, false);
    return error;
  }

  /** Has the slice of a cluster in memory to be changed: a table is made where there is none. */
  loadToChange(cluster: number): Errno | undefined {
    const l1 = this.#l1Of(cluster);
    return (this.#layout.tableAt(l1) === undefined ? this.#makeTable(l1) : undefined) ?? this.load(cluster);
  }

  #placeOf(slice: number): number {
    const slices = this.clusterBytes / this.#sliceBytes;
    const host = this.#layout.tableAt(Math.floor(slice / slices)) ?? 0;
    return host * this.clusterBytes + (slice % slices) * this.#sliceBytes;
  }

  #makeTable(l1: number): Errno | undefined {
    const host = this.allocate(1);
    if (typeof host !== 'number') return host;
    const slices = this.clusterBytes / this.#sliceBytes;
    const failed = this.#flushRefcounts() ?? this.#writeTable(l1, host, slices);
    if (failed === undefined) return undefined;
    for (let slice = 0; slice < slices; slice++) this.#slices.delete(l1 * slices + slice);
    this.#layout.setTable(l1, undefined);
    this.free(host, 1, true);
    return failed;
  }

  #writeTable(l1: number, host: number, slices: number): Errno | undefined {
    this.#layout.setTable(l1, host);
    for (let slice = 0; slice < slices; slice++) {
      this.#file.tell('l2_alloc_write');
      this.#slices.set(l1 * slices + slice, true);
    }
    const unwritten = this.#flushSlices();
    if (unwritten !== undefined) return unwritten;
    this.#file.tell('l1_update');
    const bytes = Math.max(ENTRY_BYTES, Math.min(this.#file.alignBytes, this.clusterBytes));
    const at = FIRST_CLUSTERS.l1 * this.clusterBytes + Math.floor((l1 * ENTRY_BYTES) / bytes) * bytes;
    return this.#file.ask('write', at, bytes) ?? this.#file.ask('flush', 0, 0);
  }

  /** Has the refcounts in memory. */
  loadRefcounts(): Errno | undefined {
    if (this.#refcounts.loaded) return undefined;
    const error = this.#file.ask('read', FIRST_CLUSTERS.refcounts * this.clusterBytes, this.clusterBytes);
    if (error === undefined) this.#refcounts.loaded = true;
    return error;
  }

  /** Takes free clusters in a row; the answer is the first one, or why there is none. */
  allocate(count: number): number | Errno {
    this.#file.tell('cluster_alloc');
    const unread = this.loadRefcounts();
    if (unread !== undefined) {
      // The cluster that was asked about is not asked about again.
      this.#layout.searchFrom++;
      return unread;
    }
    const first = this.#layout.allocate(count);
    this.#noteRefcounts();
    return first;
  }

  /** Takes so many clusters from a place on as are free there, at most `count`. */
  allocateAt(first: number, count: number): { readonly count: number } | Errno {
    const unread = this.loadRefcounts();
    if (unread !== undefined) return unread;
    const taken = this.#layout.allocateAt(first, count);
    if (taken > 0) this.#noteRefcounts();
    return { count: taken };
  }

  #noteRefcounts(): void {
    this.#file.tell('refblock_load');
    this.#refcounts.dirty = true;
  }

  /**
   * Gives clusters back; `discards`: and tells the file that they are not needed, which may fail unnoticed. The answer is whether
   * the file has been told.
   */
  free(first: number, count: number, discards: boolean): boolean {
    this.#file.tell('cluster_free');
    // Nothing may go on using a cluster whose refcount says that it is free. Neither waits for the other in a circle.
    if (this.#slicesAfter !== 'refcounts' || this.#settleOrder() === undefined)
      this.#refcounts.afterL2 = true;
    this.#file.tell('refblock_load');
    this.#refcounts.dirty = true;
    this.#layout.free(first, count, discards);
    const [at, bytes] = [first * this.clusterBytes, count * this.clusterBytes];
    return discards && this.#file.ask('discard', at, bytes) === undefined;
  }

  /** Entries that are changed from now on name clusters whose refcounts have to be in the file first. */
  orderAfterRefcounts(): void {
    if (this.#settleRefcounts() === undefined) this.#slicesAfter = 'refcounts';
  }

  /** Entries that are changed from now on name clusters whose content has to be in the file first. */
  orderAfterContent(): void {
    if (this.#slicesAfter === 'nothing') this.#slicesAfter = 'flush';
  }

  /** Whether entries are newer than the file. */
  get hasUnwrittenSlices(): boolean {
    return [...this.#slices.values()].includes(true);
  }

  /** Hands all that is newer than the file to the file, without making it last. */
  write(): Errno | undefined {
    return this.#writeSlices() ?? this.#writeRefcounts();
  }

  #flushRefcounts(): Errno | undefined {
    return this.#writeRefcounts() ?? this.#file.ask('flush', 0, 0);
  }

  #writeRefcounts(): Errno | undefined {
    if (!this.#refcounts.dirty) return undefined;
    const unsettled = this.#settleRefcounts();
    if (unsettled !== undefined) return unsettled;
    this.#file.tell('refblock_update_part');
    const error = this.#file.ask('write', FIRST_CLUSTERS.refcounts * this.clusterBytes, this.clusterBytes);
    if (error === undefined) this.#refcounts.dirty = false;
    return error;
  }

  #settleRefcounts(): Errno | undefined {
    if (!this.#refcounts.afterL2) return undefined;
    const error = this.#flushSlices();
    if (error === undefined) this.#refcounts.afterL2 = false;
    return error;
  }

  #flushSlices(): Errno | undefined {
    return this.#writeSlices() ?? this.#file.ask('flush', 0, 0);
  }

  /** Writes each slice that it can; the last error counts, unless there was no room. */
  #writeSlices(): Errno | undefined {
    let met: Errno | undefined;
    const dirty = [...this.#slices].filter(([, isDirty]) => isDirty).map(([slice]) => slice);
    for (const slice of dirty.sort((a, b) => a - b)) {
      const error = this.#settleOrder() ?? this.#writeSlice(slice);
      if (error !== undefined && met !== 'ENOSPC') met = error;
    }
    return met;
  }

  #settleOrder(): Errno | undefined {
    if (this.#slicesAfter === 'nothing') return undefined;
    const error = this.#slicesAfter === 'refcounts' ? this.#flushRefcounts() : this.#file.ask('flush', 0, 0);
    if (error === undefined) this.#slicesAfter = 'nothing';
    return error;
  }

  #writeSlice(slice: number): Errno | undefined {
    this.#file.tell('l2_update');
    const error = this.#file.ask('write', this.#placeOf(slice), this.#sliceBytes);
    if (error === undefined) this.#slices.set(slice, false);
    return error;
  }
}

/** Whether an image's own layer has zeroes in a stretch, and nothing but these. */
function isZeroThroughout(node: BlockNode, start: number, end: number): boolean {
  for (let at = start; at < end; ) {
    const span = node.driver.at(node, at, end);
    if (span.tag !== 0) return false;
    at = span.end;
  }
  return true;
}

/** Whether a cluster of a node is kept by an internal snapshot, and so is not written in place. */
export function isKept(node: BlockNode, offset: number): boolean {
  return (
    node.image !== undefined &&
    node.image.snapshots.length > 0 &&
    sharedAt(node.image, offset, offset + 1).shared
  );
}
