/** A driver whose machine does what the test tells it, so that every order of replies and events can be had. */
import type {
  DiskSpec,
  DriverEvent,
  HypervisorDriver,
  ImageRef,
  JobRequest,
  JobSnapshot,
  Machine,
  MachineSpec,
  OverlaySpec,
  TargetSpec,
  VolumeInfo,
} from '../../../src/driver.ts';
import { ErrorCode, VirtError } from '../../../src/errors.ts';
import type { Timers } from '../../../src/util/timers.ts';

/** Timers that fire when the test says so. */
export class ManualTimers implements Timers {
  #now = 0;
  #pending: { at: number; callback: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { at: this.#now + delayMs, callback };
    this.#pending.push(timer);
    return () => {
      this.#pending = this.#pending.filter((other) => other !== timer);
    };
  }

  /** How many callbacks wait for their time. */
  get pending(): number {
    return this.#pending.length;
  }

  /** Moves time on and fires what falls due. */
  advance(ms: number): void {
    this.#now += ms;
    const due = this.#pending.filter(({ at }) => at <= this.#now);
    this.#pending = this.#pending.filter(({ at }) => at > this.#now);
    for (const { callback } of due) callback();
  }
}

/** What was asked of the fake machine, in order. */
export interface Call {
  readonly name: string;
  readonly argument: unknown;
}

/** One running fake machine. */
export class FakeMachine implements Machine {
  readonly capabilities = {
    hypervisor: 'fake 1.0',
    version: 1_000_000,
    pull: true,
    commit: true,
    activeCommit: true,
    copy: true,
    synchronousWrites: true,
    readyEvent: true,
    copyTuning: true,
    monotonicProgress: true,
  };
  readonly calls: Call[] = [];
  readonly spec: MachineSpec;
  /** Replaces the answer to a call: may emit events first, may throw. */
  readonly on: Partial<Record<string, (argument: unknown) => unknown>> = {};
  snapshots: JobSnapshot[] = [];
  /** Saved states of the driver, by path. */
  readonly saved: Map<string, string>;
  readonly #listeners = new Set<(event: DriverEvent) => void>();

  constructor(spec: MachineSpec, saved = new Map<string, string>()) {
    this.spec = spec;
    this.saved = saved;
  }

  emit(event: DriverEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  async #call<T>(name: string, argument: unknown, fallback: T): Promise<T> {
    this.calls.push({ name, argument });
    return ((await this.on[name]?.(argument)) as T | undefined) ?? fallback;
  }

  prepareTarget(spec: TargetSpec) {
    return this.#call('prepareTarget', spec, { image: spec.image });
  }
  discardTarget(target: unknown) {
    return this.#call<void>('discardTarget', target, undefined);
  }
  startJob(request: JobRequest) {
    return this.#call<void>('startJob', request, undefined);
  }
  concludeJob(id: string, how: 'pivot' | 'abort') {
    return this.#call<void>('concludeJob', { id, how }, undefined);
  }
  setJobSpeed(id: string, bytesPerSecond: number | bigint) {
    return this.#call<void>('setJobSpeed', { id, bytesPerSecond }, undefined);
  }
  jobs() {
    return this.#call('jobs', undefined, this.snapshots);
  }
  chains() {
    return this.#call('chains', undefined, []);
  }
  releaseImages(images: readonly ImageRef[]) {
    return this.#call<void>('releaseImages', images, undefined);
  }
  async pause() {
    await this.#call<void>('pause', undefined, undefined);
    this.emit({ type: 'paused', reason: 'user' });
  }
  async resume() {
    await this.#call<void>('resume', undefined, undefined);
    this.emit({ type: 'resumed' });
  }
  resizeDisk(disk: string, image: ImageRef, sizeBytes: number | bigint) {
    return this.#call<void>('resizeDisk', { disk, image, sizeBytes }, undefined);
  }
  setWriteThreshold(image: ImageRef, thresholdBytes: number | bigint) {
    return this.#call<void>('setWriteThreshold', { image, thresholdBytes }, undefined);
  }
  snapshot(overlays: readonly OverlaySpec[]) {
    return this.#call<void>('snapshot', overlays, undefined);
  }
  attachDisk(disk: DiskSpec) {
    return this.#call<void>('attachDisk', disk, undefined);
  }
  async detachDisk(disk: string) {
    await this.#call<void>('detachDisk', disk, undefined);
  }
  changeMedium(disk: string, chain: readonly ImageRef[], force: boolean) {
    return this.#call<void>('changeMedium', { disk, chain, force }, undefined);
  }
  async reset() {
    await this.#call<void>('reset', undefined, undefined);
    this.emit({ type: 'reset' });
  }
  reboot() {
    return this.#call<void>('reboot', undefined, undefined);
  }
  async save(path: string, header: string) {
    await this.#call<void>('save', { path, header }, undefined);
    this.saved.set(path, header);
  }
  saveSnapshot(name: string) {
    return this.#call<void>('saveSnapshot', name, undefined);
  }
  deleteSnapshot(name: string) {
    return this.#call<void>('deleteSnapshot', name, undefined);
  }
  powerdown() {
    return this.#call<void>('powerdown', undefined, undefined);
  }
  async destroy() {
    await this.#call<void>('destroy', undefined, undefined);
    this.emit({ type: 'gone', reason: 'destroyed' });
  }
  monitorCommand(command: string, hmp: boolean) {
    return this.#call('monitorCommand', { command, hmp }, '');
  }
  onEvent(listener: (event: DriverEvent) => void) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** A driver with images that exist by name only. */
export class FakeDriver implements HypervisorDriver {
  readonly name = 'fake';
  readonly timers = new ManualTimers();
  readonly machines: FakeMachine[] = [];
  readonly images = new Map<string, VolumeInfo>();
  readonly files = new Map<string, { kind: 'file' | 'block'; sizeBytes: number }>();
  /** What machines saved, by path. */
  readonly saved = new Map<string, string>();
  closed = 0;

  /** Makes a chain of qcow2 images, active first. */
  chain(...paths: string[]): void {
    paths.forEach((path, position) => {
      const below = paths[position + 1];
      const backing = below ? { path: below, name: below, format: 'qcow2' } : undefined;
      this.images.set(path, { path, format: 'qcow2', capacityBytes: 1_048_576, ...(backing && { backing }) });
      this.files.set(path, { kind: 'file', sizeBytes: 1 });
    });
  }

  readonly volumes = {
    create: async () => undefined,
    inspect: async (path: string) => {
      const info = this.images.get(path);
      if (!info) throw new Error(`no image ${path}`);
      return info;
    },
    stat: async (path: string) =>
      this.files.get(path) ?? (this.saved.has(path) ? ({ kind: 'file', sizeBytes: 1 } as const) : undefined),
    remove: async (path: string) => {
      this.files.delete(path);
      this.saved.delete(path);
    },
  };

  async start(spec: MachineSpec): Promise<FakeMachine> {
    const machine = new FakeMachine(spec, this.saved);
    this.machines.push(machine);
    return machine;
  }

  async savedHeader(path: string): Promise<string> {
    const header = this.saved.get(path);
    if (header !== undefined) return header;
    const detail = `Failed to open file '${path}': No such file or directory`;
    throw new VirtError(ErrorCode.SYSTEM_ERROR, detail, { errno: 2 });
  }

  async close(): Promise<void> {
    this.closed += 1;
  }
}
