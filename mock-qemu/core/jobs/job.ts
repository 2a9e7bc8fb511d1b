/** One job: its state, its verbs, and the runner that carries out the effects of its generator. */
import { assert, unreachable } from '../../../src/util/assert.ts';
import type { Timer } from '../clock.ts';
import { type Errno, strerror } from '../errno.ts';
import { refuse } from '../errors.ts';
import type { IoStatus } from '../graph/backend.ts';
import type { Edge, OpBlocker } from '../graph/node.ts';
import type { Effect, JobFailure, JobRun } from './effects.ts';
import type { IoEffect, JobHost } from './host.ts';
import { type ErrorAction, type ErrorPolicy, POLICY_ACTIONS } from './policy.ts';
import { RateLimit } from './ratelimit.ts';
import { type JobStatus, type JobVerb, TRANSITIONS, VERBS } from './states.ts';
import type { JobTransaction } from './transaction.ts';

/** QAPI JobType, as far as jobs are simulated. */
export type JobType = 'stream' | 'commit' | 'mirror' | 'backup' | 'create' | 'amend' | SnapshotJobType;

/** Jobs on internal snapshots. */
export type SnapshotJobType = 'snapshot-save' | 'snapshot-load' | 'snapshot-delete';

/** What a kind of job does; the rest is common to all. */
export interface JobTask {
  run(job: Job): JobRun;
  /** The last step that may fail; graph changes belong here. */
  prepare?(job: Job): JobFailure | undefined;
  /** Called when the job, after all, does not succeed. */
  abort?(job: Job): void;
  /**
   * Takes back what the start put into the graph; called at the end in any case, also if the job never ran.
   * @param job undefined: it was not even created
   */
  clean?(host: JobHost, job?: Job): void;
  /** Whether a cancel is a hard one; left out: always. */
  cancelsHard?(job: Job, force: boolean): boolean;
  /** Copies what is left, at once: where a process that ends lets its READY jobs finish. */
  finishNow?(): void;
  /** Under which name its end can be met by a fault; left out: by none. */
  stage?(): JobStage;
  /** Whether it keeps its nodes until it is dismissed; left out: it gives them back when it has concluded. */
  keepsNodes?(job: Job): boolean;
  /** Works out what has happened since somebody last looked, for a job that does not wake for every step. */
  refresh?(job: Job): void;
  /** Left out: the job cannot be completed by hand. */
  complete?(job: Job): void;
}

/** What a job does when it ends. */
export type JobStage = 'mirror' | 'pivot' | 'stream' | 'commit' | 'backup';

/** What every start command can say. */
export interface JobOptions {
  readonly id: string;
  readonly type: JobType;
  readonly autoFinalize?: boolean | undefined;
  readonly autoDismiss?: boolean | undefined;
}

type Wait = 'nothing' | 'sleep' | 'idle' | 'io' | 'settle' | 'drain' | 'paused';

const IS_BLOCK_JOB: Readonly<Record<JobType, boolean>> = {
  stream: true,
  commit: true,
  mirror: true,
  backup: true,
  create: false,
  amend: false,
  'snapshot-save': false,
  'snapshot-load': false,
  'snapshot-delete': false,
};

// A yield to the main loop: the reply of the command that started the job gets out first.
const YIELD_NS = 1_000;

/** A job, from created to null. */
export class Job {
  readonly id: string;
  readonly type: JobType;
  readonly isBlockJob: boolean;
  readonly autoFinalize: boolean;
  readonly autoDismiss: boolean;
  readonly host: JobHost;
  readonly task: JobTask;
  readonly limit: RateLimit;
  transaction: JobTransaction | undefined;
  status: JobStatus = 'undefined';
  /** Above 0: to be paused at the next pause point. */
  pauseCount = 0;
  userPaused = false;
  /** A soft or a hard cancel came. */
  cancelRequested = false;
  /** The job is to end without success. */
  cancelled = false;
  failure: JobFailure | undefined;
  /** Bytes done, and done plus known to be left. */
  offset = 0;
  len = 0;
  speedBytesPerSecond: number | bigint = 0;
  ioStatus: IoStatus = 'ok';
  /** The coroutine has ended; the rest happens in the main loop. */
  deferred = false;
  readonly edges: Edge[] = [];
  readonly blocker: OpBlocker;
  /** The main loop has begun with the rest. */
  ended = false;
  /** Told when the main loop has done the rest, as far as it could: a drained section waits for this as well. */
  onSettled: (() => void) | undefined;
  /** Told when the job stands still: a drained section waits for this. */
  onQuiescent: (() => void) | undefined;
  #run: JobRun | undefined;
  #wait: Wait = 'nothing';
  #timer: Timer | undefined;
  #idleSinceNs = 0;
  #tickNs = 0;
  /** What a request does when it is over, and until when limits hold it up. */
  #request: { readonly over: () => void; readonly heldUntilNs: number } | undefined;
  /** Its rate limit made it sleep: it sleeps on after an interruption unless drains cut that short. */
  #keepsToLimit = false;

  constructor(host: JobHost, options: JobOptions, task: JobTask) {
    this.host = host;
    this.id = options.id;
    this.type = options.type;
    this.task = task;
    this.isBlockJob = IS_BLOCK_JOB[options.type];
    this.limit = new RateLimit(host.traits.rateLimit);
    this.autoFinalize = options.autoFinalize ?? true;
    this.autoDismiss = options.autoDismiss ?? true;
    this.blocker = { reason: () => `block device is in use by block job: ${this.type}`, except: [] };
    this.transition('created');
  }

  get ready(): boolean {
    return this.status === 'ready' || this.status === 'standby';
  }

  /** Why the job failed, in words. */
  get error(): string | undefined {
    return this.failure && (this.failure.text ?? strerror(this.failure.code));
  }

  /** Whether nothing of the job is moving. */
  get quiescent(): boolean {
    return this.#wait === 'paused' || this.#wait === 'drain' || this.deferred || this.#run === undefined;
  }

  /** Whether a request of the job's is under way. */
  get asks(): boolean {
    return this.#wait === 'io' || this.#wait === 'settle';
  }

  /** Whether the main loop is about to do the rest. */
  get ending(): boolean {
    return this.deferred && !this.ended;
  }

  /** Changes state and says so. */
  transition(to: JobStatus): void {
    if (this.status === to) return;
    const legal: readonly JobStatus[] = TRANSITIONS[this.status];
    assert(legal.includes(to), `job ${this.id} cannot go from ${this.status} to ${to}`);
    this.status = to;
    this.host.emit('JOB_STATUS_CHANGE', { status: to, id: this.id });
  }

  /** Refuses a verb that the present state does not accept. */
  checkVerb(verb: JobVerb): void {
    if (VERBS[verb].includes(this.status)) return;
    refuse(`Job '${this.id}' in state '${this.status}' cannot accept command verb '${verb}'`);
  }

  /** Starts the generator; it runs up to the first effect that takes time. */
  start(): void {
    this.transition('running');
    this.#run = this.task.run(this);
    if (!this.#pauseHere()) this.#continue(undefined);
  }

  /** BLOCK_JOB_READY: announced once, the first time everything is copied. */
  becomeReady(): void {
    this.transition('ready');
    this.emitBlockEvent('BLOCK_JOB_READY');
  }

  /** Sends a BLOCK_JOB_* event with the job's numbers. */
  emitBlockEvent(name: string, error?: string): void {
    if (!this.isBlockJob) return;
    const { type, id, len, offset, speedBytesPerSecond: speed } = this;
    const data = { type, device: id, len, offset, speed };
    this.host.emit(name, error === undefined ? data : { ...data, error });
  }

  /** Bytes per second, 0 for unlimited. A faster speed wakes a job that sleeps off its debt. */
  setSpeed(bytesPerSecond: number | bigint): void {
    const before = this.speedBytesPerSecond;
    this.limit.set(Number(bytesPerSecond));
    this.speedBytesPerSecond = bytesPerSecond;
    if (Number(bytesPerSecond) !== 0 && bytesPerSecond <= before) return;
    if (this.#wait === 'sleep') this.poke();
    else this.nudge();
  }

  /**
   * How much of a debt is left to be slept off, in nanoseconds; one made at another speed is worked out anew.
   * @param untilNs when it would be over at the speed at which it was made
   */
  debtNs(untilNs: number, speedBytesPerSecond: number | bigint): number {
    const nowNs = this.host.clock.now();
    return this.speedBytesPerSecond === speedBytesPerSecond ? untilNs - nowNs : this.limit.delayNs(nowNs, 0);
  }

  /**
   * Asks for a pause; it happens at the next pause point, at once if the job waits at one.
   * @param lets the job sleep on and notice only when it wakes
   */
  pause(lets = false): void {
    this.pauseCount++;
    if (lets) return;
    if (this.#wait === 'sleep' || this.#wait === 'idle') this.poke();
  }

  /** Takes one pause back. */
  resume(): void {
    assert(this.pauseCount > 0, `job ${this.id} is not paused`);
    this.pauseCount--;
    if (this.pauseCount > 0) return;
    // A drained section that is over before it stood still waits for it no more.
    this.#tellQuiescent();
    this.poke();
  }

  /** Gets a waiting job's attention: sleep ends, a pause that nobody wants any more ends. */
  poke(): void {
    switch (this.#wait) {
      case 'sleep':
      case 'idle':
        this.#stopWaiting();
        if (!this.#pauseHere()) this.#continue(undefined);
        return;
      case 'paused':
        if (this.pauseCount > 0 && !this.cancelled) return;
        this.#wait = 'nothing';
        this.transition(this.status === 'standby' ? 'ready' : 'running');
        this.#continue(undefined);
        return;
      case 'nothing':
      case 'io':
      case 'settle':
      case 'drain':
        return;
      default:
        unreachable(this.#wait);
    }
  }

  /** There is something to do for an idle job: it sees it at its next tick. */
  nudge(): void {
    if (this.#wait !== 'idle' || this.#timer !== undefined) return;
    const { clock } = this.host;
    const ticks = Math.floor((clock.now() - this.#idleSinceNs) / this.#tickNs) + 1;
    const atNs = this.#idleSinceNs + ticks * this.#tickNs;
    this.#timer = clock.after(atNs - clock.now(), () => this.poke());
  }

  /** Marks the job as cancelled, softly where its kind knows how; what follows is up to the caller. */
  markCancelled(force: boolean): void {
    if (this.userPaused) {
      this.ioStatus = 'ok';
      this.userPaused = false;
      this.pauseCount--;
    }
    const hard = this.task.cancelsHard?.(this, force) ?? true;
    this.cancelRequested = true;
    this.cancelled ||= hard;
  }

  /** Ends the job where it stands, or at least lets it notice that it is over: the process is going away. */
  abandon(): void {
    const wasPaused = this.#wait === 'paused';
    this.#stopWaiting();
    if (this.#run === undefined || this.deferred) return;
    if (!wasPaused) this.#run.return(undefined);
    else {
      this.transition(this.status === 'standby' ? 'ready' : 'running');
      if (this.cancelled) this.#runOut();
      else this.#run.return(undefined);
    }
    this.#end(undefined);
  }

  /** Does, without any time, what a job that is cancelled does before it ends. */
  #runOut(): void {
    let value: Errno | undefined;
    for (;;) {
      const step = (this.#run as JobRun).next(value);
      if (step.done) return;
      const { value: effect } = step;
      const checked = effect.type === 'io' && !effect.unchecked;
      value = checked ? this.host.ioError(effect) : undefined;
    }
  }

  /** Applies an error policy to an I/O error: says so, stops if wanted. */
  handleError(policy: ErrorPolicy, operation: 'read' | 'write', code: Errno): ErrorAction {
    const action = POLICY_ACTIONS[policy](code);
    this.host.emit('BLOCK_JOB_ERROR', { device: this.id, operation, action });
    if (action === 'stop') {
      if (!this.userPaused) this.pauseCount++;
      this.userPaused = true;
      if (this.ioStatus === 'ok') this.ioStatus = code === 'ENOSPC' ? 'nospace' : 'failed';
    }
    return action;
  }

  #continue(result: Errno | undefined): void {
    if (this.#sleepOn()) return;
    let value = result;
    for (;;) {
      const step = (this.#run as JobRun).next(value);
      if (step.done) {
        this.#end(step.value);
        return;
      }
      value = undefined;
      if (!this.#perform(step.value)) return;
    }
  }

  /** Carries out an effect; true: it is over already. */
  #perform(effect: Effect): boolean {
    switch (effect.type) {
      case 'sleep':
        this.#keepsToLimit = effect.ns > 0;
        return this.#waitFor('sleep', Math.max(YIELD_NS, effect.ns), () => this.poke());
      case 'idle':
        return this.#idle(effect.tickNs, effect.armed ?? false);
      case 'pause-point':
        return !this.#pauseHere();
      case 'settle':
        return this.#waitFor('settle', YIELD_NS, () => this.#finishIo(undefined));
      case 'turn':
        return this.#turn(undefined);
      case 'drain':
        return this.#drain();
      case 'io': {
        const early = effect.unchecked ? undefined : this.host.earlyError(effect);
        if (early !== undefined) return this.#turn(early);
        return this.#ask(effect);
      }
      default:
        return unreachable(effect);
    }
  }

  /** Goes on when the main loop comes round. */
  #turn(error: Errno | undefined): false {
    this.#wait = 'settle';
    this.host.soon(() => {
      if (this.#run !== undefined && !this.deferred) this.#finishIo(error);
    });
    return false;
  }

  /** Begins a drained section of its own in the main loop, and is let go on there. */
  #drain(): false {
    this.#wait = 'drain';
    const over = () => {
      if (this.#wait === 'drain') this.#finishIo(undefined);
    };
    this.host.soon(() => this.host.soon(over));
    return false;
  }

  #ask(effect: IoEffect): false {
    const { host } = this;
    // In a drained section there are no limits.
    const heldNs = this.pauseCount > 0 ? 0 : host.throttleNs(effect);
    const over = () => this.#finishIo(effect.unchecked ? undefined : host.lateError(effect));
    this.#request = { over, heldUntilNs: host.clock.now() + heldNs };
    return this.#waitFor('io', heldNs + host.costNs(effect) + host.delayNs(effect), over);
  }

  /** A drained section does not wait for limits: a request that they hold up goes on at once. */
  letThrough(): void {
    const { clock } = this.host;
    if (this.#wait !== 'io' || !this.#request || !this.#timer) return;
    const { over, heldUntilNs } = this.#request;
    const heldNs = heldUntilNs - clock.now();
    if (heldNs <= 0) return;
    this.#timer.cancel();
    this.#timer = clock.after(this.#timer.atNs - clock.now() - heldNs, over);
    this.#request = undefined;
  }

  /** Goes back to the sleep that an interruption ended, where that is the rule. */
  #sleepOn(): boolean {
    const { traits, clock } = this.host;
    // A backup sleeps in a coroutine of its own, which no drained section wakes.
    const cut = traits.drainCutsRateLimit && this.type !== 'backup';
    if (cut || !this.#keepsToLimit || this.cancelled) return false;
    // The speed may be another one than when the sleep began.
    const leftNs = this.limit.delayNs(clock.now(), 0);
    if (leftNs <= 0) {
      // Over: what the next request costs is slept off after it has been issued, not before it ends.
      this.#keepsToLimit = false;
      return false;
    }
    this.#waitFor('sleep', leftNs, () => this.poke());
    return true;
  }

  #waitFor(wait: Wait, ns: number, then: () => void): false {
    // A pause that was asked for while the job worked shows as soon as it would sleep.
    if (wait === 'sleep' && this.#pauseHere()) return false;
    if (wait === 'sleep' && this.cancelled) {
      this.#wait = wait;
      this.#timer = this.host.clock.after(0, then);
      return false;
    }
    this.#wait = wait;
    this.#timer = this.host.clock.after(ns, then);
    return false;
  }

  #idle(tickNs: number, armed: boolean): boolean {
    if (this.cancelled) return true;
    if (this.#pauseHere()) return false;
    this.#wait = 'idle';
    this.#idleSinceNs = this.host.clock.now();
    this.#tickNs = tickNs;
    if (armed) this.nudge();
    return false;
  }

  #finishIo(error: Errno | undefined): void {
    this.#stopWaiting();
    this.#continue(error);
  }

  #stopWaiting(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#wait = 'nothing';
  }

  /** Pauses if somebody wants that. */
  #pauseHere(): boolean {
    if (this.pauseCount === 0 || this.cancelled) return false;
    this.#wait = 'paused';
    this.transition(this.status === 'ready' ? 'standby' : 'paused');
    this.#tellQuiescent();
    return true;
  }

  #end(failure: JobFailure | undefined): void {
    this.#stopWaiting();
    this.deferred = true;
    this.failure ??= failure;
    this.#tellQuiescent();
    this.host.soon(() => this.host.jobEnded(this));
  }

  #tellQuiescent(): void {
    const tell = this.onQuiescent;
    this.onQuiescent = undefined;
    tell?.();
  }
}
