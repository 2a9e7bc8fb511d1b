/** blockdev-backup: copies a node as it was when the job started. */
import type { Errno } from '../errno.ts';
import { abdicate, DirtyBitmap, freezeBitmap, reclaim } from '../graph/bitmap.ts';
import { allocatedAbove, answersAtOnce, backingOf, flushNode, skipFilters } from '../graph/data.ts';
import type { BlockNode } from '../graph/node.ts';
import { BlockCopy } from './block-copy.ts';
import type { JobRun } from './effects.ts';
import type { JobHost } from './host.ts';
import type { Job, JobTask } from './job.ts';
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
  /** How many requests there may be at a time. */
  readonly maxWorkers: number;
  readonly onSourceError: ErrorPolicy;
  readonly onTargetError: ErrorPolicy;
}

const CLUSTER_BYTES = 64 << 10;

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
  readonly #copy: BlockCopy;
  /** This job, once it runs. */
  #job: Job | undefined;

  constructor(options: BackupOptions) {
    this.options = options;
    this.#sizeBytes = options.source.lengthBytes;
    this.#markInitial();
    this.#copy = new BlockCopy({ ...options, left: this.#copyBitmap });
    options.filter.hooks = {
      refusesWrite: (start, end) => this.#saveOld(start, end, this.#job?.host),
      beforeWrite: (start, end) => this.#saveOld(start, end),
    };
    if (options.bitmap) freezeBitmap(options.source.bitmaps, options.bitmap);
    const accessBitmap = new DirtyBitmap({ granularityBytes: CLUSTER_BYTES, enabled: false });
    accessBitmap.force(0, this.#sizeBytes);
    options.bitmapOn.bitmaps.push(this.#copyBitmap);
    options.filter.bitmaps.push(this.#doneBitmap, accessBitmap);
  }

  *run(job: Job): JobRun {
    const { sync } = this.options;
    this.#job = job;
    // Of a `top` nothing has been left out of the disk yet.
    job.len = sync === 'top' ? this.#sizeBytes : this.#left.coveredBytes;
    if (sync === 'none') {
      while (!job.cancelled) yield { type: 'idle', tickNs: 1 };
      return undefined;
    }
    if (sync === 'top') {
      const failed = yield* this.#leaveOut(job);
      if (failed || job.cancelled) return failed;
    }
    return yield* this.#copyAll(job);
  }

  /** Leaves out what is not allocated, which takes a moment to find out. */
  *#leaveOut(job: Job): JobRun {
    if (job.cancelled) return undefined;
    skipFilters(this.options.source).hasRefcounts = true;
    if (!answersAtOnce(this.options.source)) yield { type: 'settle' };
    const code = this.#keepAllocated(job);
    if (code !== undefined) return { code };
    job.len = this.#left.coveredBytes;
    return undefined;
  }

  /** Calls again and again; a call that somebody has stopped goes on as a new one. */
  *#copyAll(job: Job): JobRun {
    const { onSourceError, onTargetError } = this.options;
    for (;;) {
      const failure = yield* this.#copy.call(job);
      if (job.cancelled) return undefined;
      if (failure) {
        const { operation, code } = failure;
        const policy = operation === 'read' ? onSourceError : onTargetError;
        const action = job.handleError(policy, operation, code);
        if (action === 'report') return { code };
        // Whatever ends this pause, a new call has begun before anybody looks.
        if (action === 'stop') yield { type: 'pause-point' };
        continue;
      }
      yield { type: 'pause-point' };
      if (job.cancelled) return undefined;
      if (this.#left.count === 0) break;
    }
    job.host.reach('backup.copied');
    return undefined;
  }

  /** Copies what somebody is about to write over; the answer is why that fails, as far as there is somebody to ask. */
  #saveOld(start: number, end: number, host?: JobHost): Errno | undefined {
    const from = Math.floor(start / CLUSTER_BYTES) * CLUSTER_BYTES;
    const to = Math.ceil(end / CLUSTER_BYTES) * CLUSTER_BYTES;
    const asked = host?.mayFail(this.options.source, this.options.target) ? host : undefined;
    const { copiedBytes, code } = this.#copy.saveOld(from, to, asked);
    if (code === undefined) this.#doneBitmap.force(start, end);
    if (!this.#job) return code;
    this.#job.offset += copiedBytes;
    this.#job.len = this.#job.offset + this.#copy.remainingBytes;
    return code;
  }

  #markInitial(): void {
    const { sync, bitmap } = this.options;
    if (sync !== 'bitmap') this.#copyBitmap.force(0, this.#sizeBytes);
    else for (const { start, end } of bitmap?.ranges.extents ?? []) this.#copyBitmap.force(start, end);
  }

  /** Of what is left, only clusters stay that are allocated in part at least; the answer is why that cannot be found out. */
  #keepAllocated({ host }: Job): Errno | undefined {
    const { source } = this.options;
    const base = backingOf(source);
    const wanted = new DirtyBitmap({ granularityBytes: CLUSTER_BYTES });
    for (let offset = 0; offset < this.#sizeBytes; ) {
      const { end, allocated } = allocatedAbove(source, base, offset, this.#sizeBytes);
      const code = host.statusError(source, base, offset, end - offset);
      if (code !== undefined) return code;
      if (allocated) wanted.force(offset, end);
      offset = end;
    }
    let from = 0;
    for (const { start, end } of wanted.ranges.extents) {
      this.#left.clear(from, start);
      from = end;
    }
    this.#left.clear(from, Number.POSITIVE_INFINITY);
    return undefined;
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
