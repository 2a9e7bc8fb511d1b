/** One running QEMU as a {@link Machine}: requests become a dialect's commands, events become the driver's. */
import type {
  AttachedMachine,
  Capabilities,
  DiskChain,
  DiskSpec,
  DriverEvent,
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
import type { Dialect, DialectExtras, IoErrorSignal } from './dialects/dialect.ts';
import { createExtras } from './extras.ts';
import type { Emulator, Host } from './host.ts';
import { MachineJobs } from './machine-jobs.ts';
import { MachineLife } from './machine-life.ts';
import { awaitMigration, restoreUri } from './migration.ts';
import { monitorCommand } from './monitor-command.ts';
import { OpenImages } from './open-images.ts';
import type { QmpClient, QmpEventMessage } from './qmp-client.ts';
import { readHeader } from './saved-state.ts';
import { StepRunner } from './steps.ts';

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

/** A QEMU that runs. {@link QemuMachine.run} makes it go; it is over with its `gone` event. */
export class QemuMachine implements Machine {
  readonly capabilities: Capabilities;
  readonly resizeDisk: Machine['resizeDisk'];
  readonly setWriteThreshold: Machine['setWriteThreshold'];
  readonly changeBitmaps: Machine['changeBitmaps'];
  readonly bitmaps: Machine['bitmaps'];
  readonly setDiskLimits: Machine['setDiskLimits'];
  readonly diskLimits: Machine['diskLimits'];
  readonly snapshot: Machine['snapshot'];
  readonly attachDisk: Machine['attachDisk'];
  readonly detachDisk: Machine['detachDisk'];
  readonly changeMedium: Machine['changeMedium'];
  readonly reset: Machine['reset'];
  readonly save: Machine['save'];
  readonly saveSnapshot: Machine['saveSnapshot'];
  readonly deleteSnapshot: Machine['deleteSnapshot'];
  /** Settles when nothing of the machine is left. */
  readonly gone: Promise<void>;
  readonly #parts: MachineParts;
  readonly #disks: Map<string, DiskSpec>;
  readonly #steps: StepRunner;
  readonly #images: OpenImages;
  readonly #life: MachineLife;
  readonly #jobs: MachineJobs;
  readonly #listeners = new Set<(event: DriverEvent) => void>();
  /** Events before the first listener: a machine can end between its start and the caller's next line. */
  #early: DriverEvent[] | undefined = [];

  constructor(parts: MachineParts) {
    const {
      spec,
      emulator,
      client,
      dialect,
      host: { files, timers },
    } = parts;
    const emit = (event: DriverEvent) => this.#emit(event);
    const disks = new Map(spec.disks.map((disk) => [disk.target, disk]));
    this.#parts = parts;
    this.capabilities = parts.capabilities;
    this.#disks = disks;
    client.onEvent((event) => this.#onEvent(event));
    const steps = new StepRunner(client, dialect, parts.host);
    this.#steps = steps;
    const images = new OpenImages({ dialect, files, steps }, spec.disks);
    this.#images = images;
    const life = new MachineLife({ client, emulator, emit, onEnd: () => this.#jobs.close() });
    this.#life = life;
    this.gone = life.gone;
    const { guest } = life;
    const isEnding = () => life.isOver;
    this.#jobs = new MachineJobs({ client, dialect, steps, timers, disks, images, guest, emit, isEnding });
    const extras = createExtras({ client, dialect, files, steps, disks, opened: images.opened });
    this.resizeDisk = extras.resizeDisk;
    this.setWriteThreshold = extras.setWriteThreshold;
    this.changeBitmaps = extras.changeBitmaps;
    this.bitmaps = extras.bitmaps;
    this.setDiskLimits = extras.setDiskLimits;
    this.diskLimits = extras.diskLimits;
    this.snapshot = extras.snapshot;
    this.attachDisk = extras.attachDisk;
    this.detachDisk = extras.detachDisk;
    this.changeMedium = extras.changeMedium;
    this.reset = extras.reset;
    this.save = extras.save;
    this.saveSnapshot = extras.saveSnapshot;
    this.deleteSnapshot = extras.deleteSnapshot;
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
    await this.#limitDisks();
    if (path === undefined && !spec.startPaused) await client.execute('cont');
    this.#life.started();
  }

  async #limitDisks(): Promise<void> {
    const { spec, dialect, client } = this.#parts;
    for (const disk of spec.disks) {
      const { limits, chain } = disk;
      if (limits && dialect.extras && chain.length > 0) await client.call(dialect.extras.limit(disk, limits));
    }
  }

  /**
   * Takes over a QEMU that runs: finds out what has become of the jobs it was left with (QMP: query-block-jobs), as
   * if their events had come, and whether its CPUs run (QMP: query-status).
   */
  async takeOver(jobs: readonly KnownJob[]): Promise<AttachedMachine['cpus']> {
    this.#life.started();
    await this.#jobs.takeOver(jobs);
    return this.#life.findCpus();
  }

  /** Goes, and leaves QEMU running for whoever takes it over; a QEMU that cannot live alone is ended. */
  async leave(): Promise<void> {
    if (!this.#life.leave()) await this.destroy();
  }

  prepareTarget(spec: TargetSpec): Promise<TargetRef> {
    return this.#images.prepare(spec);
  }

  discardTarget(target: TargetRef): Promise<void> {
    return this.#images.discard(target);
  }

  startJob(request: JobRequest): Promise<void> {
    return this.#jobs.start(request);
  }

  concludeJob(id: string, how: 'pivot' | 'abort', bitmapsOf?: readonly ImageRef[]): Promise<void> {
    return this.#jobs.conclude(id, how, bitmapsOf);
  }

  setJobSpeed(id: string, bytesPerSecond: number | bigint): Promise<void> {
    return this.#jobs.setSpeed(id, bytesPerSecond);
  }

  jobs(): Promise<readonly JobSnapshot[]> {
    return this.#jobs.list();
  }

  async chains(): Promise<readonly DiskChain[]> {
    const paths = await this.#steps.ask(this.#parts.dialect.chains());
    return [...this.#disks.values()].map(({ target, alias }) => ({
      disk: target,
      paths: paths.get(alias) ?? [],
    }));
  }

  releaseImages(images: readonly ImageRef[]): Promise<void> {
    return this.#images.release(images);
  }

  async pause(): Promise<void> {
    await this.#parts.client.execute('stop');
  }

  async resume(): Promise<void> {
    await this.#parts.client.execute('cont');
  }

  async reboot(): Promise<void> {
    this.#life.willReboot();
    await this.powerdown();
  }

  async powerdown(): Promise<void> {
    await this.#parts.client.execute('system_powerdown');
  }

  async destroy(): Promise<void> {
    this.#life.end('destroyed');
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

  #emit(event: DriverEvent): void {
    this.#early?.push(event);
    for (const listener of [...this.#listeners]) listener(event);
  }

  #onEvent(event: QmpEventMessage): void {
    if (this.#life.isEnding) return;
    const { dialect } = this.#parts;
    const signal = dialect.signal(event);
    const fault = dialect.ioError(event);
    if (signal !== undefined) this.#jobs.onSignal(signal);
    else if (fault !== undefined) this.#onIoError(fault);
    else if (dialect.extras !== undefined && this.#onExtra(dialect.extras, event)) return;
    else this.#life.onEvent(event);
  }

  /** Whether it was an event of the extras. */
  #onExtra(extras: DialectExtras, event: QmpEventMessage): boolean {
    const crossed = extras.threshold(event);
    if (crossed !== undefined) this.#emit({ type: 'threshold', ...crossed });
    const disk = this.#byAlias(extras.removed(event));
    if (disk !== undefined) {
      this.#disks.delete(disk);
      this.#emit({ type: 'disk-removed', disk });
    }
    return crossed !== undefined || disk !== undefined;
  }

  #onIoError({ index, alias, action, reason }: IoErrorSignal): void {
    if (action === 'stop') this.#life.willStopByError();
    const disk = index === undefined ? this.#byAlias(alias) : this.#images.diskOf(index);
    const event = { type: 'io-error', action: IO_ACTION[action], reason } as const;
    this.#emit(disk === undefined ? event : { ...event, disk });
  }

  #byAlias(alias: string | undefined): string | undefined {
    return [...this.#disks.values()].find((candidate) => candidate.alias === alias)?.target;
  }
}

const IO_ACTION = { ignore: 'none', stop: 'pause', report: 'report' } as const;
