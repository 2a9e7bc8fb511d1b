/**
 * The jobs of one running domain: at most one a disk, registered before the hypervisor hears of them, because on a
 * real QEMU a whole job can finish before the reply of the command that started it.
 */
import type { ImageDescription } from '../conf/disk.ts';
import type { JobRequest, TargetSpec } from '../driver.ts';
import { isVirtError } from '../errors.ts';
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
  /** The disk's chain once the job's result is taken over. */
  readonly after: readonly ImageDescription[];
  /** Whether the files that its success makes superfluous are to go (BLOCK_COMMIT_DELETE). */
  readonly deletes: boolean;
  /** What is sent. */
  readonly request: JobRequest;
  /** Has to be there before it can be sent; undefined: nothing has to. */
  readonly target: TargetSpec | undefined;
  /** It was going on when an earlier connection ended: nobody waits for it, so its end is kept as an outcome. */
  readonly recovered: boolean;
  /** How the hypervisor has said that it ended, before its end was dealt with. */
  readonly verdict: 'completed' | 'failed' | undefined;
  /** Its end is known and in the journal; only the cleaning up is left. */
  readonly settled: boolean;
  /** Settles when it is ready, or has ended without having been. */
  readonly readyOrEnded: Promise<void>;
  /** Settles when the end has been dealt with and its event delivered; rejects when the machine is gone. */
  readonly ended: Promise<JobEnd>;
}

/** An image that no chain has any more and that the machine may still have open. */
export interface LeavingImage {
  readonly image: ImageDescription;
  /** Its file is to go, too. */
  readonly unlinks: boolean;
}

/** A disk's chain after a job, and the images that nobody uses any more. */
export interface Aftermath {
  readonly chain: readonly ImageDescription[];
  readonly leaving: readonly LeavingImage[];
}

/** What a job's end makes of its disk; `applied`: its result is taken over. */
export function aftermathOf({ disk, after, deletes, kind }: JobEntry, applied: boolean): Aftermath {
  const chain = applied ? after : disk.chain;
  const abandoned = applied ? disk.chain : kind === 'copy' ? after : [];
  const leaving = abandoned
    .filter((image) => !chain.some(({ index }) => index === image.index))
    .map((image) => ({ image, unlinks: applied && deletes }));
  return { chain, leaving };
}

/** What a job is registered with. */
export type JobEntry = Pick<
  JobRecord,
  'id' | 'kind' | 'disk' | 'mirrors' | 'after' | 'deletes' | 'request' | 'target'
>;

interface Slot {
  readonly record: { -readonly [K in keyof JobRecord]: JobRecord[K] };
  readonly resolveReady: () => void;
  readonly resolve: (end: JobEnd) => void;
  readonly reject: (error: Error) => void;
}

/** States that are entered before the request that leads to them is sent. */
const AHEAD_OF_ITS_STEP: ReadonlySet<JobState> = new Set(['aborting', 'pivoting']);

/** The registry of one running domain. */
export class JobRegistry {
  readonly #slots = new Map<string, Slot>();
  readonly #journal: () => void;

  /** @param journal writes down every job as it is now; called after each change, before anything comes of it */
  constructor(journal: () => void = () => undefined) {
    this.#journal = journal;
  }

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

  /**
   * Enters a job; the disk must be idle.
   * @param recoveredIn where a job stood that an earlier connection started; left out: it is `new`
   */
  register(entry: JobEntry, recoveredIn?: JobState): JobRecord {
    assert(!this.onDisk(entry.disk), `disk ${entry.disk.target} already has a job`);
    const { promise, resolve, reject } = Promise.withResolvers<JobEnd>();
    // Nobody has to wait for a job: an end by rejection is then simply not looked at.
    promise.catch(() => undefined);
    const { promise: readyOrEnded, resolve: resolveReady } = Promise.withResolvers<void>();
    const record: JobRecord = {
      ...entry,
      state: recoveredIn ?? 'new',
      recovered: recoveredIn !== undefined,
      settled: false,
      verdict: undefined,
      readyOrEnded,
      ended: promise,
    };
    this.#slots.set(entry.id, { record, resolveReady, resolve, reject });
    this.#journalOr(() => this.#slots.delete(entry.id));
    return record;
  }

  /**
   * The one place where a job changes its state.
   * @throws VirtError SYSTEM_ERROR if a step that cannot be taken back could not be written down: the state is the old
   */
  transition(record: JobRecord, state: JobState): void {
    const slot = this.#slots.get(record.id);
    assert(slot?.record === record, `job ${record.id} is not registered`);
    const before = slot.record.state;
    slot.record.state = state;
    // Whoever asks for its end waits for it.
    if (AHEAD_OF_ITS_STEP.has(state)) slot.record.recovered = false;
    if (AHEAD_OF_ITS_STEP.has(state))
      this.#journalOr(() => {
        slot.record.state = before;
      });
    else this.#tryJournal();
    if (state === 'ready') slot.resolveReady();
  }

  /** Keeps how a job has ended, for those who find the machine gone. */
  hear(record: JobRecord, verdict: 'completed' | 'failed'): void {
    const slot = this.#slots.get(record.id);
    assert(slot?.record === record, `job ${record.id} is not registered`);
    slot.record.verdict = verdict;
    this.#tryJournal();
  }

  /** The end of a job is decided: from now on the journal does without it. The caller writes the journal. */
  settle(record: JobRecord): void {
    const slot = this.#slots.get(record.id);
    assert(slot?.record === record, `job ${record.id} is not registered`);
    slot.record.settled = true;
  }

  /** Takes a job out: either it was never accepted, or its end has been dealt with. */
  remove(record: JobRecord, end?: JobEnd): void {
    const slot = this.#slots.get(record.id);
    assert(slot?.record === record, `job ${record.id} is not registered`);
    this.#slots.delete(record.id);
    if (!record.settled) this.#tryJournal();
    slot.resolveReady();
    if (end) slot.resolve(end);
  }

  /** Before a step that cannot be taken back: it is not taken if it cannot be written down. */
  #journalOr(takeBack: () => void): void {
    try {
      this.#journal();
    } catch (error) {
      takeBack();
      throw error;
    }
  }

  /** What has happened already is true whether it can be written down or not. */
  #tryJournal(): void {
    try {
      this.#journal();
    } catch (error) {
      if (!isVirtError(error)) throw error;
    }
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
