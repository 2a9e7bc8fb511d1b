/** The step of a mirror whose requests may fail: each that is under way fails for itself, as the job's policies say. */
import type { Errno } from '../errno.ts';
import type { Stretch } from '../extents.ts';
import type { DirtyBitmap } from '../graph/bitmap.ts';
import { metImmediately } from '../graph/blkdebug.ts';
import { copyRange } from '../graph/data.ts';
import type { Effect, JobFailure } from './effects.ts';
import type { Job } from './job.ts';
import {
  type CopyFailure,
  type CopyRequest,
  copiedBytes,
  copyLanded,
  requestsOf,
  type TriedRequest,
  zeroesOf,
} from './mirror-copy.ts';
import type { MirrorOptions } from './mirror-options.ts';
import { POLICY_ACTIONS } from './policy.ts';

/** What has become of a step. Undefined: all of it copied. 'ok': some requests failed and are dirty again. Else: why the job fails. */
export type StepOutcome = undefined | 'ok' | JobFailure;

const NOTHING = { start: 0, end: 0 } as const;

/** Copies by requests that are tried one by one. */
export class MirrorTrials {
  readonly #options: MirrorOptions;
  readonly #bitmap: DirtyBitmap;
  readonly #requestBytes: number;
  /** A request has failed the job before all requests of its step were issued. */
  isCutShort = false;
  /** Where the last step was left, dirty, for the next one. */
  unissuedFrom = Number.POSITIVE_INFINITY;

  constructor(options: MirrorOptions, bitmap: DirtyBitmap, requestBytes: number) {
    this.#options = options;
    this.#bitmap = bitmap;
    this.#requestBytes = requestBytes;
  }

  /** Copies stretches that are under way together; those requests fail first that fail before anything is read. */
  *copy(job: Job, stretches: readonly Stretch[]): Generator<Effect, StepOutcome, Errno | undefined> {
    const { source, target } = this.#options;
    const [{ start, end } = NOTHING] = stretches;
    const whole = { type: 'io', offset: start, bytes: end - start, unchecked: true } as const;
    const requests = stretches.flatMap((stretch) => this.#requestsOf(stretch));
    const reading = this.#issued(job, requests, end);
    const early = reading.filter(({ failure }) => failure !== undefined);
    if (early.length > 0) yield { type: 'turn' };
    const first = this.#settle(job, early);
    const others = reading.filter(({ failure }) => failure === undefined).map(({ request }) => request);
    if (others.length === 0) return first ?? 'ok';
    yield { ...whole, at: 'mirror.source-read', op: 'read', node: source };
    yield { ...whole, at: 'mirror.target-write', op: 'write', node: target };
    const zeroes = zeroesOf(this.#options);
    const tried = others.map((request) => {
      const outcome = this.#tried(job, request, 'late');
      const how = request.kind === 'zero' ? zeroes : 'data';
      if (outcome.failure) copyLanded(source, target, how);
      else copyRange(source, target, request.start, request.end, how);
      return outcome;
    });
    const last = this.#settle(job, tried);
    const outcome = first ?? last;
    if (outcome !== undefined) job.offset += copiedBytes(tried);
    return outcome;
  }

  #requestsOf({ start, end }: Stretch): readonly CopyRequest[] {
    const { source, bufSizeBytes, granularityBytes } = this.#options;
    const requests: CopyRequest[] = [];
    for (let at = start; at < end; at += bufSizeBytes) {
      const step = { start: at, end: Math.min(end, at + bufSizeBytes) };
      requests.push(...requestsOf(source, step, granularityBytes, this.#requestBytes));
    }
    return requests;
  }

  /**
   * Issues requests; none is issued any more when one that lets nobody else run has failed the job, nor any of what would have
   * joined when one has failed before it.
   */
  #issued(job: Job, requests: readonly CopyRequest[], joinsFrom: number): readonly TriedRequest[] {
    const { source, target, onSourceError, onTargetError } = this.#options;
    const issued: TriedRequest[] = [];
    this.unissuedFrom = Number.POSITIVE_INFINITY;
    for (const request of requests) {
      if (request.start >= joinsFrom && issued.some(({ failure }) => failure)) {
        this.#bitmap.force(request.start, request.end);
        this.unissuedFrom = Math.min(this.unissuedFrom, request.start);
        continue;
      }
      const tried = this.#tried(job, request, 'early');
      issued.push(tried);
      if (!tried.failure) continue;
      const { operation, code } = tried.failure;
      const [node, policy] = operation === 'read' ? [source, onSourceError] : [target, onTargetError];
      if (POLICY_ACTIONS[policy](code) !== 'report' || !metImmediately(node)) continue;
      this.isCutShort = issued.length < requests.length;
      break;
    }
    return issued;
  }

  /** Finds out which error a request meets in one part of its way; zeroes are not read, but found out about. */
  #tried(job: Job, request: CopyRequest, part: 'early' | 'late'): TriedRequest {
    const { source, target } = this.#options;
    const { host } = job;
    const { start, end, kind } = request;
    const at = { type: 'io', offset: start, bytes: end - start } as const;
    const read = { ...at, at: 'mirror.source-read', op: 'read', node: source } as const;
    const { unmap } = this.#options;
    const write = { ...at, at: 'mirror.target-write', op: kind, node: target, unmap } as const;
    const failed = (operation: 'read' | 'write', code: Errno | undefined): TriedRequest['failure'] =>
      code === undefined ? undefined : { operation, code };
    if (part === 'early') {
      const failure =
        kind === 'write' ? failed('read', host.earlyError(read)) : failed('write', host.earlyError(write));
      return { request, failure };
    }
    const unread = failed('read', kind === 'write' ? host.lateError(read) : host.faultError(read));
    const unwritten = () => failed('write', kind === 'write' ? host.ioError(write) : host.lateError(write));
    return { request, failure: unread ?? unwritten() };
  }

  /** Does what the policies say about requests that failed; undefined: none did. */
  #settle(job: Job, tried: readonly TriedRequest[]): StepOutcome {
    const failures: CopyFailure[] = [];
    for (const { request, failure } of tried) {
      if (!failure) continue;
      failures.push(failure);
      this.#bitmap.force(request.start, request.end);
    }
    return failures.length === 0 ? undefined : this.#failed(job, failures);
  }

  #failed(job: Job, failures: readonly CopyFailure[]): 'ok' | JobFailure {
    const { onSourceError, onTargetError } = this.#options;
    let failure: JobFailure | undefined;
    for (const { operation, code } of failures) {
      const policy = operation === 'read' ? onSourceError : onTargetError;
      if (job.handleError(policy, operation, code) === 'report') failure ??= { code };
    }
    return failure ?? 'ok';
  }
}
