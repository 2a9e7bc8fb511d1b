/**
 * What a backup copies with: requests side by side, as many as there are workers. A call goes over all that is left; it is
 * over when everything is copied, when a request has failed, or when somebody wants the job's attention. Whatever is under
 * way by then is done first.
 */
import type { Errno } from '../errno.ts';
import { ABSENT, type Stretch } from '../extents.ts';
import type { DirtyBitmap } from '../graph/bitmap.ts';
import { hasNoTables, knowsTables, metImmediately } from '../graph/blkdebug.ts';
import { answersAtOnce, chainOf, copyRange, skipFilters, unknownAt } from '../graph/data.ts';
import type { BlockNode } from '../graph/node.ts';
import { layoutOf } from '../images.ts';
import type { Effect } from './effects.ts';
import type { IoEffect, JobHost } from './host.ts';
import type { Job } from './job.ts';
import { type CopyFailure, type CopyRequest, copyLanded, isZero, requestsOf } from './mirror-copy.ts';

/** What is copied, and how. */
export interface BlockCopyOptions {
  readonly source: BlockNode;
  readonly target: BlockNode;
  /** What is still to be copied and not under way. */
  readonly left: DirtyBitmap;
  /** Compressed clusters are copied one by one. */
  readonly compress: boolean;
  /** The most that is copied at once, in whole clusters; 0: no limit but the job's own. */
  readonly maxChunkBytes: number;
  /** How many requests there may be at a time. */
  readonly maxWorkers: number;
}

type Step<T = void> = Generator<Effect, T, Errno | undefined>;

/** One request. */
interface Task extends CopyRequest {
  /** An error that it has met before anything was read or written. */
  early: CopyFailure | undefined;
  /** The target does not take it: it fails when the next one is done. */
  refused: boolean;
  /** Somebody was about to write there: what was there has been copied. */
  saved: boolean;
}

/** One pass over what is left. */
interface Call {
  /** Others have had a turn since it began: only then somebody can have asked for its end. */
  yielded: boolean;
  failure: CopyFailure | undefined;
}

const CHUNK_BYTES = 1 << 20;
const CLUSTER_BYTES = 64 << 10;

/** The copying itself. */
export class BlockCopy {
  readonly #options: BlockCopyOptions;
  #inFlight: Task[] = [];
  /** The table that refused a cluster is in memory by now. */
  #hasTables = false;

  constructor(options: BlockCopyOptions) {
    this.#options = options;
  }

  /** How much is left, under way or not. */
  get remainingBytes(): number {
    return this.#inFlight.reduce((sum, { start, end }) => sum + end - start, this.#options.left.countBytes);
  }

  /** Copies all that is left, or as much as it may; the answer is why it failed, if it did. */
  *call(job: Job): Step<CopyFailure | undefined> {
    const call: Call = { yielded: false, failure: undefined };
    for (let offset = 0; !this.#stops(job, call); ) {
      const task = this.#next(offset);
      if (task === undefined) break;
      this.#take(task);
      if (this.#readsTables(task.start)) yield* this.#yield(call, { type: 'settle' });
      const { clock } = job.host;
      const { speedBytesPerSecond } = job;
      const heldUntilNs = clock.now() + job.limit.delayNs(clock.now(), 0);
      if (heldUntilNs > clock.now()) {
        this.#giveBack(task);
        yield* this.#finishAll(job, call);
        const leftNs = job.debtNs(heldUntilNs, speedBytesPerSecond);
        yield* this.#yield(call, { type: 'sleep', ns: Math.max(0, leftNs) });
        continue;
      }
      job.limit.delayNs(clock.now(), task.end - task.start);
      offset = task.end;
      if (this.#inFlight.length > this.#options.maxWorkers) yield* this.#finishOne(job, call, task);
      if (call.failure) this.#giveBack(task);
      else this.#issue(job, call, task);
    }
    yield* this.#finishAll(job, call);
    return call.failure;
  }

  /**
   * Somebody is about to write to a range: what is there is copied first.
   * @param host whom to ask whether that fails; left out: nothing does
   * @returns what was copied, and why not all of it was
   */
  saveOld(
    start: number,
    end: number,
    host?: JobHost,
  ): { readonly copiedBytes: number; readonly code?: Errno } {
    const { left: bitmap, source } = this.#options;
    for (const task of this.#inFlight) {
      if (task.saved || task.end <= start || task.start >= end) continue;
      task.saved = true;
      this.#move(task.start, task.end);
    }
    const { ranges } = bitmap;
    const requests: CopyRequest[] = [];
    for (let left = ranges.nextFrom(start); left && left.start < end; left = ranges.nextFrom(left.end)) {
      const range = { start: Math.max(start, left.start), end: Math.min(end, left.end) };
      requests.push(...requestsOf(source, range, CLUSTER_BYTES, this.#chunkBytes));
    }
    let copiedBytes = 0;
    let code: Errno | undefined;
    // All of them are under way together, and zeroes need not be read.
    for (const each of requests.toSorted((a, b) => Number(b.kind === 'zero') - Number(a.kind === 'zero'))) {
      const failure = host && this.#errorOf(host, each);
      code ??= failure;
      if (failure !== undefined) continue;
      this.#move(each.start, each.end);
      ranges.clear(each.start, each.end);
      copiedBytes += each.end - each.start;
    }
    return { copiedBytes, ...(code !== undefined && { code }) };
  }

  /** The error that a request meets on its way from the source to the target. */
  #errorOf(host: JobHost, request: CopyRequest): Errno | undefined {
    const unread = request.kind === 'write' ? host.ioError(this.#read(request)) : undefined;
    return unread ?? (this.#overwrites(request) ? 'EIO' : host.ioError(this.#write(request)));
  }

  /** A call looks up only after it has let others run: before that nobody can have asked for anything. */
  #stops(job: Job, { yielded, failure }: Call): boolean {
    return failure !== undefined || (yielded && (job.cancelled || job.pauseCount > 0));
  }

  *#yield(call: Call, effect: Effect): Step<Errno | undefined> {
    call.yielded = true;
    return yield effect;
  }

  /** The next request: zeroes and data are different ones. */
  #next(offset: number): Task | undefined {
    const { source, left } = this.#options;
    const dirty = left.ranges.nextFrom(offset);
    if (dirty === undefined) return undefined;
    const start = Math.max(dirty.start, offset);
    const most = layerEnd(source, start, Math.min(dirty.end, start + this.#chunkBytes));
    const [first] = requestsOf(source, { start, end: most }, CLUSTER_BYTES, most - start);
    const { end, kind } = first ?? { end: most, kind: 'write' };
    return { start, end, kind, early: undefined, refused: false, saved: false };
  }

  get #chunkBytes(): number {
    const { compress, maxChunkBytes } = this.#options;
    if (compress) return CLUSTER_BYTES;
    if (maxChunkBytes === 0) return CHUNK_BYTES;
    const clusters = Math.max(1, Math.floor(maxChunkBytes / CLUSTER_BYTES));
    return Math.min(CHUNK_BYTES, clusters * CLUSTER_BYTES);
  }

  #take(task: Task): void {
    this.#options.left.ranges.clear(task.start, task.end);
    this.#inFlight.push(task);
  }

  #drop(task: Task): void {
    this.#inFlight.splice(this.#inFlight.indexOf(task), 1);
  }

  #giveBack(task: Task): void {
    this.#drop(task);
    this.#options.left.force(task.start, task.end);
  }

  /** Whether a format has to read its tables before it can tell what lies at an offset. */
  #readsTables(offset: number): boolean {
    let reads = false;
    for (const image of chainOf(this.#options.source)) {
      if (image.driver.supportsBacking) {
        reads ||= !image.hasRefcounts && !hasNoTables(image);
        image.hasRefcounts = true;
      }
      if (image.driver.at(image, offset, offset + 1).tag !== ABSENT) break;
    }
    return reads;
  }

  #issue(job: Job, call: Call, task: Task): void {
    const { kind } = task;
    const first = kind === 'zero' ? this.#write(task) : this.#read(task);
    const early = job.host.earlyError(first);
    if (early === undefined) {
      if (this.#takesNoTime(job, task)) this.#end(job, call, task, job.host.lateError(first));
      return;
    }
    task.early = { operation: kind === 'zero' ? 'write' : 'read', code: early };
    if (metImmediately(first.node)) this.#fail(call, task, task.early);
  }

  /** Zeroes of a format that has its tables in memory by now are written without waiting for any file; null-co has none. */
  #takesNoTime(job: Job, { kind, start, end }: Task): boolean {
    const { source, target } = this.#options;
    const mayFail = job.host.mayFail(source, target);
    // What nobody promises to be zeroes is read.
    const isRead = kind !== 'zero' || !isZero(source, start, end) || unknownAt(source, start, end).unknown;
    if (isRead) return !mayFail && answersAtOnce(source) && answersAtOnce(target);
    if (answersAtOnce(target)) return true;
    if (mayFail) return knowsTables(target, start, end - start);
    return this.#hasTables || skipFilters(target).hasTables;
  }

  *#finishAll(job: Job, call: Call): Step {
    while (this.#inFlight.length > 0) yield* this.#finishOne(job, call);
  }

  /** Lets one request end: those first that fail at once, then those that need not be read. */
  *#finishOne(job: Job, call: Call, except?: Task): Step {
    call.yielded = true;
    const tasks = this.#inFlight.filter((task) => task !== except);
    const task =
      tasks.find(({ early }) => early) ?? tasks.find(({ kind }) => kind === 'zero') ?? this.#readable(tasks);
    if (task === undefined) return;
    const failure = task.early ?? (yield* this.#carryOut(job, task));
    if (task.early) yield { type: 'turn' };
    if (failure) this.#fail(call, task, failure);
    else this.#done(job, task);
  }

  #end(job: Job, call: Call, task: Task, code: Errno | undefined): void {
    if (code === undefined) this.#done(job, task);
    else this.#fail(call, task, { operation: 'write', code });
  }

  /** The next request for data. One that is refused takes a little longer than one that is not. */
  #readable(tasks: readonly Task[]): Task | undefined {
    const [first, second] = tasks;
    if (first === undefined || second === undefined || first.refused) return first;
    first.refused = this.#overwrites(first);
    this.#hasTables ||= first.refused;
    return first.refused ? second : first;
  }

  *#carryOut(job: Job, task: Task): Step<CopyFailure | undefined> {
    const { host } = job;
    const [read, write] = [this.#read(task), this.#write(task)];
    if (task.kind === 'write') {
      yield read;
      const code = host.lateError(read);
      if (code !== undefined) return { operation: 'read', code };
      if (this.#overwrites(task)) return { operation: 'write', code: 'EIO' };
      const early = host.earlyError(write);
      if (early !== undefined) {
        yield { type: 'turn' };
        return { operation: 'write', code: early };
      }
    }
    yield write;
    const code = host.lateError(write);
    if (code === undefined) return undefined;
    const { source, target } = this.#options;
    copyLanded(source, target, task.kind === 'zero' ? 'zero' : 'data');
    return { operation: 'write', code };
  }

  #read({ start, end }: Stretch): IoEffect {
    const { source } = this.#options;
    const at = { type: 'io', offset: start, bytes: end - start, unchecked: true } as const;
    return { ...at, at: 'backup.source-read', op: 'read', node: source };
  }

  #write({ start, end, kind }: CopyRequest): IoEffect {
    const { target } = this.#options;
    const at = { type: 'io', offset: start, bytes: end - start, unchecked: true } as const;
    return { ...at, at: 'backup.target-write', op: kind, node: target };
  }

  /** Whether a compressed cluster would take the place of one: the format refuses that. */
  #overwrites({ start, end }: Stretch): boolean {
    const { compress, target } = this.#options;
    if (!compress) return false;
    const { driver, image } = skipFilters(target);
    if (!image || !driver.supportsBacking) return false;
    const { clusterSizeBytes: cluster } = image.header;
    return layoutOf(image).isTaken(Math.floor(start / cluster), Math.ceil(end / cluster));
  }

  /** Copies what a range holds, and how: zeroes and data are different requests. */
  #move(start: number, end: number): void {
    const { source, target, compress } = this.#options;
    const to = Math.min(end, source.lengthBytes);
    for (const each of requestsOf(source, { start, end: to }, CLUSTER_BYTES, to - start)) {
      const data = compress ? 'compressed' : 'data';
      copyRange(source, target, each.start, Math.min(each.end, to), each.kind === 'zero' ? 'zero' : data);
    }
  }

  #fail(call: Call, task: Task, failure: CopyFailure): void {
    call.failure ??= failure;
    this.#giveBack(task);
  }

  #done(job: Job, task: Task): void {
    const { start, end } = task;
    this.#drop(task);
    if (!task.saved) this.#move(start, end);
    job.offset += end - start;
    job.len = job.offset + this.remainingBytes;
  }
}

/** How far the image of a chain that holds a byte goes on holding what follows: a request reads one image. */
function layerEnd(source: BlockNode, offset: number, limit: number): number {
  let end = limit;
  for (const image of chainOf(source)) {
    if (offset >= image.lengthBytes) return end;
    const isHeld = (at: number) => image.driver.at(image, at, end).tag !== ABSENT;
    const held = isHeld(offset);
    let to = image.driver.at(image, offset, end).end;
    while (to < end && isHeld(to) === held) to = image.driver.at(image, to, end).end;
    if (held) return to;
    end = Math.min(end, to);
  }
  return end;
}
