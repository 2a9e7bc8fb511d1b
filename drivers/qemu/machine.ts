/** One running QEMU as a {@link Machine}: requests become a dialect's commands, events become the driver's. */
import type {
  AttachedMachine,
  Capabilities,
  DiskChain,
  DiskSpec,
  DriverEvent,
  GoneReason,
  ImageRef,
  JobRequest,
  JobSnapshot,
  KnownJob,
  Machine,
  MachineSpec,
  TargetRef,
  TargetSpec,
  Unsubscribe,
} from '../../src/driver.ts';
import { ErrorCode, VirtError } from '../../src/errors.ts';
import { assert } from '../../src/util/assert.ts';
import type {
  Dialect,
  DialectExtras,
  IoErrorSignal,
  JobSignal,
  JobView,
  Polling,
  Verdict,
} from './dialects/dialect.ts';
import { describeEnd, objectOf, qmpErrorOf } from './errors.ts';
import { createExtras } from './extras.ts';
import { GuestHold } from './guest-hold.ts';
import type { Emulator, Host } from './host.ts';
import { JobWatch } from './job-watch.ts';
import { LIFECYCLE, type LifecyclePort } from './lifecycle-events.ts';
import { awaitMigration, restoreUri } from './migration.ts';
import { monitorCommand } from './monitor-command.ts';
import type { QmpClient, QmpEventMessage } from './qmp-client.ts';
import { readHeader } from './saved-state.ts';
import { StepRunner, type Undo } from './steps.ts';

/** What a machine is made of. */
export interface MachineParts {
  readonly spec: MachineSpec;
  readonly emulator: Emulator;
  /** Negotiated, CPUs not running yet. */
  readonly client: QmpClient;
  readonly dialect: Dialect;
  readonly capabilities: Capabilities;
  /** Its files, and its time. */
  readonly host: Pick<Host, 'files' | 'timers'>;
}

type How = 'pivot' | 'abort';

/** A job from before its start command until its `job-ended`. */
interface Job {
  readonly view: JobView;
  phase: JobSnapshot['phase'];
  /** What QEMU has accepted to do with it. */
  asked: How | undefined;
  /** Settles when no request to end it is in flight: before, a verdict cannot be understood. */
  asking: Promise<unknown>;
}

interface Target {
  readonly spec: TargetSpec;
  readonly opens: readonly ImageRef[];
  readonly undo: Undo;
}

/** A QEMU that runs. {@link QemuMachine.run} makes it go; it is over with its `gone` event. */
export class QemuMachine implements Machine {
  readonly capabilities: Capabilities;
  readonly resizeDisk: Machine['resizeDisk'];
  readonly setWriteThreshold: Machine['setWriteThreshold'];
  readonly snapshot: Machine['snapshot'];
  readonly attachDisk: Machine['attachDisk'];
  readonly detachDisk: Machine['detachDisk'];
  readonly changeMedium: Machine['changeMedium'];
  readonly reset: Machine['reset'];
  readonly save: Machine['save'];
  /** Settles when nothing of the machine is left. */
  readonly gone: Promise<void>;
  readonly #parts: MachineParts;
  readonly #steps: StepRunner;
  readonly #disks: Map<string, DiskSpec>;
  readonly #jobs = new Map<string, Job>();
  readonly #targets = new Map<number, Target>();
  /** Images that QEMU has open: index to the disk's target name. */
  readonly #open = new Map<number, string>();
  readonly #listeners = new Set<(event: DriverEvent) => void>();
  readonly #gone = Promise.withResolvers<void>();
  /** Events before the first listener: a machine can end between its start and the caller's next line. */
  #early: DriverEvent[] | undefined = [];
  #running = false;
  readonly #guest: GuestHold;
  readonly #watch: JobWatch | undefined;
  /** An I/O error has stopped the guest, or is about to: QEMU says so before STOP. */
  #stoppedByError = false;
  /** QEMU has announced its end: jobs that end from now on were torn down. */
  #shutDown = false;
  #ending = false;
  #rebooting = false;

  constructor(parts: MachineParts) {
    const { spec, client, dialect, host } = parts;
    this.#parts = parts;
    this.capabilities = parts.capabilities;
    this.gone = this.#gone.promise;
    this.#disks = new Map(spec.disks.map((disk) => [disk.target, disk]));
    for (const { target, chain } of spec.disks) this.#opened(target, chain);
    client.onEvent((event) => this.#onEvent(event));
    this.#steps = new StepRunner(client, dialect, host);
    this.#guest = new GuestHold(client, () => this.#emit({ type: 'paused', reason: 'user' }));
    this.#watch = dialect.polling && this.#watchJobs(dialect.polling);
    const opened = (disk: string, images: readonly ImageRef[]) => this.#opened(disk, images);
    const extras = createExtras({
      client,
      dialect,
      files: host.files,
      steps: this.#steps,
      disks: this.#disks,
      opened,
    });
    this.resizeDisk = extras.resizeDisk;
    this.setWriteThreshold = extras.setWriteThreshold;
    this.snapshot = extras.snapshot;
    this.attachDisk = extras.attachDisk;
    this.detachDisk = extras.detachDisk;
    this.changeMedium = extras.changeMedium;
    this.reset = extras.reset;
    this.save = extras.save;
    void client.closed.then((cause) => this.#onLost(cause));
    void parts.emulator.exited.then(() => this.#onLost(undefined));
  }

  /**
   * Lets the CPUs run (QMP: cont), unless they are to stay stopped; before that, takes over a saved state.
   * Rejects if the emulator ended or refused.
   */
  async run(): Promise<void> {
    const {
      client,
      spec,
      host: { files },
    } = this.#parts;
    const { restoreFrom: path } = spec;
    if (path !== undefined) {
      const { sizeBytes } = await readHeader(files, path);
      const uri = restoreUri(path, sizeBytes);
      await awaitMigration(client, { execute: 'migrate-incoming', arguments: { uri } });
    }
    if (path === undefined && !spec.startPaused) await client.execute('cont');
    this.#running = true;
  }

  /**
   * Takes over a QEMU that runs: finds out what has become of the jobs it was left with (QMP: query-block-jobs), as
   * if their events had come, and whether its CPUs run (QMP: query-status).
   */
  async takeOver(jobs: readonly KnownJob[]): Promise<AttachedMachine['cpus']> {
    this.#running = true;
    for (const job of jobs) this.#adopt(job);
    const { status, running } = objectOf(await this.#parts.client.execute('query-status'), 'query-status');
    await this.#findOpen(jobs);
    await this.#lookAtJobs();
    if (status === 'shutdown') this.#lifecycle.guestShutDown();
    this.#stoppedByError = status === 'io-error';
    this.#guest.isNews(running === true);
    if (running === true) return 'running';
    return this.#stoppedByError ? 'io-error' : 'paused';
  }

  /** Goes, and leaves QEMU running for whoever takes it over; a QEMU that cannot live alone is ended. */
  async leave(): Promise<void> {
    const { emulator, client } = this.#parts;
    if (emulator.leave === undefined || this.#ending) return this.destroy();
    this.#ending = true;
    client.close();
    emulator.leave();
    this.#gone.resolve();
  }

  async prepareTarget(spec: TargetSpec): Promise<TargetRef> {
    const {
      dialect,
      host: { files },
    } = this.#parts;
    const { image } = spec;
    const query = dialect.geometry(spec);
    const source = query && (await this.#steps.ask(query));
    const kind = (await files.stat(image.path))?.kind ?? 'file';
    const isOpen = (other: ImageRef) => this.#open.has(other.index);
    const facts = source === undefined ? { kind, isOpen } : { kind, isOpen, source };
    const { steps, opens } = dialect.prepare(spec, facts);
    const undo = await this.#steps.run(steps);
    this.#targets.set(image.index, { spec, opens, undo });
    this.#opened(spec.disk, opens);
    return { image };
  }

  async discardTarget({ image }: TargetRef): Promise<void> {
    const target = this.#targets.get(image.index);
    if (target === undefined) return;
    for (const opened of target.opens) this.#forget(opened);
    const failure = await target.undo();
    if (failure !== undefined) throw failure;
  }

  async startJob(request: JobRequest): Promise<void> {
    const { dialect } = this.#parts;
    const disk = this.#disks.get(request.disk);
    assert(disk !== undefined, `startJob: the machine has no disk '${request.disk}'`);
    const key = dialect.jobKey(request, disk);
    assert(!this.#jobs.has(key), `startJob: job '${key}' is running already`);
    const target = request.kind === 'copy' ? this.#targets.get(request.target.image.index)?.spec : undefined;
    const isOpen = (image: ImageRef) => this.#open.has(image.index);
    const parts = { key, request, disk, isOpen };
    const view: JobView = target === undefined ? parts : { ...parts, target };
    this.#jobs.set(key, { view, phase: 'running', asked: undefined, asking: Promise.resolve() });
    try {
      await this.#parts.client.call(dialect.start(view));
    } catch (error) {
      this.#jobs.delete(key);
      throw error;
    }
    if (request.kind === 'copy' && this.#jobs.get(key)?.phase === 'running') this.#watch?.untilReady(key);
    // The destination belongs to the job now: it is released, never discarded.
    if (request.kind === 'copy') this.#targets.delete(request.target.image.index);
  }

  async concludeJob(id: string, how: How): Promise<void> {
    const job = this.#jobOf(id);
    const attempt = noActiveJob(id, this.#conclude(job, how));
    job.asking = Promise.allSettled([job.asking, attempt]);
    await attempt;
  }

  async setJobSpeed(id: string, bytesPerSecond: number | bigint): Promise<void> {
    const { client, dialect } = this.#parts;
    await noActiveJob(id, client.call(dialect.setSpeed(this.#jobOf(id).view, bytesPerSecond)));
  }

  async jobs(): Promise<readonly JobSnapshot[]> {
    const reports = await this.#steps.ask(this.#parts.dialect.jobs());
    return reports.map(({ key, concluded, ...report }) => {
      const job = this.#jobs.get(key);
      const heard = job?.phase ?? (report.ready ? 'ready' : 'running');
      // Where a query does not say, the driver knows of its own jobs what their events have said.
      const ready = report.ready ?? (job && job.phase === 'ready');
      return { ...report, ready, id: job?.view.request.id ?? key, phase: concluded ? 'concluded' : heard };
    });
  }

  async chains(): Promise<readonly DiskChain[]> {
    const paths = await this.#steps.ask(this.#parts.dialect.chains());
    return [...this.#disks.values()].map(({ target, alias }) => ({
      disk: target,
      paths: paths.get(alias) ?? [],
    }));
  }

  async releaseImages(images: readonly ImageRef[]): Promise<void> {
    for (const image of images) this.#forget(image);
    const query = this.#parts.dialect.openNodes();
    if (query === undefined || images.length === 0) return;
    const open = await this.#steps.ask(query);
    await this.#steps.run(this.#parts.dialect.release(images, open));
  }

  async pause(): Promise<void> {
    await this.#parts.client.execute('stop');
  }

  async resume(): Promise<void> {
    await this.#parts.client.execute('cont');
  }

  async reboot(): Promise<void> {
    this.#rebooting = true;
    await this.powerdown();
  }

  async powerdown(): Promise<void> {
    await this.#parts.client.execute('system_powerdown');
  }

  async destroy(): Promise<void> {
    this.#end('destroyed');
    await this.gone;
  }

  async monitorCommand(command: string, hmp: boolean): Promise<string> {
    return monitorCommand(this.#parts.client, command, hmp);
  }

  onEvent(listener: (event: DriverEvent) => void): Unsubscribe {
    this.#listeners.add(listener);
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const event of early) listener(event);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  async #conclude(job: Job, how: How): Promise<void> {
    const { dialect } = this.#parts;
    if (how === 'pivot') {
      await this.#steps.run(dialect.attach(job.view));
      this.#opened(job.view.disk.target, job.view.target?.backing ?? []);
    }
    const ask = async () => {
      await this.#steps.run(dialect.conclude(job.view, how));
      job.asked = how;
    };
    await (how === 'pivot' && dialect.holdsGuest ? this.#guest.during(ask) : ask());
    if (how === 'abort' && this.#jobs.get(job.view.key) === job) this.#watch?.untilGone(job.view.key);
  }

  #watchJobs(polling: Polling): JobWatch {
    const { dialect, host } = this.#parts;
    return new JobWatch({
      polling,
      timers: host.timers,
      ask: () => this.#steps.ask(dialect.jobs()),
      onReady: (key) => this.#onSignal({ type: 'ready', key }),
      onGone: (key) => this.#onSignal({ type: 'concluded', key }),
    });
  }

  #adopt({ request, target, asked }: KnownJob): void {
    const { dialect } = this.#parts;
    const disk = this.#disks.get(request.disk);
    assert(disk !== undefined, `takeOver: the machine has no disk '${request.disk}'`);
    const key = dialect.jobKey(request, disk);
    const isOpen = (image: ImageRef) => this.#open.has(image.index);
    const view: JobView = { key, request, disk, isOpen, ...(target && { target }) };
    this.#jobs.set(key, { view, phase: 'running', asked, asking: Promise.resolve() });
  }

  /** Which images of the jobs' destinations are open. */
  async #findOpen(jobs: readonly KnownJob[]): Promise<void> {
    const { dialect } = this.#parts;
    const query = dialect.openNodes();
    const targets = jobs.flatMap(({ target }) => (target ? [target] : []));
    if (query === undefined || targets.length === 0) return;
    const open = await this.#steps.ask(query);
    for (const { disk, image, backing } of targets) {
      const found = [image, ...backing].filter((one) => dialect.release([one], open).length > 0);
      this.#opened(disk, found);
    }
  }

  async #lookAtJobs(): Promise<void> {
    const reports = await this.#steps.ask(this.#parts.dialect.jobs());
    for (const [key, job] of [...this.#jobs]) {
      const report = reports.find((candidate) => candidate.key === key);
      if (report?.concluded) this.#onSignal({ type: 'concluded', key });
      else if (report?.ready) this.#onSignal({ type: 'ready', key });
      else if (report === undefined && job.phase !== 'concluded') {
        this.#jobs.delete(key);
        this.#emit({ type: 'job-lost', id: job.view.request.id });
      } else if (report?.ready === undefined && MIRRORS.has(job.view.request.kind)) {
        // The query does not say, and the event may have come while nobody listened.
        this.#watch?.untilReady(key, true);
      }
    }
  }

  #jobOf(id: string): Job {
    for (const job of this.#jobs.values()) if (job.view.request.id === id) return job;
    throw new VirtError(ErrorCode.OPERATION_INVALID, `No active block job '${id}'`);
  }

  #opened(disk: string, images: readonly ImageRef[]): void {
    for (const { index } of images) this.#open.set(index, disk);
  }

  #forget(image: ImageRef): void {
    this.#targets.delete(image.index);
    this.#open.delete(image.index);
  }

  #emit(event: DriverEvent): void {
    this.#early?.push(event);
    for (const listener of [...this.#listeners]) listener(event);
  }

  #onEvent(event: QmpEventMessage): void {
    if (this.#ending) return;
    const { dialect } = this.#parts;
    const signal = dialect.signal(event);
    const fault = dialect.ioError(event);
    if (signal !== undefined) this.#onSignal(signal);
    else if (fault !== undefined) this.#onIoError(fault);
    else if (dialect.extras !== undefined && this.#onExtra(dialect.extras, event)) return;
    else LIFECYCLE[event.event]?.(this.#lifecycle, event);
  }

  /** Whether it was an event of the extras. */
  #onExtra(extras: DialectExtras, event: QmpEventMessage): boolean {
    const crossed = extras.threshold(event);
    if (crossed !== undefined) this.#emit({ type: 'threshold', ...crossed });
    const alias = extras.removed(event);
    const disk = [...this.#disks.values()].find((candidate) => candidate.alias === alias)?.target;
    if (disk !== undefined) {
      this.#disks.delete(disk);
      this.#emit({ type: 'disk-removed', disk });
    }
    return crossed !== undefined || disk !== undefined;
  }

  readonly #lifecycle: LifecyclePort = {
    emit: (event) => this.#emit(event),
    stopped: () => {
      const reason = this.#stoppedByError ? 'io-error' : 'user';
      if (this.#guest.isNews(false)) this.#emit({ type: 'paused', reason });
    },
    resumed: () => {
      this.#stoppedByError = false;
      // The RESUME of the start is no news: a machine starts with its CPUs running.
      if (this.#guest.isNews(true) && this.#running) this.#emit({ type: 'resumed' });
    },
    guestShutDown: () => {
      if (this.#rebooting) {
        void this.#reset();
        return;
      }
      this.#emit({ type: 'guest-shutdown' });
      // -no-shutdown keeps QEMU alive after its guest, as with libvirt; it is ours to end it.
      this.#end('shutdown');
    },
    hostShutDown: () => {
      this.#shutDown = true;
    },
  };

  /** What the guest's power-down leads to when a reboot was asked for. */
  async #reset(): Promise<void> {
    const { client } = this.#parts;
    this.#rebooting = false;
    try {
      await client.execute('system_reset');
      await client.execute('cont');
    } catch {
      // A machine that cannot be reset has shut down after all; one that is gone says so itself.
      this.#end('shutdown');
    }
  }

  #onIoError({ index, alias, action, reason }: IoErrorSignal): void {
    if (action === 'stop') this.#stoppedByError = true;
    const byAlias = [...this.#disks.values()].find((candidate) => candidate.alias === alias)?.target;
    const disk = index === undefined ? byAlias : this.#open.get(index);
    const event = { type: 'io-error', action: IO_ACTION[action], reason } as const;
    this.#emit(disk === undefined ? event : { ...event, disk });
  }

  #onSignal(signal: JobSignal): void {
    const job = this.#jobs.get(signal.key);
    // Jobs of others, and jobs that QEMU tears down because it ends, have no events.
    if (job === undefined || this.#shutDown) return;
    if (signal.type === 'concluded') {
      this.#watch?.forget(signal.key);
      if (job.phase !== 'concluded') void this.#finish(job, signal.verdict);
      job.phase = 'concluded';
    } else if (job.phase === 'running') {
      // QEMU bounces ready -> standby -> ready whenever it drains; only the first one is news.
      job.phase = 'ready';
      this.#emit({ type: 'job-ready', id: job.view.request.id });
    }
  }

  /** Reads a concluded job's outcome, cleans up after it, and says so. */
  async #finish(job: Job, told: Verdict | undefined): Promise<void> {
    const { dialect, client } = this.#parts;
    await job.asking;
    let verdict = told;
    try {
      verdict ??= await this.#steps.ask(dialect.verdict(job.view.key));
      await this.#steps.run(dialect.settle(job.view, job.asked));
    } catch (error) {
      // Without a monitor nobody knows how it ended: the `gone` event stands for it.
      if (client.state !== 'running' || !(error instanceof VirtError)) return;
      verdict ??= { error: error.message };
    }
    if (this.#ending || this.#shutDown) return;
    this.#jobs.delete(job.view.key);
    this.#emit({ type: 'job-ended', id: job.view.request.id, ...outcomeOf(job.asked, verdict) });
  }

  #onLost(cause: VirtError | undefined): void {
    this.#end(this.#shutDown ? 'shutdown' : 'crashed', cause);
  }

  #end(reason: GoneReason, cause?: VirtError): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#watch?.close();
    void this.#tearDown(reason, cause);
  }

  async #tearDown(reason: GoneReason, cause: VirtError | undefined): Promise<void> {
    const { emulator, client } = this.#parts;
    await emulator.terminate();
    const end = describeEnd(await emulator.exited, emulator.output());
    client.close();
    const detail = cause === undefined ? end : `${cause.detail}; the process ended with ${end}`;
    this.#emit(reason === 'crashed' ? { type: 'gone', reason, detail } : { type: 'gone', reason });
    this.#gone.resolve();
  }
}

/** Jobs that become READY. */
const MIRRORS: ReadonlySet<JobRequest['kind']> = new Set(['copy', 'active-commit']);

const IO_ACTION = { ignore: 'none', stop: 'pause', report: 'report' } as const;

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
