/** The mirror job: copies a node while it is written to, then, on completion, puts the copy in its place. */
import type { Errno } from '../errno.ts';
import { CommandError } from '../errors.ts';
import { ABSENT, type Stretch } from '../extents.ts';
import { DirtyBitmap } from '../graph/bitmap.ts';
import { flushOrFail, hasDebugBelow, hasNoTables } from '../graph/blkdebug.ts';
import {
  allocatedAbove,
  backingOf,
  flushNode,
  grow,
  needsFlush,
  skipFilters,
  writeTo,
} from '../graph/data.ts';
import { attachHeaderBacking } from '../graph/open.ts';
import { DirtyWalk } from './dirty-walk.ts';
import type { Effect, JobFailure, JobRun } from './effects.ts';
import { GuestChase } from './guest-chase.ts';
import type { JobHost } from './host.ts';
import type { Job, JobTask } from './job.ts';
import { copyAsIssued, finishCopy, isZero, sizeMismatch, zeroesOf } from './mirror-copy.ts';
import type { MirrorOptions } from './mirror-options.ts';
import { MirrorTrials, type StepOutcome } from './mirror-trials.ts';
import { SLICE_NS } from './ratelimit.ts';
import { releaseBackends, releaseNodes } from './transaction.ts';

const MAX_REQUEST_BYTES = 1 << 20;
/** A mirror has 16 requests under way at most. */
const MAX_JOINING = 15;
/**
 * A copy at full speed takes no more steps than this, however large the disk: what is simulated costs its extents, not
 * its bytes. With QEMU's buffer of 16 MiB that begins to show from 256 GiB on.
 */
const MAX_STEPS = 16_384;

type Step = Generator<Effect, 'ok' | JobFailure, Errno | undefined>;

/** One running mirror. */
export class MirrorTask implements JobTask {
  readonly options: MirrorOptions;
  readonly #bitmap: DirtyBitmap;
  readonly #requestBytes: number;
  readonly #chase: GuestChase;
  readonly #trials: MirrorTrials;
  #shouldComplete = false;
  /** This job, while it holds the source's requests back. */
  #drained: Job | undefined;
  readonly #walk: DirtyWalk;
  /** What is being copied, and so is not dirty. */
  #inFlight: readonly Stretch[] = [];
  #writeBlocking: boolean;
  /** A request for data has just ended: what the job does next it does before the main loop comes round. */
  #followsData = false;
  /** In write-blocking mode: source and target have been equal since. */
  activelySynced = false;

  constructor(options: MirrorOptions) {
    this.options = options;
    this.#writeBlocking = options.writeBlocking;
    // What guest writes take to the target themselves is not to be copied again.
    const enabled = !options.writeBlocking;
    this.#bitmap = new DirtyBitmap({
      granularityBytes: options.granularityBytes,
      enabled,
      keptByJob: options.bitmapOn !== options.source,
    });
    this.#requestBytes = Math.max(MAX_REQUEST_BYTES, Math.floor(options.bufSizeBytes / 16));
    this.#walk = new DirtyWalk(this.#bitmap);
    this.#chase = new GuestChase(options, this.#bitmap);
    this.#trials = new MirrorTrials(options, this.#bitmap, this.#requestBytes);
    options.bitmapOn.bitmaps.push(this.#bitmap);
  }

  get writeBlocking(): boolean {
    return this.#writeBlocking;
  }

  /** From now on guest writes wait for the target too; there is no way back. */
  blockWrites(job: Job): void {
    this.#writeBlocking = true;
    this.#bitmap.enabled = false;
    job.nudge();
  }

  *run(job: Job): JobRun {
    const { filter } = this.options;
    filter.hooks = {
      afterWrite: (start, end, tag) => this.#passOn(job, start, end, tag),
      writeCostNs: (start, end) =>
        this.#writeBlocking ? job.host.costNs({ op: 'write', bytes: end - start }) : 0,
    };
    this.#bitmap.onMark = () => job.nudge();
    const outcome = yield* this.#copyUntilDone(job);
    if (!this.#drained) {
      yield { type: 'settle' };
      this.#drain(job);
    }
    return outcome === 'ok' ? undefined : outcome;
  }

  *#copyUntilDone(job: Job): Step {
    const { source, target, commitBase } = this.options;
    const sizeBytes = source.lengthBytes;
    if (commitBase) {
      if (target.lengthBytes < sizeBytes && !grow(target, sizeBytes)) return { code: 'ENOTSUP' };
    } else if (target.lengthBytes !== sizeBytes) {
      const failure = sizeMismatch(job.host.traits);
      if (failure) return failure;
    }
    const unknown = this.#markInitial(job, sizeBytes);
    if (unknown) return unknown;
    // Looking for what is allocated takes a moment.
    if (this.options.sync !== 'none') {
      yield { type: 'settle' };
      const asked = { type: 'io', at: 'mirror.source-read', op: 'read', node: source } as const;
      const delayNs = job.host.delayNs({ ...asked, offset: 0, bytes: 0 });
      if (delayNs > 0) yield { type: 'sleep', ns: delayNs };
    }
    for (;;) {
      yield { type: 'pause-point' };
      job.host.catchUp();
      if (job.cancelled) return 'ok';
      job.len = job.offset + this.#bitmap.countBytes;
      if (!this.#writeBlocking && this.#chase.isSteady(job, this.#ends(job))) {
        yield* this.#chase.follow(job);
        continue;
      }
      if (this.#bitmap.countBytes > 0) {
        const outcome = yield* this.#iterate(job, sizeBytes);
        if (outcome !== 'ok') return outcome;
        continue;
      }
      const flushed = yield* this.#flush(job);
      if (flushed === 'retry') continue;
      if (flushed !== 'ok') return flushed;
      // Of nothing, everything has been copied.
      if (this.#writeBlocking || sizeBytes === 0) this.activelySynced = true;
      if (!job.ready) {
        job.host.reach('mirror.before-ready');
        job.becomeReady();
        job.host.reach('mirror.after-ready');
      }
      if (this.#ends(job)) {
        if (yield* this.#finalPass(job)) return 'ok';
        continue;
      }
      const armed = job.host.loadOn(source) !== undefined && !this.#writeBlocking;
      yield { type: 'idle', tickNs: SLICE_NS, armed };
    }
  }

  refresh(job: Job): void {
    this.#chase.refresh(job);
  }

  #ends(job: Job): boolean {
    return this.#shouldComplete || job.cancelRequested;
  }

  /** Drains the source and looks once more; true: nothing came in between. */
  *#finalPass(job: Job): Generator<Effect, boolean, Errno | undefined> {
    yield { type: 'settle' };
    job.host.catchUp();
    if (job.cancelled) return true;
    if (this.#bitmap.countBytes > 0 || needsFlush(this.options.target)) return false;
    this.#drain(job);
    if (this.#shouldComplete) {
      job.host.reach('pivot.drained');
      job.host.reach('pivot.final-sync');
    }
    return true;
  }

  /** Marks what is to be copied; the answer is why that cannot be found out. */
  #markInitial(job: Job, sizeBytes: number): JobFailure | undefined {
    const { source, sync, commitBase, targetIsZero } = this.options;
    if (sync === 'none') return undefined;
    const base = commitBase ?? (sync === 'top' ? backingOf(source) : undefined);
    if (base === undefined && !targetIsZero) {
      this.#bitmap.force(0, sizeBytes);
      return undefined;
    }
    // All of it at once, and so free of what zeroes cost one by one.
    if (targetIsZero === 'made') writeTo(this.options.target, 0, sizeBytes, 0, zeroesOf(this.options));
    for (let offset = 0; offset < sizeBytes; ) {
      const { end, allocated } = allocatedAbove(source, base, offset, sizeBytes);
      const code = job.host.statusError(source, base, offset, end - offset);
      if (code !== undefined) return { code };
      if (allocated) this.#bitmap.force(offset, end);
      offset = end;
    }
    return undefined;
  }

  /** Copies one contiguous dirty stretch of at most buf-size, or what is under way together, then sleeps off what that cost. */
  *#iterate(job: Job, sizeBytes: number): Step {
    const dirty = this.#walk.next();
    if (dirty === undefined) return 'ok';
    const { start } = dirty;
    const steps = this.#goesOnAtOnce(job, start) ? 2 : 1;
    const end = Math.min(dirty.end, start + steps * this.#stepBytes(job, sizeBytes));
    const stretches = [{ start, end }, ...this.#joining(job, { start, end })];
    for (const each of stretches) {
      this.#bitmap.reset(each.start, each.end);
      this.#walk.passed(each);
    }
    const dataEnd = Math.min(end, sizeBytes);
    // Requests are charged when they are issued: the debt is slept off while they are in flight.
    const freeOfCharge = this.options.target.unmap && isZero(this.options.source, start, dataEnd);
    const issuedNs = job.host.clock.now();
    const { speedBytesPerSecond } = job;
    const untilNs = issuedNs + job.limit.delayNs(issuedNs, freeOfCharge ? 0 : dataEnd - start);
    this.#inFlight = stretches;
    const whole = stretches.map((each) => ({ ...each, end: Math.min(each.end, sizeBytes) }));
    const failed = yield* this.#copy(job, whole);
    this.#inFlight = [];
    this.#followsData = !isZero(this.options.source, start, dataEnd);
    // The last chunk of a disk is dirty as a whole, but only what there is of it is copied.
    if (failed === undefined) {
      job.offset += whole.reduce((sum, each) => sum + each.end - each.start, 0);
      if (job.ready) job.host.reach('mirror.tail-copied');
    }
    const delayNs = job.debtNs(untilNs, speedBytesPerSecond);
    job.len = Math.max(job.len, job.offset + this.#bitmap.countBytes);
    // Once READY a mirror keeps to no speed. One that has failed notices when it wakes.
    const isExempt = job.ready || (this.#trials.isCutShort && job.host.traits.drainCutsRateLimit);
    if (delayNs > 0 && !isExempt) {
      yield { type: 'sleep', ns: delayNs };
      // It holds its source still before it ends; by then whatever has woken it is over.
      if (failed !== undefined) yield { type: 'drain' };
    }
    return failed ?? 'ok';
  }

  /**
   * Whether a step that needs no buffers, because there is nothing but zeroes, is followed by another one before any request has
   * ended: so it is where the main loop has not come round yet, after a request for data or a look at tables.
   */
  #goesOnAtOnce(job: Job, start: number): boolean {
    const { source, target, bufSizeBytes } = this.options;
    const looked = this.#looksAtTables();
    if (!looked && !this.#followsData) return false;
    const end = Math.min(start + bufSizeBytes, source.lengthBytes);
    return job.limit.unlimited && job.host.mayFail(source, target) && isZero(source, start, end);
  }

  /** Whether the first look at the source has to read its tables. */
  #looksAtTables(): boolean {
    const image = skipFilters(this.options.source);
    if (!image.driver.supportsBacking || image.hasRefcounts || hasNoTables(image)) return false;
    image.hasRefcounts = true;
    return true;
  }

  /**
   * What else is on its way before a stretch of data has been read, as far as there are buffers and requests for it. It only
   * matters where requests meet errors, each its own.
   */
  #joining(job: Job, { start, end }: Stretch): readonly Stretch[] {
    const { source, target, bufSizeBytes } = this.options;
    const isWatched = hasDebugBelow(source) || hasDebugBelow(target);
    if (!isWatched || !job.limit.unlimited || isZero(source, start, Math.min(end, source.lengthBytes)))
      return [];
    const joining: Stretch[] = [];
    let buffersBytes = bufSizeBytes - (end - start);
    let dirty = this.#bitmap.ranges.nextFrom(end);
    while (dirty && buffersBytes > 0 && joining.length < MAX_JOINING) {
      const next = { start: dirty.start, end: Math.min(dirty.end, dirty.start + buffersBytes) };
      joining.push(next);
      buffersBytes -= next.end - next.start;
      dirty = this.#bitmap.ranges.nextFrom(next.end);
    }
    return joining;
  }

  /** How much is copied at once, in whole chunks of the bitmap. */
  #stepBytes(job: Job, sizeBytes: number): number {
    const { bufSizeBytes, granularityBytes, source, target } = this.options;
    if (!job.limit.unlimited || job.host.mayFail(source, target)) return bufSizeBytes;
    const chunks = Math.ceil(sizeBytes / MAX_STEPS / granularityBytes);
    return Math.max(bufSizeBytes, chunks * granularityBytes);
  }

  *#copy(job: Job, stretches: readonly Stretch[]): Generator<Effect, StepOutcome, Errno | undefined> {
    const { source, target } = this.options;
    const [whole] = stretches;
    if (whole && !job.host.mayFail(source, target)) {
      const { start, end } = whole;
      const all = { type: 'io', offset: start, bytes: end - start, unchecked: true } as const;
      yield { ...all, at: 'mirror.source-read', op: 'read', node: source };
      const op = isZero(source, start, end) ? 'zero' : 'write';
      yield { ...all, at: 'mirror.target-write', op, node: target };
      const { granularityBytes: chunkBytes } = this.options;
      copyAsIssued(source, target, {
        ...{ start, end, chunkBytes },
        requestBytes: this.#requestBytes,
        zeroes: zeroesOf(this.options),
      });
      return undefined;
    }
    const outcome = yield* this.#trials.copy(job, stretches);
    if (outcome !== undefined) this.activelySynced = false;
    this.#walk.goBack(this.#trials.unissuedFrom);
    return outcome;
  }

  *#flush(job: Job): Generator<Effect, 'ok' | 'retry' | JobFailure, Errno | undefined> {
    const { target } = this.options;
    // After READY the target is flushed only when the job ends: mirrored writes are not durable.
    if (job.ready && !this.#ends(job)) return 'ok';
    if (!needsFlush(target)) {
      // Writes that have failed may have left blkdebug something to flush.
      const failed = flushOrFail(target);
      return failed === undefined ? 'ok' : this.#flushFailed(job, failed);
    }
    const error = yield {
      type: 'io',
      at: 'mirror.target-flush',
      op: 'flush',
      node: target,
      offset: 0,
      bytes: 0,
    };
    if (error === undefined) {
      flushNode(target);
      return this.#bitmap.countBytes > 0 ? 'retry' : 'ok';
    }
    return this.#flushFailed(job, error);
  }

  #flushFailed(job: Job, code: Errno): 'retry' | JobFailure {
    return job.handleError(this.options.onTargetError, 'write', code) === 'report' ? { code } : 'retry';
  }

  /** In write-blocking mode a guest write reaches the target before it is done. */
  #passOn(job: Job, start: number, end: number, tag: number): void {
    if (!this.#writeBlocking || tag === ABSENT) return;
    const { target } = this.options;
    const error = job.host.ioError({
      type: 'io',
      at: 'mirror.target-write',
      op: 'write',
      node: target,
      offset: start,
      bytes: end - start,
    });
    if (error !== undefined) {
      this.#bitmap.force(start, end);
      this.activelySynced = false;
      job.handleError(this.options.onTargetError, 'write', error);
      return;
    }
    const chunk = this.options.granularityBytes;
    const whole = { start: Math.ceil(start / chunk) * chunk, end: Math.floor(end / chunk) * chunk };
    writeTo(target, start, end, tag);
    if (whole.start < whole.end) this.#bitmap.reset(whole.start, whole.end);
    job.offset += end - start;
    job.len = Math.max(job.len, job.offset + this.#bitmap.countBytes);
  }

  cancelsHard(job: Job, force: boolean): boolean {
    return !job.ready || (force && job.host.traits.forceCancelInReady === 'cancelled');
  }

  finishNow(): void {
    finishCopy(this.options, this.#bitmap, this.#inFlight);
  }

  complete(job: Job): void {
    const { replaces } = this.options;
    if (replaces !== undefined) job.host.graph.findNode(replaces);
    this.#shouldComplete = true;
    job.host.reach('pivot.accepted');
    job.poke();
  }

  stage(): 'mirror' | 'pivot' {
    return this.#shouldComplete ? 'pivot' : 'mirror';
  }

  // The guest's requests wait from here until the job has been settled, and so, formally, does the job.
  #drain(job: Job): void {
    this.#drained = job;
    this.options.source.drains++;
    job.pauseCount++;
  }

  /** The pivot: after this the guest works on the target. */
  prepare(job: Job): JobFailure | undefined {
    this.#dropBitmap();
    const unattached = this.#leave(job) ?? this.#attachBacking(job);
    if (!this.#shouldComplete) return unattached;
    const refused = job.host.reach('pivot.before-graph-change');
    if (refused !== undefined) return { code: refused };
    const unreplaced = this.#replace(job.host);
    job.host.reach('pivot.after-graph-change');
    return unattached ?? unreplaced;
  }

  /** Neither writes to the target nor keeps anybody from the source any more. */
  #leave(job: Job): undefined {
    const { filter, target } = this.options;
    if (releaseBackends(job, target)) job.host.flap(target, job.host.traits.flaps.targetEnd);
    filter.hooks = undefined;
    filter.filterState = 'stopped';
    job.host.graph.yieldRights(filter);
  }

  /** Puts the target where the source, or another image of its chain, is. */
  #replace(host: JobHost): JobFailure | undefined {
    const { graph } = host;
    const { source, target, replaces } = this.options;
    const replaced = replaces === undefined ? source : graph.findNode(replaces);
    graph.tryReopen(target, replaced.readOnly);
    host.flap(target, host.traits.flaps.pivot);
    try {
      graph.replace(replaced, target);
      return undefined;
    } catch (error) {
      if (error instanceof CommandError) return { code: 'EPERM' };
      throw error;
    }
  }

  #attachBacking(job: Job): JobFailure | undefined {
    const { source, sync, target, backing, commitBase } = this.options;
    if (commitBase !== undefined || target.backing) return undefined;
    try {
      if (backing === 'source-chain') {
        const below = sync === 'none' ? skipFilters(source) : backingOf(source);
        if (sync !== 'full' && below && target.driver.supportsBacking)
          job.host.graph.adopt(target, 'backing', below);
      } else if (backing === 'open-from-header') attachHeaderBacking(job.host, target);
      return undefined;
    } catch (error) {
      if (error instanceof CommandError) return { code: error.errno ?? 'EPERM' };
      throw error;
    }
  }

  clean(host: JobHost, job?: Job): void {
    this.#dropBitmap();
    const { filter, source, commitBase, baseWasReadOnly } = this.options;
    if (job) {
      this.#leave(job);
      releaseNodes(job);
    }
    if (filter.filtered) host.graph.removeFilter(filter);
    const restores = host.traits.failedCommitBase === 'read-only';
    if (restores && job?.failure && commitBase && baseWasReadOnly) host.graph.tryReopen(commitBase, true);
    if (this.#drained === undefined) return;
    this.#drained.pauseCount--;
    this.#drained = undefined;
    source.drains--;
  }

  #dropBitmap(): void {
    this.#bitmap.onMark = undefined;
    const { bitmaps } = this.options.bitmapOn;
    const index = bitmaps.indexOf(this.#bitmap);
    if (index >= 0) bitmaps.splice(index, 1);
  }
}
