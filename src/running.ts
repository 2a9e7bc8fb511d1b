/** A domain while its machine runs: live disks, jobs, and what the machine's events do to them. */

import { type ImageIndexes, imageRef, type LiveDisk } from './blockjob/live.ts';
import type { JobEnd, JobRecord } from './blockjob/registry.ts';
import { aftermathOf, JobRegistry, type LeavingImage } from './blockjob/registry.ts';
import { type DriverOutcome, ENDING, PUBLIC_TYPE } from './blockjob/states.ts';
import type { ImageDescription } from './conf/disk.ts';
import type { DriverEvent, GoneReason, Machine } from './driver.ts';
import { isVirtError } from './errors.ts';
import { BlockJobStatus, DomainState } from './flags.ts';
import type { OutcomeStatus } from './state/status.ts';
import { Thresholds } from './thresholds.ts';
import { unreachable } from './util/assert.ts';

/** virDomainGetState. */
export interface StateAndReason {
  readonly state: DomainState;
  /** virDomain<State>Reason. */
  readonly reason: number;
}

/** Reasons that are used here (virDomainRunningReason, virDomainPausedReason). */
const RUNNING_UNPAUSED = 5;
const PAUSED_USER = 1;
const PAUSED_SAVE = 3;
const PAUSED_IOERROR = 5;

/** The guest is paused so that nothing is written while a pivot is under way. */
export interface PivotPause {
  /** The job's id. */
  readonly job: string;
  /** It ran before, so it is let run after. */
  readonly resumes: boolean;
}

/** What a running domain tells the domain it belongs to. */
export interface RunningObserver {
  /** Something changed that has to be written down. @throws VirtError SYSTEM_ERROR */
  changed(): void;
  /** A job came to an end; nobody has been told. */
  ended(outcome: OutcomeStatus): void;
  /** Somebody has been told of the end of a disk's job. */
  told(disk: LiveDisk): void;
  /** The machine has gone in the middle of a pull or a commit. */
  cutOff(job: JobRecord): Promise<void>;
  jobEvent(record: JobRecord, status: BlockJobStatus): void;
  /** The disk uses another chain now; `previous` was the active image. */
  chainChanged(disk: LiveDisk, previous: ImageDescription | undefined): void;
  stateChanged(state: StateAndReason): void;
  ioError(disk: LiveDisk | undefined, action: 'none' | 'pause' | 'report', reason: string): void;
  /** A write went beyond a threshold; `device` is libvirt's name for the image, `vda` or `vda[N]`. */
  threshold(device: string, path: string, thresholdBytes: number, excessBytes: number): void;
  /**
   * A pull or a commit has left images that are about to be closed, `chain` was the disk's until then: what they recorded
   * goes on elsewhere. undefined: there is nothing to it.
   */
  leavingImages(job: JobRecord, chain: readonly ImageDescription[]): Promise<void> | undefined;
  /** Unlinks the files among them that a finished job has made superfluous. */
  unlinkLeft(leaving: readonly LeavingImage[]): Promise<void>;
  shuttingDown(): void;
  gone(reason: GoneReason): void;
  reset(): void;
  /** The guest has let go of a disk that was to be unplugged. */
  diskRemoved(disk: LiveDisk): void;
}

/** What a running domain is made from. */
export interface RunningParts {
  readonly id: number;
  readonly machine: Machine;
  /** What the machine is found by after this process; undefined: it ends with it. */
  readonly handle: string | undefined;
  readonly disks: readonly LiveDisk[];
  readonly indexes: ImageIndexes;
  /** The state it starts in. */
  readonly state: StateAndReason;
  readonly observer: RunningObserver;
  /** Images that an earlier connection was about to close, and to unlink. */
  readonly leaving?: readonly LeavingImage[];
  /** Where an earlier connection left off with a pivot. */
  readonly pausedFor?: PivotPause | undefined;
  /** Which thresholds an earlier connection armed as `vda[N]`. */
  readonly armedByIndex?: readonly number[] | undefined;
  /** Makes the error for those who wait when the machine goes. */
  readonly notRunning: () => Error;
}

/** One run of a domain, from the start of its machine to its end. */
export class RunningDomain {
  readonly id: number;
  readonly machine: Machine;
  readonly indexes: ImageIndexes;
  readonly handle: string | undefined;
  readonly jobs: JobRegistry;
  readonly thresholds: Thresholds;
  /** Settles when the machine has gone and the domain has been told. */
  readonly gone: Promise<void>;
  readonly #parts: RunningParts;
  readonly #resolveGone: () => void;
  #isGone = false;
  #disks: readonly LiveDisk[];
  readonly #removals = new Map<LiveDisk, () => void>();
  #state: StateAndReason;
  #pausedFor: PivotPause | undefined;
  #leaving: readonly LeavingImage[];

  constructor(parts: RunningParts) {
    this.#parts = parts;
    this.id = parts.id;
    this.machine = parts.machine;
    this.#disks = parts.disks;
    this.handle = parts.handle;
    this.jobs = new JobRegistry(() => parts.observer.changed());
    this.#state = parts.state;
    this.#pausedFor = parts.pausedFor;
    this.thresholds = new Thresholds(parts.armedByIndex);
    this.#leaving = parts.leaving ?? [];
    this.indexes = parts.indexes;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gone = promise;
    this.#resolveGone = resolve;
  }

  /** Begins to listen; called once the domain knows of this run, so that even an immediate end finds it. */
  listen(): void {
    this.machine.onEvent((event) => this.#onEvent(event));
  }

  get state(): StateAndReason {
    return this.#state;
  }

  /** In libvirt's order. */
  get disks(): readonly LiveDisk[] {
    return this.#disks;
  }

  /** Takes in a disk that has been plugged in. */
  addDisk(disk: LiveDisk, order: (disks: readonly LiveDisk[]) => readonly LiveDisk[]): void {
    this.#disks = order([...this.#disks, disk]);
  }

  /** Settles when the guest has let go of a disk. */
  removalOf(disk: LiveDisk): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#removals.set(disk, resolve);
    return promise;
  }

  /**
   * Makes a change of chains that a crash may cut off: the journal knows of both ends while it is made. The caller sets
   * the new chains and writes that down.
   * @throws VirtError of the change, or SYSTEM_ERROR; nothing has changed then
   */
  async change(
    changes: readonly { readonly disk: LiveDisk; readonly next: readonly ImageDescription[] }[],
    make: () => Promise<void>,
  ): Promise<void> {
    for (const { disk, next } of changes) disk.next = next;
    try {
      this.changed();
      await make();
    } finally {
      for (const { disk } of changes) disk.next = undefined;
    }
  }

  /** Images that are about to be closed. */
  get leaving(): readonly LeavingImage[] {
    return this.#leaving;
  }

  /** Closes what an earlier connection was about to close: a base below an old overlay takes no further job. */
  async releaseLeft(): Promise<void> {
    if (this.#leaving.length > 0) await this.#letGo(this.#leaving);
  }

  /** Images are off the list only when all is done: whoever comes after a crash does it once more. */
  async #letGo(leaving: readonly LeavingImage[]): Promise<void> {
    await this.release(leaving.map(({ image }) => image));
    if (leaving.some(({ unlinks }) => unlinks)) await this.#parts.observer.unlinkLeft(leaving);
    this.#leaving = this.#leaving.filter((image) => !leaving.includes(image));
  }

  /** Set from before the guest is paused for a pivot until after it has been let go. */
  get pausedFor(): PivotPause | undefined {
    return this.#pausedFor;
  }

  /** Writes a change down, ahead of what it leads to. @throws VirtError SYSTEM_ERROR */
  changed(): void {
    this.#parts.observer.changed();
  }

  /**
   * Pauses the guest for a pivot, without an event, as libvirt did up to 1.2.14. A crash finds it in the journal.
   * @throws VirtError, after which the guest runs as before
   */
  async pauseForPivot(job: string): Promise<void> {
    const before = this.#state;
    this.#pausedFor = { job, resumes: before.state === DomainState.RUNNING };
    this.#state = { state: DomainState.PAUSED, reason: PAUSED_SAVE };
    try {
      this.changed();
      if (this.#pausedFor.resumes) await this.machine.pause();
    } catch (error) {
      this.#pausedFor = undefined;
      this.#state = before;
      throw error;
    }
  }

  /** Lets a guest go that was paused for a pivot; what comes after is the user's. */
  async endPivotPause(): Promise<void> {
    const pause = this.#pausedFor;
    if (!pause || this.#isGone) return;
    try {
      if (pause.resumes) await this.machine.resume();
      this.#pausedFor = undefined;
      if (pause.resumes) this.#state = { state: DomainState.RUNNING, reason: RUNNING_UNPAUSED };
      this.changed();
    } catch (error) {
      if (!isVirtError(error)) throw error;
    }
  }

  /** Pauses the guest; the state follows even where the machine says nothing of it. */
  async pause(): Promise<void> {
    if (this.#pausedFor) {
      this.#pausedFor = { ...this.#pausedFor, resumes: false };
      this.changed();
      return;
    }
    await this.machine.pause();
    this.#enter(DomainState.PAUSED, PAUSED_USER);
  }

  /** Lets the guest run. */
  async resume(): Promise<void> {
    if (this.#pausedFor) {
      this.#pausedFor = { ...this.#pausedFor, resumes: true };
      this.changed();
      return;
    }
    await this.machine.resume();
    this.#enter(DomainState.RUNNING, RUNNING_UNPAUSED);
  }

  #onEvent(event: DriverEvent): void {
    const { observer } = this.#parts;
    switch (event.type) {
      case 'job-ready':
        this.#onReady(event.id);
        break;
      case 'job-ended':
        void this.#onEnded(event.id, event.outcome, event.error);
        break;
      case 'job-verdict':
        this.#onVerdict(event.id, event.outcome);
        break;
      case 'job-lost':
        void this.#onLost(event.id);
        break;
      case 'paused':
        this.#enter(DomainState.PAUSED, event.reason === 'user' ? PAUSED_USER : PAUSED_IOERROR);
        break;
      case 'resumed':
        this.#enter(DomainState.RUNNING, RUNNING_UNPAUSED);
        break;
      case 'io-error':
        observer.ioError(this.#diskOf(event.disk), event.action, event.reason);
        break;
      case 'guest-shutdown':
        observer.shuttingDown();
        break;
      case 'threshold':
        this.#onThreshold(event);
        break;
      case 'disk-removed':
        void this.#onDiskRemoved(event.disk);
        break;
      case 'reset':
        observer.reset();
        break;
      case 'powerdown-requested':
        break;
      case 'gone':
        this.#onGone(event.reason);
        break;
      default:
        unreachable(event, 'driver event');
    }
  }

  /** Armed as `vda`, the active image answers under both of its names; armed as `vda[N]`, only under that one. */
  #onThreshold({
    imageIndex,
    thresholdBytes,
    excessBytes,
  }: Extract<DriverEvent, { type: 'threshold' }>): void {
    const disk = this.disks.find((candidate) =>
      imagesOf(candidate).some(({ index }) => index === imageIndex),
    );
    const image = disk && imagesOf(disk).find(({ index }) => index === imageIndex);
    if (!disk || !image) return;
    const { observer } = this.#parts;
    const active = image === disk.chain[0];
    if (active && !this.thresholds.wasByIndex(imageIndex)) {
      observer.threshold(disk.target, image.path, thresholdBytes, excessBytes);
    }
    observer.threshold(`${disk.target}[${imageIndex}]`, image.path, thresholdBytes, excessBytes);
  }

  async #onDiskRemoved(target: string): Promise<void> {
    const disk = this.#diskOf(target);
    if (!disk) return;
    this.#disks = this.#disks.filter((other) => other !== disk);
    await this.release(disk.chain);
    this.#parts.observer.diskRemoved(disk);
    this.#removals.get(disk)?.();
    this.#removals.delete(disk);
  }

  #diskOf(target: string | undefined): LiveDisk | undefined {
    return this.disks.find((disk) => disk.target === target);
  }

  /** A repeated READY (QEMU bounces through standby around drains) changes nothing. */
  #onReady(id: string): void {
    const record = this.jobs.byId(id);
    if (record?.state !== 'running' && record?.state !== 'new') return;
    // The transition writes both down.
    markMirror(record.disk, 'yes');
    this.jobs.transition(record, 'ready');
    this.#parts.observer.jobEvent(record, BlockJobStatus.READY);
  }

  /** Only of a pivot is nothing else left to tell afterwards how it ended. */
  #onVerdict(id: string, verdict: 'completed' | 'failed'): void {
    const record = this.jobs.byId(id);
    if (record?.mirrors && record.state === 'pivoting') this.jobs.hear(record, verdict);
  }

  async #onEnded(id: string, outcome: DriverOutcome, error: string | undefined): Promise<void> {
    const record = this.jobs.byId(id);
    if (!record || record.settled) return;
    const ending = ENDING[record.state][outcome];
    // Only a pivot makes a mirror's destination the disk; a mirror that somebody else ended leaves the source.
    const applied = ending.succeeded && (!record.mirrors || record.state === 'pivoting');
    await this.#end(record, { ...ending, error }, applied);
  }

  /** What the disk has open tells what became of a job that ended while nobody listened. */
  async #onLost(id: string): Promise<void> {
    const record = this.jobs.byId(id);
    if (!record) return;
    const applied = await this.#hasOpen(record.disk.target, record.after);
    if (this.jobs.byId(id) !== record || record.settled) return;
    const error = 'the job was gone when the machine was found again';
    const ending = ENDING[record.state][applied ? 'completed' : 'failed'];
    await this.#end(record, { ...ending, error: applied ? undefined : error }, applied);
  }

  /** Whether a disk has these images open. */
  async #hasOpen(target: string, chain: readonly ImageDescription[]): Promise<boolean> {
    try {
      const open = (await this.machine.chains()).find(({ disk }) => disk === target)?.paths ?? [];
      return open.length === chain.length && open.every((path, depth) => path === chain[depth]?.path);
    } catch (error) {
      // Without its monitor the machine is about to be gone.
      if (!isVirtError(error)) throw error;
      return false;
    }
  }

  /**
   * The end of a job: first the disk and the journal, in one piece, so that after a crash both speak of the same
   * images; then the guest goes on, and only then is anything closed or deleted.
   */
  async #end(record: JobRecord, end: JobEnd, applied: boolean): Promise<void> {
    const { observer } = this.#parts;
    const { chain, leaving } = aftermathOf(record, applied);
    const before = record.disk.chain;
    const previous = before[0];
    observer.ended(outcomeOf(record, applied ? 'completed' : 'failed'));
    this.jobs.settle(record);
    record.disk.chain = chain;
    record.disk.mirror = undefined;
    if (applied) observer.chainChanged(record.disk, previous);
    this.#leaving = [...this.#leaving, ...leaving];
    const written = this.#tryChanged();
    if (written && this.#pausedFor?.job === record.id) await this.endPivotPause();
    const carrying = applied && !record.mirrors ? observer.leavingImages(record, before) : undefined;
    if (carrying) await carrying;
    // What is not written down is not unlinked: after a crash the chain would have those images again.
    if (written) await this.#letGo(leaving);
    else await this.release(leaving.map(({ image }) => image));
    // The machine may have gone while its images were being released: then there is no event, as after any end of it.
    if (this.jobs.byId(record.id) !== record) return;
    observer.jobEvent(record, end.status);
    if (!record.recovered) observer.told(record.disk);
    // Otherwise the next process would tell it again, and close again what is closed.
    this.#tryChanged();
    this.jobs.remove(record, end);
  }

  /** Whether it could be written down. */
  #tryChanged(): boolean {
    try {
      this.changed();
      return true;
    } catch (error) {
      if (!isVirtError(error)) throw error;
      return false;
    }
  }

  /**
   * What the end of the machine means for a mirror. While it pivots either image may hold the last writes, unless the
   * guest was paused: then the source does.
   */
  #tellFate(job: JobRecord): void {
    if (!job.mirrors || job.settled) return;
    const known = job.state !== 'pivoting' || this.#pausedFor?.job === job.id;
    this.#parts.observer.ended(outcomeOf(job, known ? 'failed' : 'unknown'));
  }

  /** Closes images that nothing uses any more. One that cannot be closed is no reason to withhold what comes next. */
  async release(images: readonly ImageDescription[]): Promise<void> {
    try {
      await this.machine.releaseImages(images.map(imageRef));
    } catch (error) {
      if (!isVirtError(error)) throw error;
    }
  }

  #enter(state: DomainState, reason: number): void {
    if (this.#isGone || this.#pausedFor || this.#state.state === state) return;
    this.#state = { state, reason };
    this.#tryChanged();
    this.#parts.observer.stateChanged(this.#state);
  }

  #onGone(reason: GoneReason): void {
    this.#isGone = true;
    const cutOff = this.jobs.all().filter(({ mirrors, settled }) => !mirrors && !settled);
    if (cutOff.length === 0) this.#endRun(reason);
    else void this.#buryJobs(cutOff).then(() => this.#endRun(reason));
  }

  /** Of a pull or a commit the headers of the images tell how far it got, before anybody is told that the machine is gone. */
  async #buryJobs(jobs: readonly JobRecord[]): Promise<void> {
    for (const job of jobs) await this.#parts.observer.cutOff(job);
  }

  #endRun(reason: GoneReason): void {
    for (const job of this.jobs.all()) this.#tellFate(job);
    this.#parts.observer.gone(reason);
    this.jobs.abandon(this.#parts.notRunning);
    this.#resolveGone();
  }
}

/** Every image of a disk that has an index: the chain, a copy's destination and what is below that. */
export function imagesOf({ chain, mirror }: LiveDisk): readonly ImageDescription[] {
  return mirror ? [...chain, mirror.image, ...(mirror.backing ?? [])] : chain;
}

/** Shows in the XML how far a mirror is. */
export function markMirror(disk: LiveDisk, ready: 'yes' | 'pivot' | 'abort' | undefined): void {
  if (disk.mirror) disk.mirror = { ...disk.mirror, ready };
}

/** virDomainBlockJobType of a job. */
export function publicType(record: JobRecord): (typeof PUBLIC_TYPE)[JobRecord['kind']] {
  return PUBLIC_TYPE[record.kind];
}

/** What is kept of a job's end. */
export function outcomeOf(
  { disk, kind, after }: Pick<JobRecord, 'disk' | 'kind' | 'after'>,
  outcome: OutcomeStatus['outcome'],
): OutcomeStatus {
  const source = disk.chain[0]?.path ?? '';
  return { disk: disk.target, kind, outcome, source, destination: after[0]?.path ?? '' };
}
