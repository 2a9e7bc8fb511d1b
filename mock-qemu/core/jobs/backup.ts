/** blockdev-backup: copies a node as it was when the job started. */
import type { Errno } from '../errno.ts';
import { ABSENT } from '../extents.ts';
import { abdicate, DirtyBitmap, freezeBitmap, reclaim } from '../graph/bitmap.ts';
import { allocatedAbove, backingOf, copyRange, flushNode, skipFilters } from '../graph/data.ts';
import type { BlockNode } from '../graph/node.ts';
import type { Effect, JobFailure, JobRun } from './effects.ts';
import type { JobHost } from './host.ts';
import type { Job, JobTask } from './job.ts';
import { isZero, requestsOf } from './mirror-copy.ts';
import type { ErrorPolicy } from './policy.ts';

/** QAPI MirrorSyncMode, as a backup takes it. */
export type BackupSync = 'full' | 'top' | 'none' | 'bitmap';

/** A backup's parameters. */
export interface BackupOptions {
  readonly source: BlockNode;
  readonly target: BlockNode;
  /** The copy-before-write filter, above the source. */
  readonly filter: BlockNode;
  /** Where the bitmap of what is left is kept: the source or the filter. */
  readonly bitmapOn: BlockNode;
  readonly sync: BackupSync;
  readonly bitmap: DirtyBitmap | undefined;
  readonly bitmapMode: 'on-success' | 'never' | 'always';
  /** Compressed clusters are copied one by one. */
  readonly compress: boolean;
  /** The most that is copied at once, in whole clusters; 0: no limit but the job's own. */
  readonly maxChunkBytes: number;
  readonly onSourceError: ErrorPolicy;
  readonly onTargetError: ErrorPolicy;
}

const CHUNK_BYTES = 1 << 20;
const CLUSTER_BYTES = 64 << 10;
/** A backup's requests at a time. */
const MOST_REQUESTS = 64;

/** One running backup. */
export class BackupTask implements JobTask {
  readonly options: BackupOptions;
  /** What is still to be copied; shows as a bitmap of the source. */
  readonly #copyBitmap = new DirtyBitmap({ granularityBytes: CLUSTER_BYTES, enabled: false });
  readonly #left = this.#copyBitmap.ranges;
  /** What guest writes have copied; shows as a bitmap of the filter. */
  readonly #doneBitmap = new DirtyBitmap({ granularityBytes: CLUSTER_BYTES, enabled: false });
  readonly #sizeBytes: number;
  #succeeded = false;
  /** The end of the last cluster that the target refused in this round; 0: it has refused none. */
  #refusedTo = 0;
  /** How many requests more are made once one is refused. */
  #mayStart = MOST_REQUESTS;
  /** This job, once it runs. */
  #job: Job | undefined;

  constructor(options: BackupOptions) {
    this.options = options;
    this.#sizeBytes = options.source.lengthBytes;
    this.#markInitial();
    options.filter.hooks = { beforeWrite: (start, end) => this.#saveOld(start, end) };
    if (options.bitmap) freezeBitmap(options.source.bitmaps, options.bitmap);
    const accessBitmap = new DirtyBitmap({ granularityBytes: CLUSTER_BYTES, enabled: false });
    accessBitmap.force(0, this.#sizeBytes);
    options.bitmapOn.bitmaps.push(this.#copyBitmap);
    options.filter.bitmaps.push(this.#doneBitmap, accessBitmap);
  }

  *run(job: Job): JobRun {
    const { sync } = this.options;
    this.#job = job;
    skipFilters(this.options.source).hasRefcounts = true;
    // With a bitmap there is nothing to look for: an empty one ends the job at once.
    if (job.host.traits.idleJobsYield && sync !== 'bitmap') yield { type: 'settle' };
    job.len = this.#left.coveredBytes;
    if (sync === 'none') {
      while (!job.cancelled) yield { type: 'idle', tickNs: 1 };
      return undefined;
    }
    // Looking for what is allocated takes a moment.
    if (sync === 'top') {
      yield { type: 'settle' };
      const code = this.#lookError(job);
      if (code !== undefined) {
        // Nothing has been left out of the disk yet.
        job.len = this.#sizeBytes;
        return { code };
      }
    }
    for (;;) {
      yield { type: 'pause-point' };
      if (job.cancelled) break;
      const next = this.#mayStart > 0 ? this.#left.nextFrom(this.#refusedTo) : undefined;
      if (next === undefined && this.#refusedTo > 0) {
        const failed = this.#endRound(job);
        if (failed) return failed;
        continue;
      }
      if (next === undefined) break;
      const start = Math.max(next.start, this.#refusedTo);
      const most = Math.min(next.end, start + this.#chunkBytes);
      const { end, kind } = this.#task(start, most);
      const isFree = this.#takesNoTime(job, start, end);
      const failed = yield* this.#copy(job, { start, end, kind, isFree });
      if (failed === 'retry') continue;
      if (failed) return failed;
      // Zeroes do not wait any more: the table that refused a cluster is in memory.
      if (this.#refusedTo > 0 && kind === 'write') this.#mayStart--;
      job.offset = job.len - this.#left.coveredBytes;
      const delayNs = job.limit.delayNs(job.host.clock.now(), end - start);
      if (this.#left.count > 0 && !(isFree && delayNs === 0)) yield { type: 'sleep', ns: delayNs };
    }
    if (!job.cancelled) job.host.reach('backup.copied');
    return undefined;
  }

  /** How much is copied at once, and how: zeroes and data are different requests. */
  #task(start: number, most: number): { readonly end: number; readonly kind: 'write' | 'zero' } {
    const [first] = requestsOf(this.options.source, { start, end: most }, CLUSTER_BYTES, most - start);
    return first ?? { end: most, kind: 'write' };
  }

  get #chunkBytes(): number {
    const { compress, maxChunkBytes } = this.options;
    if (compress) return CLUSTER_BYTES;
    if (maxChunkBytes === 0) return CHUNK_BYTES;
    const clusters = Math.max(1, Math.floor(maxChunkBytes / CLUSTER_BYTES));
    return Math.min(CHUNK_BYTES, clusters * CLUSTER_BYTES);
  }

  *#copy(
    job: Job,
    stretch: {
      readonly start: number;
      readonly end: number;
      readonly kind: 'write' | 'zero';
      readonly isFree: boolean;
    },
  ): Generator<Effect, undefined | 'retry' | JobFailure, Errno | undefined> {
    const { source, target, onSourceError, onTargetError } = this.options;
    const { start, end, kind, isFree } = stretch;
    if (isFree) {
      this.#move(start, end);
      return undefined;
    }
    const at = { type: 'io', offset: start, bytes: end - start } as const;
    const reads = kind === 'write';
    const read = reads ? yield { ...at, at: 'backup.source-read', op: 'read', node: source } : undefined;
    if (read === undefined && reads && this.#overwrites(start, end)) {
      this.#refusedTo = end;
      return undefined;
    }
    const error = read ?? (yield { ...at, at: 'backup.target-write', op: kind, node: target });
    if (error === undefined) {
      this.#move(start, end);
      return undefined;
    }
    const operation = read === undefined ? 'write' : 'read';
    const policy = read === undefined ? onTargetError : onSourceError;
    return job.handleError(policy, operation, error) === 'report' ? { code: error } : 'retry';
  }

  /** Whether a compressed cluster would take the place of one: the format refuses that. */
  #overwrites(start: number, end: number): boolean {
    const { compress, target } = this.options;
    if (!compress) return false;
    const image = skipFilters(target);
    for (let offset = start; offset < end; ) {
      const span = image.driver.at(image, offset, end);
      if (span.tag !== ABSENT && span.tag !== 0) return true;
      offset = span.end;
    }
    return false;
  }

  /** All that was under way beside a refused cluster is done: now the error counts. */
  #endRound(job: Job): JobFailure | undefined {
    this.#refusedTo = 0;
    this.#mayStart = MOST_REQUESTS;
    const action = job.handleError(this.options.onTargetError, 'write', 'EIO');
    return action === 'report' ? { code: 'EIO' } : undefined;
  }

  /** Zeroes of a format that has its tables in memory by now are written without waiting for any file. */
  #takesNoTime(job: Job, start: number, end: number): boolean {
    const { source, target } = this.options;
    const hasTables = (skipFilters(target).pending?.count ?? 0) > 0;
    return hasTables && isZero(source, start, end) && !job.host.mayFail(source, target);
  }

  /** Copies what is left of a range. */
  #move(start: number, end: number): void {
    for (let left = this.#left.nextFrom(start); left && left.start < end; left = this.#left.nextFrom(start)) {
      const from = Math.max(start, left.start);
      const to = Math.min(end, left.end);
      copyRange(this.options.source, this.options.target, from, Math.min(to, this.#sizeBytes));
      this.#left.clear(from, to);
    }
  }

  #saveOld(start: number, end: number): void {
    const from = Math.floor(start / CLUSTER_BYTES) * CLUSTER_BYTES;
    this.#move(from, Math.ceil(end / CLUSTER_BYTES) * CLUSTER_BYTES);
    this.#doneBitmap.force(start, end);
    if (this.#job) this.#job.offset = this.#job.len - this.#left.coveredBytes;
  }

  #markInitial(): void {
    const { sync, source, bitmap } = this.options;
    if (sync === 'full' || sync === 'none') this.#copyBitmap.force(0, this.#sizeBytes);
    else if (sync === 'top') this.#markAllocated(source);
    else for (const { start, end } of bitmap?.ranges.extents ?? []) this.#copyBitmap.force(start, end);
  }

  /** The error that it meets to find out what is allocated. */
  #lookError({ host }: Job): Errno | undefined {
    const { source } = this.options;
    for (let offset = 0; offset < this.#sizeBytes; ) {
      const { end } = allocatedAbove(source, backingOf(source), offset, this.#sizeBytes);
      const error = host.statusError(source, offset, end - offset);
      if (error !== undefined) return error;
      offset = end;
    }
    return undefined;
  }

  #markAllocated(source: BlockNode): void {
    for (let offset = 0; offset < this.#sizeBytes; ) {
      const { end, allocated } = allocatedAbove(source, backingOf(source), offset, this.#sizeBytes);
      if (allocated) this.#copyBitmap.force(offset, end);
      offset = end;
    }
  }

  stage(): 'backup' {
    return 'backup';
  }

  prepare(): undefined {
    this.#succeeded = true;
    flushNode(this.options.target);
    if (this.#job) this.#job.host.flap(this.options.source, this.#job.host.traits.flaps.backupEnd);
    return undefined;
  }

  clean(host: JobHost): void {
    const { filter, bitmap } = this.options;
    if (bitmap) this.#giveBack(bitmap);
    const { bitmaps } = this.options.bitmapOn;
    bitmaps.splice(bitmaps.indexOf(this.#copyBitmap), 1);
    host.graph.removeFilter(filter);
  }
  /** What was written meanwhile is marked in any case; what was saved is not, unless the job did all in vain. */
  #giveBack(bitmap: DirtyBitmap): void {
    const { bitmapMode, source } = this.options;
    const forget = bitmapMode === 'always' || (bitmapMode === 'on-success' && this.#succeeded);
    if (!forget) {
      reclaim(source.bitmaps, bitmap);
      return;
    }
    const successor = abdicate(source.bitmaps, bitmap);
    if (this.#succeeded) return;
    // One that never ran had not looked at the bitmap yet: all is left.
    if (!this.#job) successor.force(0, this.#sizeBytes);
    for (const { start, end } of this.#left.extents) successor.force(start, end);
  }
}
