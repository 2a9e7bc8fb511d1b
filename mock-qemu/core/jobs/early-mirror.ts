/**
 * The mirror job as it was first: one chunk of fixed size at a time, progress counted against the whole disk, no filter
 * in the graph. What later mirrors count as they go, this one knows from the start: `len` is the disk, `offset` what is
 * not dirty, until READY pins it.
 */
import type { Errno } from '../errno.ts';
import type { Stretch } from '../extents.ts';
import { DirtyBitmap } from '../graph/bitmap.ts';
import { allocatedAbove, backingOf, copyRange, flushNode, needsFlush } from '../graph/data.ts';
import type { BlockNode } from '../graph/node.ts';
import { attachHeaderBacking } from '../graph/open.ts';
import type { Effect, JobFailure, JobRun } from './effects.ts';
import type { Job, JobTask } from './job.ts';
import { finishCopy } from './mirror-copy.ts';
import type { MirrorSync } from './mirror-options.ts';
import type { ErrorPolicy } from './policy.ts';
import { SLICE_NS } from './ratelimit.ts';
import { releaseBackends } from './transaction.ts';

/** The unit in which these mirrors know what is dirty, and copy. */
export const EARLY_CHUNK_BYTES = 1 << 20;

/** An early mirror's parameters. */
export interface EarlyMirrorOptions {
  readonly source: BlockNode;
  readonly target: BlockNode;
  readonly sync: MirrorSync;
  readonly onSourceError: ErrorPolicy;
  readonly onTargetError: ErrorPolicy;
  /** The target is flushed before READY; otherwise nothing is durable before it is closed. */
  readonly flushes: boolean;
  /** A known bug: all is copied, and shows, up to one slice before the job regards itself as synced. */
  readonly showsEarly: boolean;
}

/** One running early mirror. */
export class EarlyMirrorTask implements JobTask {
  readonly options: EarlyMirrorOptions;
  readonly #bitmap = new DirtyBitmap({ granularityBytes: EARLY_CHUNK_BYTES });
  #shouldComplete = false;
  #drained: Job | undefined;
  #startedNs = 0;
  #nextOffset = 0;
  /** What is being copied, and so is not dirty. */
  #inFlight: Stretch | undefined;

  constructor(options: EarlyMirrorOptions) {
    this.options = options;
    options.source.bitmaps.push(this.#bitmap);
  }

  *run(job: Job): JobRun {
    const sizeBytes = this.options.source.lengthBytes;
    job.len = sizeBytes;
    // Nothing to copy is nothing to be ready for.
    if (sizeBytes === 0) return undefined;
    this.#startedNs = job.host.clock.now();
    this.#bitmap.onMark = () => job.nudge();
    this.#markInitial(sizeBytes);
    for (;;) {
      yield { type: 'pause-point' };
      if (job.cancelled) return undefined;
      const wasClean = this.#isClean;
      if (!wasClean) {
        const failure = yield* this.#copyChunk(job, sizeBytes);
        if (failure) return failure;
      }
      if (!job.ready) job.offset = sizeBytes - Math.min(sizeBytes, this.#bitmap.countBytes);
      if (!this.#isClean || (this.options.showsEarly && !wasClean)) {
        yield { type: 'sleep', ns: this.#delayNs(job) };
        continue;
      }
      const settled = yield* this.#whenClean(job);
      if (settled === 'done') return undefined;
      if (settled !== 'again') return settled;
    }
  }

  get #isClean(): boolean {
    return this.#bitmap.countBytes === 0;
  }

  /** Before it is synced a job keeps its speed; afterwards it follows the guest as fast as it can. */
  #delayNs(job: Job): number {
    const nowNs = job.host.clock.now();
    if (job.ready) return 0;
    if (this.#isClean) return SLICE_NS - ((nowNs - this.#startedNs) % SLICE_NS);
    return job.limit.delayNs(nowNs, EARLY_CHUNK_BYTES);
  }

  /** All is copied: READY if that is news, then the end if that is wanted, else rest. */
  *#whenClean(job: Job): Generator<Effect, 'again' | 'done' | JobFailure, Errno | undefined> {
    const ends = () => this.#shouldComplete || job.cancelRequested;
    if (this.options.flushes && (!job.ready || ends())) {
      const failure = yield* this.#flush(job);
      if (failure) return failure;
      if (!this.#isClean || needsFlush(this.options.target)) return 'again';
    }
    if (!job.ready) {
      job.offset = job.len;
      job.host.reach('mirror.before-ready');
      job.becomeReady();
      job.host.reach('mirror.after-ready');
    }
    if (!ends()) {
      yield { type: 'idle', tickNs: SLICE_NS };
      return 'again';
    }
    yield { type: 'settle' };
    if (job.cancelled) return 'done';
    if (!this.#isClean) return 'again';
    this.#drained = job;
    this.options.source.drains++;
    if (this.#shouldComplete) {
      job.host.reach('pivot.drained');
      job.host.reach('pivot.final-sync');
    }
    return 'done';
  }

  #markInitial(sizeBytes: number): void {
    const { source, sync } = this.options;
    if (sync === 'none') return;
    const base = sync === 'top' ? backingOf(source) : undefined;
    for (let offset = 0; offset < sizeBytes; ) {
      const { end, allocated } = allocatedAbove(source, base, offset, sizeBytes);
      if (allocated) this.#bitmap.force(offset, end);
      offset = end;
    }
  }

  *#copyChunk(job: Job, sizeBytes: number): Generator<Effect, JobFailure | undefined, Errno | undefined> {
    const { source, target, onSourceError, onTargetError } = this.options;
    const { ranges } = this.#bitmap;
    const dirty = ranges.nextFrom(this.#nextOffset) ?? ranges.nextFrom(0);
    if (!dirty) return undefined;
    const start = dirty.end > this.#nextOffset ? Math.max(dirty.start, this.#nextOffset) : dirty.start;
    const end = Math.min(start + EARLY_CHUNK_BYTES, sizeBytes);
    const bytes = end - start;
    this.#bitmap.reset(start, start + EARLY_CHUNK_BYTES);
    this.#nextOffset = start + EARLY_CHUNK_BYTES;
    this.#inFlight = { start, end };
    const io = { type: 'io', offset: start, bytes } as const;
    const read = yield { ...io, at: 'mirror.source-read', op: 'read', node: source };
    if (read !== undefined) return this.#failed(job, 'read', onSourceError, read, start);
    const write = yield { ...io, at: 'mirror.target-write', op: 'write', node: target };
    const beyond = end > target.lengthBytes ? ('EIO' as const) : undefined;
    const error = write ?? beyond;
    if (error !== undefined) return this.#failed(job, 'write', onTargetError, error, start);
    copyRange(source, target, start, end);
    this.#inFlight = undefined;
    return undefined;
  }

  #failed(
    job: Job,
    operation: 'read' | 'write',
    policy: ErrorPolicy,
    code: Errno,
    start: number,
  ): JobFailure | undefined {
    this.#inFlight = undefined;
    this.#bitmap.force(start, start + 1);
    return job.handleError(policy, operation, code) === 'report' ? { code } : undefined;
  }

  *#flush(job: Job): Generator<Effect, JobFailure | undefined, Errno | undefined> {
    const { target, onTargetError } = this.options;
    if (!needsFlush(target)) return undefined;
    const error = yield {
      type: 'io',
      at: 'mirror.target-flush',
      op: 'flush',
      node: target,
      offset: 0,
      bytes: 0,
    };
    if (error !== undefined) {
      return job.handleError(onTargetError, 'write', error) === 'report' ? { code: error } : undefined;
    }
    flushNode(target);
    return undefined;
  }

  cancelsHard(job: Job, force: boolean): boolean {
    return !job.ready || (force && job.host.traits.forceCancelInReady === 'cancelled');
  }

  finishNow(): void {
    finishCopy(this.options, this.#bitmap, this.#inFlight ? [this.#inFlight] : []);
  }

  /** Opens what the target's header names, which may be refused; then the job ends as soon as it can. */
  complete(job: Job): void {
    attachHeaderBacking(job.host, this.options.target);
    this.#shouldComplete = true;
    job.host.reach('pivot.accepted');
    job.poke();
  }

  stage(): 'mirror' | 'pivot' {
    return this.#shouldComplete ? 'pivot' : 'mirror';
  }

  /** The pivot, unless the job was only to end. */
  prepare(job: Job): JobFailure | undefined {
    this.#dropBitmap();
    if (!this.#shouldComplete) return undefined;
    const refused = job.host.reach('pivot.before-graph-change');
    if (refused !== undefined) return { code: refused };
    const { source, target } = this.options;
    const { graph } = job.host;
    releaseBackends(job, target);
    graph.reopen(target, source.readOnly);
    graph.replace(source, target);
    job.host.reach('pivot.after-graph-change');
    return undefined;
  }

  clean(): void {
    this.#dropBitmap();
    if (this.#drained) this.options.source.drains--;
    this.#drained = undefined;
  }

  #dropBitmap(): void {
    this.#bitmap.onMark = undefined;
    const { bitmaps } = this.options.source;
    const index = bitmaps.indexOf(this.#bitmap);
    if (index >= 0) bitmaps.splice(index, 1);
  }
}
