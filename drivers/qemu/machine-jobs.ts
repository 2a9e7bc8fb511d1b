/** The block jobs of one machine, each from before its start command until its `job-ended`. */
import type { DiskSpec, DriverEvent, ImageRef, JobRequest, JobSnapshot, KnownJob } from '../../src/driver.ts';
import { ErrorCode, VirtError } from '../../src/errors.ts';
import { assert } from '../../src/util/assert.ts';
import type { Timers } from '../../src/util/timers.ts';
import type { Dialect, JobSignal, JobView, Polling, Verdict } from './dialects/dialect.ts';
import { qmpErrorOf } from './errors.ts';
import type { GuestHold } from './guest-hold.ts';
import { JobWatch } from './job-watch.ts';
import type { OpenImages } from './open-images.ts';
import type { QmpClient } from './qmp-client.ts';
import type { StepRunner } from './steps.ts';

/** What jobs need of the machine that they run in. */
export interface JobsContext {
  readonly client: QmpClient;
  readonly dialect: Dialect;
  readonly steps: StepRunner;
  readonly timers: Timers;
  /** By target. */
  readonly disks: ReadonlyMap<string, DiskSpec>;
  readonly images: OpenImages;
  readonly guest: GuestHold;
  readonly emit: (event: DriverEvent) => void;
  /** QEMU ends, or has announced that it will: jobs that end from now on were torn down, which is no news. */
  readonly isEnding: () => boolean;
}

type How = 'pivot' | 'abort';

interface Job {
  readonly view: JobView;
  phase: JobSnapshot['phase'];
  /** What QEMU has accepted to do with it. */
  asked: How | undefined;
  /** Of a pivot: images whose bitmaps go on in the new one. */
  bitmapsOf: readonly ImageRef[];
  /** How it ended, as QEMU said before it could be asked. */
  heard?: Verdict;
  /** Settles when no request to end it is in flight: before, a verdict cannot be understood. */
  asking: Promise<unknown>;
}

/** Jobs that become READY. */
const MIRRORS: ReadonlySet<JobRequest['kind']> = new Set(['copy', 'active-commit']);

/** Starts jobs, ends them, and tells what becomes of them. */
export class MachineJobs {
  readonly #context: JobsContext;
  /** By QEMU's name for the job. */
  readonly #jobs = new Map<string, Job>();
  readonly #watch: JobWatch | undefined;

  constructor(context: JobsContext) {
    this.#context = context;
    this.#watch = context.dialect.polling && this.#watchJobs(context.dialect.polling);
  }

  /** See {@link Machine.startJob}. */
  async start(request: JobRequest): Promise<void> {
    const { client, dialect, images } = this.#context;
    const target = request.kind === 'copy' ? images.prepared(request.target) : undefined;
    const job = this.#register(request, target, undefined);
    const { key } = job.view;
    try {
      await client.call(dialect.start(job.view));
    } catch (error) {
      this.#jobs.delete(key);
      throw error;
    }
    if (request.kind !== 'copy') return;
    if (this.#jobs.get(key)?.phase === 'running') this.#watch?.untilReady(key);
    images.handOver(request.target);
  }

  /** See {@link Machine.concludeJob}. */
  async conclude(id: string, how: How, bitmapsOf: readonly ImageRef[] = []): Promise<void> {
    const job = this.#jobOf(id);
    job.bitmapsOf = bitmapsOf;
    const attempt = noActiveJob(id, this.#conclude(job, how));
    job.asking = Promise.allSettled([job.asking, attempt]);
    await attempt;
  }

  /** See {@link Machine.setJobSpeed}. */
  async setSpeed(id: string, bytesPerSecond: number | bigint): Promise<void> {
    const { client, dialect } = this.#context;
    await noActiveJob(id, client.call(dialect.setSpeed(this.#jobOf(id).view, bytesPerSecond)));
  }

  /** See {@link Machine.jobs}. */
  async list(): Promise<readonly JobSnapshot[]> {
    const { dialect, steps } = this.#context;
    const reports = await steps.ask(dialect.jobs());
    return reports.map(({ key, concluded, ...report }) => {
      const job = this.#jobs.get(key);
      const heard = job?.phase ?? (report.ready ? 'ready' : 'running');
      // Where a query does not say, the driver knows of its own jobs what their events have said.
      const ready = report.ready ?? (job && job.phase === 'ready');
      return { ...report, ready, id: job?.view.request.id ?? key, phase: concluded ? 'concluded' : heard };
    });
  }

  /** Takes over jobs that another process started, and finds out what has become of them, as if their events had come. */
  async takeOver(jobs: readonly KnownJob[]): Promise<void> {
    const { dialect, images, steps } = this.#context;
    for (const { request, target, asked, bitmapsOf = [] } of jobs) {
      this.#register(request, target, asked).bitmapsOf = bitmapsOf;
    }
    await images.find(jobs.flatMap(({ target }) => (target ? [target] : [])));
    const reports = await steps.ask(dialect.jobs());
    for (const [key, job] of [...this.#jobs]) {
      const report = reports.find((candidate) => candidate.key === key);
      if (report?.concluded) this.onSignal({ type: 'concluded', key });
      else if (report?.ready) this.onSignal({ type: 'ready', key });
      else if (report === undefined && job.phase !== 'concluded') {
        this.#jobs.delete(key);
        this.#context.emit({ type: 'job-lost', id: job.view.request.id });
      } else if (report?.ready === undefined && MIRRORS.has(job.view.request.kind)) {
        // The query does not say, and the event may have come while nobody listened.
        this.#watch?.untilReady(key, true);
      }
    }
  }

  /** An event of QEMU's that is about a job; of others' jobs there is nothing to tell. */
  onSignal(signal: JobSignal): void {
    const job = this.#jobs.get(signal.key);
    if (job === undefined || this.#context.isEnding()) return;
    if (signal.type === 'verdict') this.#hear(job, signal.verdict);
    else if (signal.type === 'concluded') {
      this.#watch?.forget(signal.key);
      if (job.phase !== 'concluded') void this.#finish(job, signal.verdict);
      job.phase = 'concluded';
    } else if (job.phase === 'running') {
      // QEMU bounces ready -> standby -> ready whenever it drains; only the first one is news.
      job.phase = 'ready';
      this.#context.emit({ type: 'job-ready', id: job.view.request.id });
    }
  }

  /**
   * The machine is at its end. A job of which QEMU has said how it ended has ended so, although nobody could be asked
   * any more; of the others nothing is known.
   */
  close(): void {
    this.#watch?.close();
    for (const job of [...this.#jobs.values()]) if (job.heard) this.#tellEnd(job, job.heard);
  }

  async #conclude(job: Job, how: How): Promise<void> {
    const { dialect, guest, images, steps } = this.#context;
    if (how === 'pivot') {
      await steps.run(dialect.attach(job.view));
      images.opened(job.view.disk.target, job.view.target?.backing ?? []);
    }
    const ask = async () => {
      await steps.run(dialect.conclude(job.view, how));
      job.asked = how;
    };
    await (how === 'pivot' && dialect.holdsGuest ? guest.during(ask) : ask());
    if (how === 'abort' && this.#jobs.get(job.view.key) === job) this.#watch?.untilGone(job.view.key);
  }

  #watchJobs(polling: Polling): JobWatch {
    const { dialect, steps, timers } = this.#context;
    return new JobWatch({
      polling,
      timers,
      ask: () => steps.ask(dialect.jobs()),
      onReady: (key) => this.onSignal({ type: 'ready', key }),
      onGone: (key) => this.onSignal({ type: 'concluded', key }),
    });
  }

  #register(request: JobRequest, target: KnownJob['target'], asked: How | undefined): Job {
    const { dialect, disks, images } = this.#context;
    const disk = disks.get(request.disk);
    assert(disk !== undefined, `a job was asked for, and the machine has no disk '${request.disk}'`);
    const key = dialect.jobKey(request, disk);
    assert(!this.#jobs.has(key), `job '${key}' is running already`);
    const view: JobView = { key, request, disk, isOpen: images.has, ...(target && { target }) };
    const job: Job = { view, phase: 'running', asked, bitmapsOf: [], asking: Promise.resolve() };
    this.#jobs.set(key, job);
    return job;
  }

  #jobOf(id: string): Job {
    for (const job of this.#jobs.values()) if (job.view.request.id === id) return job;
    throw new VirtError(ErrorCode.OPERATION_INVALID, `No active block job '${id}'`);
  }

  /** Reads a concluded job's outcome, cleans up after it, and says so. */
  async #finish(job: Job, told: Verdict | undefined): Promise<void> {
    const { dialect, client, steps } = this.#context;
    await job.asking;
    let verdict = told;
    try {
      verdict ??= await steps.ask(dialect.verdict(job.view.key));
      if (job.asked === 'pivot' && verdict.error === undefined) await this.#carryBitmaps(job);
      await steps.run(dialect.settle(job.view, job.asked));
    } catch (error) {
      // Without a monitor nobody knows how it ended: the `gone` event stands for it.
      if (client.state !== 'running' || !(error instanceof VirtError)) return;
      verdict ??= { error: error.message };
    }
    if (this.#context.isEnding()) return;
    this.#tellEnd(job, verdict);
  }

  /** While the images that a pivot has left are still open. */
  async #carryBitmaps({ view, bitmapsOf }: Job): Promise<void> {
    const { dialect, steps } = this.#context;
    if (!dialect.extras || bitmapsOf.length === 0) return;
    const present = await steps.ask(dialect.extras.bitmaps());
    await steps.run(dialect.extras.carryBitmaps(view, bitmapsOf, present));
  }

  /** An abort counts as one, however QEMU words its end. */
  #hear(job: Job, verdict: Verdict): void {
    job.heard = verdict;
    const outcome = verdict.error === undefined ? 'completed' : 'failed';
    this.#context.emit({ type: 'job-verdict', id: job.view.request.id, outcome });
  }

  #tellEnd(job: Job, verdict: Verdict): void {
    this.#jobs.delete(job.view.key);
    const outcome = outcomeOf(job.asked, verdict);
    this.#context.emit({ type: 'job-ended', id: job.view.request.id, ...outcome });
  }
}

/** A job that was asked to abort counts as cancelled, whichever way QEMU ended it. */
function outcomeOf(asked: How | undefined, { error }: Verdict) {
  if (asked === 'abort') return { outcome: 'cancelled' } as const;
  return error === undefined ? ({ outcome: 'completed' } as const) : ({ outcome: 'failed', error } as const);
}

/** libvirt's error for a job that QEMU does not know (any more). */
async function noActiveJob(id: string, work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (cause) {
    if (qmpErrorOf(cause)?.class !== 'DeviceNotActive') throw cause;
    throw new VirtError(ErrorCode.OPERATION_INVALID, `No active block job '${id}'`, { cause });
  }
}
