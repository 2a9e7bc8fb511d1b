/** What a qcow2 format makes of a request: in which order it reads and writes its file, and what it says meanwhile. */
import type { Errno } from '../errno.ts';
import { ABSENT } from '../extents.ts';
import { skipFilters } from './data.ts';
import type { BlockNode } from './node.ts';
import { type FileBelow, isKept, Qcow2Tables } from './qcow2-tables.ts';

/** What else the format needs. */
export interface IoSurroundings extends FileBelow {
  /** The error that the backing file meets. */
  askBacking(op: 'read', offset: number, bytes: number): Errno | undefined;
  /** Whether what lies below the image is known to read as zeroes. */
  isZeroBelow(offset: number, bytes: number): boolean;
  /** Whether discards are passed on to the node below, and whether what is passed on reaches the file. */
  readonly passesDiscards: boolean;
  readonly dropsContent: boolean;
  /** The error that was met last came before anybody else could run. */
  metImmediately(): boolean;
}

/** A stretch of guest clusters that one write to the file fills. */
interface Placed {
  /** In the file, of the first byte that the guest writes. */
  readonly hostOffset: number;
  readonly bytes: number;
  readonly parts: readonly Part[];
}

/** Clusters of a stretch whose entries change. */
interface Part {
  readonly first: number;
  readonly count: number;
  /** Cluster of the file. */
  readonly host: number;
  /** The file's clusters were there before. */
  readonly kept: boolean;
  /** What the guest writes of them, in guest bytes. */
  readonly start: number;
  readonly end: number;
  /** What is filled up beside that: bytes before and after. */
  readonly headBytes: number;
  readonly tailBytes: number;
}

/** A part of a write that was written. */
export interface Landed {
  readonly start: number;
  readonly end: number;
}

const MERGED_READ_BYTES = 16384;
/** How many parts of a request are under way at a time. */
const MOST_TASKS = 8;

/** What a part of a request does, from one wait for the file to the next. */
type Steps = Generator<undefined, Errno | undefined>;

interface WriteTask {
  readonly steps: Steps;
  readonly part: Landed;
}

/** The requests of one node. */
export class Qcow2Io {
  readonly #node: BlockNode;
  readonly #file: IoSurroundings;
  readonly #tables: Qcow2Tables;
  #landed: Landed[] = [];
  readonly #dropped = new Set<number>();
  #writes = 0;
  #flushedWrites = 0;

  constructor(node: BlockNode, file: IoSurroundings) {
    this.#node = node;
    this.#file = file;
    this.#tables = new Qcow2Tables(node, file);
  }

  /** Reads: the errors of all parts are met, the first one counts. */
  read(offset: number, bytes: number): Errno | undefined {
    let met: Errno | undefined;
    for (let at = offset; at < offset + bytes && !(met !== undefined && this.#file.metImmediately()); ) {
      const unread = this.#tables.load(this.#clusterOf(at));
      if (unread !== undefined) return met ?? unread;
      const end = this.#endOfRun(at, offset + bytes);
      const error = this.#readRun(at, end);
      met ??= error;
      at = end;
    }
    return met;
  }

  #readRun(at: number, end: number): Errno | undefined {
    const { host, zero } = this.#tables.state(this.#clusterOf(at));
    if (zero) return undefined;
    if (host === undefined) {
      if (!this.#node.backing) return undefined;
      this.#file.tell('read_backing_aio');
      return this.#file.askBacking('read', at, end - at);
    }
    this.#file.tell('read_aio');
    return this.#file.ask('read', this.#hostOffset(host, at), end - at);
  }

  /** Finds out what is at the beginning of a stretch, without reading it. */
  status(offset: number): Errno | undefined {
    return this.#tables.load(this.#clusterOf(offset));
  }

  /** Whether the tables for a stretch are in memory: then its entries change without any request to the file. */
  knows(offset: number, bytes: number): boolean {
    for (let at = this.#clusterOf(offset); at <= this.#clusterOf(offset + bytes - 1); ) {
      if (!this.#tables.has(at)) return false;
      at += this.#tables.clustersOfSlice(at);
    }
    return true;
  }

  /** What the last write has written; forgotten when told. */
  takeLanded(): readonly Landed[] {
    const landed = this.#landed;
    this.#landed = [];
    return landed;
  }

  /** Writes data. */
  write(offset: number, bytes: number): Errno | undefined {
    this.#writes++;
    this.#landed = [];
    return this.#writeData(offset, bytes);
  }

  /** Parts of a write that lie apart are written side by side: whoever waits for the file lets the others get on. */
  #writeData(offset: number, bytes: number): Errno | undefined {
    const tasks: WriteTask[] = [];
    let met: Errno | undefined;
    const step = (): void => {
      for (const task of tasks.splice(0)) {
        const { done, value } = task.steps.next();
        if (!done) tasks.push(task);
        else if (value === undefined) this.#landed.push(task.part);
        else met ??= value;
      }
    };
    for (let at = offset; at < offset + bytes && met === undefined; ) {
      const placed = this.#place(at, offset + bytes - at);
      if (typeof placed === 'string') {
        while (tasks.length > 0) step();
        return met ?? placed;
      }
      const steps = this.#fill(placed, at);
      const part = { start: at, end: at + placed.bytes };
      const { done, value } = steps.next();
      if (!done) tasks.push({ steps, part });
      else if (value !== undefined) met ??= value;
      else this.#landed.push(part);
      while (tasks.length >= MOST_TASKS) step();
      at += placed.bytes;
    }
    while (tasks.length > 0) step();
    return met;
  }

  /** Finds or makes room in the file for as much of a write as lies there in one piece. */
  #place(offset: number, bytes: number): Placed | Errno {
    const parts: Part[] = [];
    let hostOffset: number | undefined;
    let at = offset;
    while (at < offset + bytes) {
      const next = hostOffset === undefined ? undefined : hostOffset + at - offset;
      const unloaded = this.#tables.loadToChange(this.#clusterOf(at));
      if (unloaded !== undefined) return unloaded;
      const part = this.#owned(at, offset + bytes, next) ?? this.#fresh(at, offset + bytes, next);
      if (typeof part === 'string') return part;
      if (part === undefined) break;
      hostOffset ??= this.#hostOffset(part.host, at);
      parts.push(part);
      at = part.end;
    }
    return { hostOffset: hostOffset ?? 0, bytes: at - offset, parts };
  }

  /** Clusters that are written in place; undefined: the first one is not, or does not follow on what comes before. */
  #owned(at: number, limit: number, next: number | undefined): Part | undefined {
    const first = this.#clusterOf(at);
    const { host } = this.#tables.state(first);
    if (host === undefined || isKept(this.#node, at)) return undefined;
    if (next !== undefined && next !== this.#hostOffset(host, at)) return undefined;
    const end = this.#endOfRun(at, limit, (cluster) => {
      const state = this.#tables.state(cluster);
      return state.host === host + cluster - first && !isKept(this.#node, cluster * this.#clusterBytes);
    });
    const last = this.#clusterOf(end - 1);
    const fills = (cluster: number): boolean => this.#tables.state(cluster).zero;
    return {
      ...{ first, count: last - first + 1, host, kept: true, start: at, end },
      headBytes: fills(first) ? at % this.#clusterBytes : 0,
      tailBytes: fills(last) ? this.#upTo(end) - end : 0,
    };
  }

  /** Clusters that get room; undefined: not where they would follow on what comes before. */
  #fresh(at: number, limit: number, next: number | undefined): Part | Errno | undefined {
    const first = this.#clusterOf(at);
    const needsRoom = (cluster: number): boolean =>
      this.#tables.state(cluster).host === undefined || isKept(this.#node, cluster * this.#clusterBytes);
    if (!needsRoom(first)) return undefined;
    const wanted = this.#clusterOf(this.#endOfRun(at, limit, needsRoom) - 1) - first + 1;
    const taken = this.#takeRoom(wanted, next);
    if (typeof taken === 'string') return taken;
    if (taken.count === 0) return undefined;
    const end = Math.min(limit, (first + taken.count) * this.#clusterBytes);
    return {
      ...{ first, count: taken.count, host: taken.first, kept: false, start: at, end },
      headBytes: at % this.#clusterBytes,
      tailBytes: this.#upTo(end) - end,
    };
  }

  #takeRoom(
    count: number,
    next: number | undefined,
  ): { readonly first: number; readonly count: number } | Errno {
    if (next === undefined) {
      const first = this.#tables.allocate(count);
      return typeof first === 'number' ? { first, count } : first;
    }
    const at = this.#clusterOf(next);
    const taken = this.#tables.allocateAt(at, count);
    return typeof taken === 'string' ? taken : { first: at, count: taken.count };
  }

  /** Writes what has been placed, and then its entries. */
  *#fill(placed: Placed, offset: number): Steps {
    const zeroed = new Set<Part>();
    const failed =
      (yield* this.#zeroAround(placed.parts, zeroed)) ?? (yield* this.#writePlaced(placed, offset, zeroed));
    if (failed === undefined) return undefined;
    for (const { kept, host, count } of placed.parts) if (!kept) this.#tables.free(host, count, false);
    return failed;
  }

  /** Where all beside the guest's bytes is zero, whole clusters are zeroed first. */
  *#zeroAround(parts: readonly Part[], zeroed: Set<Part>): Steps {
    for (const part of parts) {
      const { start, end, headBytes, tailBytes, host, first } = part;
      if (headBytes + tailBytes === 0) continue;
      if (!this.#isZero(start - headBytes, headBytes) || !this.#isZero(end, tailBytes)) continue;
      this.#file.tell('cluster_alloc_space');
      const at = host * this.#clusterBytes + (start - headBytes - first * this.#clusterBytes);
      const error = yield* this.#issue('zero', at, headBytes + end - start + tailBytes);
      if (error === 'ENOTSUP' || error === 'EAGAIN') continue;
      if (error !== undefined) return error;
      zeroed.add(part);
    }
    return undefined;
  }

  *#writePlaced({ hostOffset, bytes, parts }: Placed, offset: number, zeroed: Set<Part>): Steps {
    const copied = parts.filter((part) => part.headBytes + part.tailBytes > 0 && !zeroed.has(part));
    // A stretch that fills one part alone is written together with what is copied beside it.
    const merged = copied.find((part) => part.start === offset && part.end === offset + bytes);
    if (!merged) {
      this.#file.tell('write_aio');
      const error = yield* this.#issue('write', hostOffset, bytes);
      if (error !== undefined) return error;
      // What needs no entry is there now, whatever becomes of the rest.
      for (const part of parts) if (part.kept && !this.#hasZero(part)) this.#landed.push(part);
    }
    for (const part of parts) {
      if (part.kept && !this.#hasZero(part)) continue;
      const error = copied.includes(part) ? yield* this.#copyAround(part, part === merged) : undefined;
      if (error !== undefined) return error;
      this.#tables.orderAfterRefcounts();
      for (let index = 0; index < part.count; index++)
        this.#tables.set(part.first + index, { host: part.host + index, zero: false });
    }
    return undefined;
  }

  /** A request to the file, and the wait for it. */
  *#issue(op: 'write' | 'zero', offset: number, bytes: number): Steps {
    const error = this.#file.ask(op, offset, bytes);
    if (error === undefined || !this.#file.metImmediately()) yield;
    return error;
  }

  #hasZero({ first, count }: Part): boolean {
    for (let cluster = first; cluster < first + count; cluster++)
      if (this.#tables.state(cluster).zero) return true;
    return false;
  }

  /** Copy on write: reads what was beside the guest's bytes, and writes it. */
  *#copyAround({ start, end, headBytes, tailBytes, host, first }: Part, merged: boolean): Steps {
    const pieces = [
      { at: start - headBytes, bytes: headBytes },
      { at: end, bytes: tailBytes },
    ].filter(({ bytes }) => bytes > 0);
    const isOneRead = pieces.length === 2 && end - start <= MERGED_READ_BYTES;
    const reads = isOneRead
      ? [{ at: start - headBytes, bytes: headBytes + end - start + tailBytes }]
      : pieces;
    for (const { at, bytes } of reads) {
      this.#file.tell('cow_read');
      const error = this.read(at, bytes);
      if (error === undefined || !this.#file.metImmediately()) yield;
      if (error !== undefined) return error;
    }
    const whole = { at: start - headBytes, bytes: headBytes + end - start + tailBytes };
    if (merged) this.#file.tell('write_aio');
    for (const { at, bytes } of merged ? [whole] : pieces) {
      this.#file.tell('cow_write');
      const error = yield* this.#issue('write', (host - first) * this.#clusterBytes + at, bytes);
      if (error !== undefined) return error;
    }
    this.#tables.orderAfterContent();
    return undefined;
  }

  /** Notes zeroes; those that share a cluster with something else are data. */
  zero(offset: number, bytes: number, unmap = false): Errno | undefined {
    const drops = unmap && this.#node.unmap;
    this.#writes++;
    this.#landed = [];
    for (const { at, end } of this.#pieces(offset, bytes)) {
      const first = this.#clusterOf(at);
      const before = at - first * this.#clusterBytes;
      const after = Math.min(this.#upTo(end), this.#node.lengthBytes) - end;
      const isWhole = before === 0 && after === 0;
      const isData = !isWhole && !this.#canZeroWhole(first, before, { end, bytes: after });
      const error = isData ? this.#writeData(at, end - at) : this.#noteZeroes(at, end, drops);
      if (error !== undefined) return error;
      if (!isData) this.#landed.push({ start: at, end });
    }
    return undefined;
  }

  #canZeroWhole(
    cluster: number,
    before: number,
    after: { readonly end: number; readonly bytes: number },
  ): boolean {
    const start = cluster * this.#clusterBytes;
    return this.#isKnownZero(start, before) && this.#isKnownZero(after.end, after.bytes);
  }

  /** Whether what is beside zeroes is zero; if that cannot be found out it is not. */
  #isKnownZero(offset: number, bytes: number): boolean {
    if (bytes === 0) return true;
    if (this.status(offset) !== undefined) return false;
    const { host, zero } = this.#tables.state(this.#clusterOf(offset));
    return (host === undefined || zero) && this.#isZero(offset, bytes);
  }

  #noteZeroes(start: number, end: number, drops: boolean): Errno | undefined {
    for (let at = start; at < end; at = this.#endOfSlice(at)) {
      const error = this.#tables.loadToChange(this.#clusterOf(at));
      if (error !== undefined) return error;
      const last = this.#clusterOf(Math.min(end, this.#endOfSlice(at)) - 1);
      for (let cluster = this.#clusterOf(at); cluster <= last; cluster++) {
        const { host, zero } = this.#tables.state(cluster);
        if (drops && host !== undefined) this.#giveBack(cluster, host);
        else if (!zero) this.#tables.set(cluster, { host, zero: true });
      }
    }
    return undefined;
  }

  /** Drops whole clusters; a part of one stays what it is. */
  discard(offset: number, bytes: number): Errno | undefined {
    this.#writes++;
    for (const { at, end } of this.#pieces(offset, bytes)) {
      if (at % this.#clusterBytes > 0 || (end % this.#clusterBytes > 0 && end < this.#node.lengthBytes))
        continue;
      for (let from = at; from < end; from = this.#endOfSlice(from)) {
        const error = this.#tables.loadToChange(this.#clusterOf(from));
        if (error !== undefined) return error;
        this.#dropClusters(this.#clusterOf(from), this.#clusterOf(Math.min(end, this.#endOfSlice(from)) - 1));
      }
    }
    return undefined;
  }

  #dropClusters(first: number, last: number): void {
    for (let cluster = first; cluster <= last; cluster++) {
      const { host, zero } = this.#tables.state(cluster);
      const changes = host !== undefined || (this.#node.backing !== undefined && !zero);
      if (!changes) continue;
      if (host !== undefined) this.#giveBack(cluster, host);
      else this.#tables.set(cluster, { host, zero: true });
    }
  }

  #giveBack(cluster: number, host: number): void {
    this.#tables.set(cluster, { host: undefined, zero: true });
    const isTold = this.#tables.free(host, 1, this.#file.passesDiscards);
    if (isTold && this.#file.dropsContent) this.#dropped.add(cluster);
  }

  /** Clusters whose content the file has dropped although the entries that lead there may still be in it. */
  get dropped(): ReadonlySet<number> {
    return this.#dropped;
  }

  /** Makes everything last. */
  flush(): Errno | undefined {
    const written = this.#writes;
    this.#file.tell('flush_to_os');
    const unwritten = this.#tables.write();
    if (unwritten !== undefined) return unwritten;
    this.#dropped.clear();
    if (this.#flushedWrites !== written) this.#file.tell('flush_to_disk');
    const error = this.#file.ask('flush', 0, 0);
    if (error === undefined) this.#flushedWrites = written;
    return error;
  }

  /** Whether entries are newer than the file: what they say is lost when the node is closed. */
  get hasUnwritten(): boolean {
    return this.#tables.hasUnwrittenSlices;
  }

  /** A request as the format gets it: the unaligned ends of it alone. */
  #pieces(offset: number, bytes: number): { readonly at: number; readonly end: number }[] {
    const end = offset + bytes;
    const head = offset % this.#clusterBytes === 0 ? offset : Math.min(end, this.#upTo(offset));
    const isAtEnd = end === this.#node.lengthBytes;
    const tail = isAtEnd ? end : Math.max(head, end - (end % this.#clusterBytes));
    return [
      { at: offset, end: head },
      { at: head, end: tail },
      { at: tail, end },
    ].filter((piece) => piece.at < piece.end);
  }

  /** Whether a stretch is known to read as zeroes. */
  #isZero(offset: number, bytes: number): boolean {
    for (let at = offset; at < offset + bytes; ) {
      const end = Math.min(offset + bytes, this.#upTo(at + 1));
      const { host, zero } = this.#tables.state(this.#clusterOf(at));
      if (!zero && (host !== undefined || !this.#file.isZeroBelow(at, end - at))) return false;
      at = end;
    }
    return true;
  }

  /** The end of a run of clusters of one kind that lie in the file in one piece, within a slice. */
  #endOfRun(at: number, limit: number, belongs?: (cluster: number) => boolean): number {
    const first = this.#clusterOf(at);
    const { host, zero } = this.#tables.state(first);
    const isSame = (cluster: number): boolean => {
      const state = this.#tables.state(cluster);
      const expected = host === undefined ? undefined : host + cluster - first;
      return state.zero === zero && state.host === expected;
    };
    const last = first + this.#tables.clustersOfSlice(first);
    let cluster = first + 1;
    while (cluster < last && cluster * this.#clusterBytes < limit && (belongs ?? isSame)(cluster)) cluster++;
    return Math.min(limit, cluster * this.#clusterBytes);
  }

  get #clusterBytes(): number {
    return this.#tables.clusterBytes;
  }

  #clusterOf(offset: number): number {
    return Math.floor(offset / this.#clusterBytes);
  }

  #upTo(offset: number): number {
    return Math.ceil(offset / this.#clusterBytes) * this.#clusterBytes;
  }

  #endOfSlice(at: number): number {
    const cluster = this.#clusterOf(at);
    return (cluster + this.#tables.clustersOfSlice(cluster)) * this.#clusterBytes;
  }

  #hostOffset(host: number, at: number): number {
    return host * this.#clusterBytes + (at % this.#clusterBytes);
  }
}

/** Whether what a node shows below its own layer is known to be zero: by its images' tables, not by the files that end them. */
export function isZeroBelow(node: BlockNode, offset: number, bytes: number): boolean {
  const below = node.backing && skipFilters(node.backing.child);
  if (!below) return true;
  const end = Math.min(offset + bytes, below.lengthBytes);
  for (let at = offset; at < end; ) {
    const span = below.driver.at(below, at, end);
    if (span.tag !== ABSENT && (span.tag !== 0 || !below.driver.supportsBacking)) return false;
    if (span.tag === ABSENT && !isZeroBelow(below, at, span.end - at)) return false;
    at = span.end;
  }
  return true;
}
