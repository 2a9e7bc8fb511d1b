/** A domain while its machine runs: live disks, jobs, and what the machine's events do to them. */

import { type ImageIndexes, imageRef, type LiveDisk } from './blockjob/live.ts';
import type { JobEnd, JobRecord } from './blockjob/registry.ts';
import { JobRegistry } from './blockjob/registry.ts';
import { type DriverOutcome, ENDING, PUBLIC_TYPE } from './blockjob/states.ts';
import type { ImageDescription } from './conf/disk.ts';
import type { DriverEvent, GoneReason, Machine } from './driver.ts';
import { isVirtError } from './errors.ts';
import { BlockJobStatus, DomainState } from './flags.ts';
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
const PAUSED_IOERROR = 5;

/** What a running domain tells the domain it belongs to. */
export interface RunningObserver {
  jobEvent(record: JobRecord, status: BlockJobStatus): void;
  /** The disk uses another chain now; `previous` was the active image. */
  chainChanged(disk: LiveDisk, previous: ImageDescription | undefined): void;
  stateChanged(state: StateAndReason): void;
  ioError(disk: LiveDisk | undefined, action: 'none' | 'pause' | 'report', reason: string): void;
  /** A write went beyond a threshold; `device` is libvirt's name for the image, `vda` or `vda[N]`. */
  threshold(device: string, path: string, thresholdBytes: number, excessBytes: number): void;
  /** Unlinks files that a finished job has made superfluous. */
  deleteImages(images: readonly ImageDescription[]): Promise<void>;
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
  readonly disks: readonly LiveDisk[];
  readonly indexes: ImageIndexes;
  /** The state it starts in. */
  readonly state: StateAndReason;
  readonly observer: RunningObserver;
  /** Makes the error for those who wait when the machine goes. */
  readonly notRunning: () => Error;
}

/** One run of a domain, from the start of its machine to its end. */
export class RunningDomain {
  readonly id: number;
  readonly machine: Machine;
  readonly indexes: ImageIndexes;
  readonly jobs = new JobRegistry();
  readonly thresholds = new Thresholds();
  /** Settles when the machine has gone and the domain has been told. */
  readonly gone: Promise<void>;
  readonly #parts: RunningParts;
  readonly #resolveGone: () => void;
  #isGone = false;
  #disks: readonly LiveDisk[];
  readonly #removals = new Map<LiveDisk, () => void>();
  #state: StateAndReason;

  constructor(parts: RunningParts) {
    this.#parts = parts;
    this.id = parts.id;
    this.machine = parts.machine;
    this.#disks = parts.disks;
    this.#state = parts.state;
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

  /** Pauses the guest; the state follows even where the machine says nothing of it. */
  async pause(): Promise<void> {
    await this.machine.pause();
    this.#enter(DomainState.PAUSED, PAUSED_USER);
  }

  /** Lets the guest run. */
  async resume(): Promise<void> {
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
    this.jobs.transition(record, 'ready');
    markMirror(record.disk, 'yes');
    this.#parts.observer.jobEvent(record, BlockJobStatus.READY);
  }

  async #onEnded(id: string, outcome: DriverOutcome, error: string | undefined): Promise<void> {
    const record = this.jobs.byId(id);
    if (!record) return;
    const ending = ENDING[record.state][outcome];
    // Only a pivot makes a mirror's destination the disk; a mirror that somebody else ended leaves the source.
    const applied = ending.succeeded && (!record.mirrors || record.state === 'pivoting');
    const { chain, released, deleted = [] } = record.aftermath(applied);
    const previous = record.disk.chain[0];
    record.disk.chain = chain;
    record.disk.mirror = undefined;
    if (applied) this.#parts.observer.chainChanged(record.disk, previous);
    await this.release(released);
    if (applied && deleted.length > 0) await this.#parts.observer.deleteImages(deleted);
    // The machine may have gone while its images were being released: then there is no event, as after any end of it.
    if (this.jobs.byId(id) !== record) return;
    const end: JobEnd = { ...ending, error };
    this.#parts.observer.jobEvent(record, ending.status);
    this.jobs.remove(record, end);
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
    if (this.#isGone || this.#state.state === state) return;
    this.#state = { state, reason };
    this.#parts.observer.stateChanged(this.#state);
  }

  #onGone(reason: GoneReason): void {
    this.#isGone = true;
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
