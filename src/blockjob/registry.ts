/**
 * The jobs of one running domain: at most one a disk, registered before the hypervisor hears of them, because on a
 * real QEMU a whole job can finish before the reply of the command that started it.
 */
import type { ImageDescription } from '../conf/disk.ts';
import type { JobRequest } from '../driver.ts';
import { assert } from '../util/assert.ts';
import type { LiveDisk } from './live.ts';
import type { Ending, JobState } from './states.ts';

/** How a job ended, and why if it failed. */
export interface JobEnd extends Ending {
  readonly error: string | undefined;
}

/** One job, from before it is sent until its end has been dealt with. */
export interface JobRecord {
  readonly id: string;
  readonly kind: JobRequest['kind'];
  readonly disk: LiveDisk;
  /** Changed by {@link JobRegistry.transition} only. */
  readonly state: JobState;
  /** Has a mirror on the disk (copy, active commit), which decides between errors 83 and 84. */
  readonly mirrors: boolean;
  /** What the job's end makes of the disk; `applied`: its result is taken over. */
  readonly aftermath: (applied: boolean) => Aftermath;
  /** Settles when it is ready, or has ended without having been. */
  readonly readyOrEnded: Promise<void>;
  /** Settles when the end has been dealt with and its event delivered; rejects when the machine is gone. */
  readonly ended: Promise<JobEnd>;
}

/** A disk's chain after a job, and the images that nobody uses any more. */
export interface Aftermath {
  readonly chain: readonly ImageDescription[];
  readonly released: readonly ImageDescription[];
  /** Of those, the files that are to go. */
  readonly deleted?: readonly ImageDescription[];
}

/** What a job is registered with. */
export type JobEntry = Pick<JobRecord, 'id' | 'kind' | 'disk' | 'mirrors' | 'aftermath'>;

interface Slot {
  readonly record: { -readonly [K in keyof JobRecord]: JobRecord[K] };
  readonly resolveReady: () => void;
  readonly resolve: (end: JobEnd) => void;
  readonly reject: (error: Error) => void;
}

/** The registry of one running domain. */
export class JobRegistry {
  readonly #slots = new Map<string, Slot>();

  /** The job on a disk, if any. */
  onDisk(disk: LiveDisk): JobRecord | undefined {
    for (const { record } of this.#slots.values()) if (record.disk === disk) return record;
    return undefined;
  }

  /** The job of that id, if it is one of ours. */
  byId(id: string): JobRecord | undefined {
    return this.#slots.get(id)?.record;
  }

  /** Every job, oldest first. */
  all(): JobRecord[] {
    return [...this.#slots.values()].map((slot) => slot.record);
  }

  /** Enters a job in state `new`; the disk must be idle. */
  register(entry: JobEntry): JobRecord {
    assert(!this.onDisk(entry.disk), `disk ${entry.disk.target} already has a job`);
    const { promise, resolve, reject } = Promise.withResolvers<JobEnd>();
    // Nobody has to wait for a job: an end by rejection is then simply not looked at.
    promise.catch(() => undefined);
    const { promise: readyOrEnded, resolve: resolveReady } = Promise.withResolvers<void>();
    const record: JobRecord = { ...entry, state: 'new', readyOrEnded, ended: promise };
    this.#slots.set(entry.id, { record, resolveReady, resolve, reject });
    return record;
  }

  /** The one place where a job changes its state. */
  transition(record: JobRecord, state: JobState): void {
    const slot = this.#slots.get(record.id);
    assert(slot?.record === record, `job ${record.id} is not registered`);
    slot.record.state = state;
    if (state === 'ready') slot.resolveReady();
  }

  /** Takes a job out: either it was never accepted, or its end has been dealt with. */
  remove(record: JobRecord, end?: JobEnd): void {
    const slot = this.#slots.get(record.id);
    assert(slot?.record === record, `job ${record.id} is not registered`);
    this.#slots.delete(record.id);
    slot.resolveReady();
    if (end) slot.resolve(end);
  }

  /** Fails everything that is waiting: the machine is gone. */
  abandon(makeError: () => Error): void {
    for (const slot of this.#slots.values()) {
      slot.resolveReady();
      slot.reject(makeError());
    }
    this.#slots.clear();
  }
}
