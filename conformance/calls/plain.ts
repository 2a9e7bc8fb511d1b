/**
 * The plain model of a domain and its disks: what has to be true after each call, without any idea of how it is done.
 * Nothing in it waits; time appears only as public events, which are taken one by one.
 */
import { BlockJobStatus, BlockJobType } from '../../src/index.ts';

/** Bytes of one slot, the unit in which the guest writes. */
export const SLOT_BYTES = 64 * 1024;
/** Slots of a disk. */
export const SLOTS = 8;
/** Behind the slots: what a throttled job is sure to have to move. */
export const BALLAST = { offsetBytes: SLOTS * SLOT_BYTES, lengthBytes: 16 << 20, byte: 0x5a } as const;
/** Capacity of every image before it is resized. */
export const CAPACITY_BYTES = BALLAST.offsetBytes + BALLAST.lengthBytes;

/** What reading an image gives: the byte of each slot. The ballast is always there. */
export type View = readonly number[];
/** What a job does. */
export type JobKind = 'pull' | 'commit' | 'active-commit' | 'copy';
/** How a job ends. */
export type JobEnd = 'completed' | 'failed' | 'canceled';

/** A job that goes on. */
export interface PlainJob {
  readonly kind: JobKind;
  /** What the chain is once it has completed. */
  readonly chainAfter: readonly string[];
  /** The image that then reads as `views.get(reads)` does now. */
  readonly writes: string;
  readonly reads: string;
  /** It moves the ballast. */
  readonly heavy: boolean;
  /** The images that it takes out of the chain are unlinked. */
  readonly deletes?: boolean;
  /** Throttled so far that it gets nowhere. */
  held: boolean;
  ready: boolean;
  /** It goes on from an earlier management process, so nobody waits for its end. */
  recovered: boolean;
  /** How it has to end; undefined: not yet. */
  end: JobEnd | undefined;
}

/** A guest's write that met an error; it is tried again when the guest goes on. */
export interface StuckWrite {
  readonly disk: PlainDisk;
  readonly slot: number;
  readonly byte: number;
}

/** A disk. */
export interface PlainDisk {
  readonly target: string;
  /** Paths of its images, active first. */
  chain: readonly string[];
  job: PlainJob | undefined;
  capacityBytes: number;
}

/** What became of a job that nobody could be told of. */
export interface PlainOutcome {
  readonly disk: string;
  readonly outcome: 'completed' | 'failed';
}

/** A public event, as far as it is held to the model. */
export interface PublicJobEvent {
  /** BLOCK_JOB: by path; BLOCK_JOB_2: by target. */
  readonly by: 'path' | 'target';
  readonly disk: string;
  readonly type: number;
  readonly status: number;
}

const TYPE: Readonly<Record<JobKind, number>> = {
  pull: BlockJobType.PULL,
  commit: BlockJobType.COMMIT,
  'active-commit': BlockJobType.ACTIVE_COMMIT,
  copy: BlockJobType.COPY,
};
const END: Readonly<Record<JobEnd, number>> = {
  completed: BlockJobStatus.COMPLETED,
  failed: BlockJobStatus.FAILED,
  canceled: BlockJobStatus.CANCELED,
};

/** The number of a job's kind in events and infos. */
export const typeOf = ({ kind }: PlainJob): number => TYPE[kind];
/** Whether a job has a mirror, which becomes ready and can be pivoted to. */
export const isMirror = ({ kind }: Pick<PlainJob, 'kind'>): boolean =>
  kind === 'copy' || kind === 'active-commit';

/** How deep each disk's chain is at first. */
export interface Setup {
  /** One number from 1 for each disk, 1 to 3 of them. */
  readonly depths: readonly number[];
}

/** What has to be true. */
export class Plain {
  domain: 'none' | 'off' | 'running' = 'none';
  persistent = false;
  /** To define it again is an update. */
  wasDefined = false;
  paused = false;
  /** Why the guest is paused, if that is not because somebody asked for it. */
  stuck: StuckWrite | undefined;
  readonly disks: readonly PlainDisk[];
  /** What reading an image of a chain gives; left out while nobody can know. */
  readonly views = new Map<string, View>();
  /** Images that hold the ballast themselves. */
  readonly heavy = new Set<string>();
  /** Images that have to be gone, since the last look. */
  unlinked: string[] = [];
  /** Images that are raw, not qcow2. */
  readonly raw = new Set<string>();
  /** What else has to have been told since it was last looked at: lifecycle as `event detail`, the guest's errors. */
  life: string[] = [];
  outcomes: PlainOutcome[] = [];
  readonly directory: string;
  /** Faults can be planted. */
  readonly canFail: boolean;
  #images = 0;
  #byPath: PublicJobEvent | undefined;

  constructor({ depths }: Setup, directory: string, canFail: boolean) {
    this.directory = directory;
    this.canFail = canFail;
    this.disks = depths.map((depth, index) => {
      const target = `vd${'abc'[index]}`;
      const chain = Array.from({ length: depth }, () => this.newImage());
      for (const path of chain)
        this.views.set(
          path,
          Array.from({ length: SLOTS }, () => 0),
        );
      this.heavy.add(chain.at(-1) ?? '');
      return { target, chain, job: undefined, capacityBytes: CAPACITY_BYTES };
    });
  }

  /** A path that nothing has been at. */
  newImage(): string {
    this.#images += 1;
    return `${this.directory}/image-${this.#images}`;
  }

  /** The active image's view. */
  read({ chain }: PlainDisk): View {
    return this.views.get(chain[0] ?? '') ?? [];
  }

  /** A job has been accepted. What it writes to reads as nobody can know until it completes. */
  begin(disk: PlainDisk, job: Omit<PlainJob, 'ready' | 'recovered' | 'end'>): void {
    disk.job = { ...job, held: job.held && job.heavy, ready: false, recovered: false, end: undefined };
    const { kind, writes } = job;
    if (kind === 'pull') return;
    const from = kind === 'copy' ? disk.chain.length : disk.chain.indexOf(job.reads) + 1;
    for (const path of [writes, ...disk.chain.slice(from, disk.chain.indexOf(writes) + 1)])
      this.views.delete(path);
  }

  /** Takes an event; an error says why it must not have come. */
  take(event: PublicJobEvent): void {
    if (event.by === 'path') {
      if (this.#byPath) throw new Error(`BLOCK_JOB twice without a BLOCK_JOB_2: ${JSON.stringify(event)}`);
      this.#byPath = event;
      return;
    }
    const disk = this.disks.find(({ target }) => target === event.disk);
    const { job } = disk ?? {};
    if (!disk || !job) throw new Error(`an event of a job that is not there: ${JSON.stringify(event)}`);
    this.#takeFrom(disk, job, event);
    const byPath = this.#byPath;
    this.#byPath = undefined;
    const twin = { by: 'path', disk: disk.chain[0], type: event.type, status: event.status };
    if (JSON.stringify(byPath) !== JSON.stringify(twin))
      throw new Error(`BLOCK_JOB was ${JSON.stringify(byPath)} before ${JSON.stringify(event)}`);
  }

  #takeFrom(disk: PlainDisk, job: PlainJob, event: PublicJobEvent): void {
    if (event.type !== typeOf(job)) throw new Error(`${job.kind} on ${disk.target} told as ${event.type}`);
    if (event.status === BlockJobStatus.READY) {
      const may = isMirror(job) && !job.ready && !job.held && job.end === undefined;
      if (!may) throw new Error(`READY of ${disk.target} came twice, or too early`);
      job.ready = true;
      return;
    }
    // A pull or a commit completes when it likes, a mirror when it is asked to.
    const end = job.end ?? (isMirror(job) || job.held ? undefined : 'completed');
    if (end === undefined || event.status !== END[end])
      throw new Error(`the end of the ${job.kind} on ${disk.target}: ${event.status}, not ${end}`);
    this.finish(disk, end);
  }

  /** A job is over. */
  finish(disk: PlainDisk, end: JobEnd): void {
    const { job } = disk;
    disk.job = undefined;
    this.#keep(disk, job?.recovered && end !== 'canceled' ? end : undefined);
    if (!job || end !== 'completed') return;
    if (job.heavy) this.heavy.add(job.writes);
    const view = this.views.get(job.reads);
    if (view) this.views.set(job.writes, view);
    const dropped = disk.chain.filter((path) => !job.chainAfter.includes(path));
    for (const path of dropped) this.views.delete(path);
    if (job.deletes) this.unlinked.push(...dropped);
    disk.chain = job.chainAfter;
  }

  /** What became of a disk's job that nobody was told of; undefined: somebody was. */
  #keep({ target }: PlainDisk, outcome: PlainOutcome['outcome'] | undefined): void {
    this.outcomes = this.outcomes.filter(({ disk }) => disk !== target);
    if (outcome) this.outcomes.push({ disk: target, outcome });
  }

  /** Another management process has taken over. */
  takenOver(): void {
    this.#byPath = undefined;
    this.wasDefined = this.persistent;
    for (const { job } of this.disks) if (job) job.recovered = true;
  }

  /** The machine is gone, and its jobs with it. */
  stop(): void {
    for (const disk of this.disks) {
      // A pull or a commit that goes on until then is one that is held back.
      if (disk.job) this.#keep(disk, 'failed');
      disk.job = undefined;
    }
    this.domain = this.persistent ? 'off' : 'none';
    this.wasDefined = this.persistent;
    this.paused = false;
    this.stuck = undefined;
  }

  /** Lets a disk's guest write. */
  write({ chain }: PlainDisk, slot: number, byte: number): void {
    const [active = ''] = chain;
    this.views.set(active, (this.views.get(active) ?? []).with(slot, byte));
  }
}
