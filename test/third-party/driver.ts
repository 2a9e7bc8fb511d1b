/** Somebody else's little driver: whole disks as byte arrays, copied at once when their time has come. */
import type {
  DriverEvent,
  HypervisorDriver,
  JobRequest,
  Machine,
  MachineSpec,
  Timers,
  VolumeSpec,
} from 'mockvirt';

export const CAPABILITIES = {
  pull: true,
  commit: false,
  activeCommit: false,
  copy: true,
  synchronousWrites: false,
  readyEvent: true,
  copyTuning: true,
  monotonicProgress: true,
};

const TICK_MS = 5;

interface Image extends VolumeSpec {
  /** What the guest reads, all of the chain in it. */
  data: Uint8Array;
  backing?: VolumeSpec['backing'];
  /** Where something was written to this very image. */
  written: Uint8Array;
}

interface Job {
  request: JobRequest;
  leftBytes: number;
  totalBytes: number;
  speed: number;
  ready: boolean;
  how?: 'pivot' | 'abort';
}

/** A name as an image has it: relative ones begin where the image is. */
function beside(path: string, name: string): string {
  return name.startsWith('/') ? name : `${path.slice(0, path.lastIndexOf('/'))}/${name}`;
}

export class TinyDriver implements HypervisorDriver {
  readonly name = 'tiny';
  readonly timers: Timers;
  readonly images = new Map<string, Image>();
  readonly machines = new Map<string, TinyMachine>();

  constructor(timers: Timers) {
    this.timers = timers;
  }

  image(path: string): Image {
    const image = this.images.get(path);
    if (!image) throw new Error(`no image ${path}`);
    return image;
  }

  create(spec: VolumeSpec): void {
    const below = spec.backing && this.image(beside(spec.path, spec.backing.path)).data;
    const data = new Uint8Array(spec.capacityBytes);
    if (below) data.set(below.subarray(0, data.length));
    this.images.set(spec.path, { ...spec, data, written: new Uint8Array(spec.capacityBytes) });
  }

  write(path: string, at: { offsetBytes: number; lengthBytes: number; byte: number }): void {
    const { data, written } = this.image(path);
    data.fill(at.byte, at.offsetBytes, at.offsetBytes + at.lengthBytes);
    written.fill(1, at.offsetBytes, at.offsetBytes + at.lengthBytes);
  }

  readonly volumes = {
    create: async (spec: VolumeSpec) => this.create(spec),
    inspect: async (path: string) => {
      const { format, capacityBytes, backing } = this.image(path);
      return {
        path,
        format,
        capacityBytes,
        ...(backing ? { backing: { ...backing, path: beside(path, backing.path), name: backing.path } } : {}),
      };
    },
    stat: async (path: string) =>
      this.images.has(path) ? ({ kind: 'file', sizeBytes: 1 } as const) : undefined,
    remove: async (path: string) => void this.images.delete(path),
  };

  async start(spec: MachineSpec): Promise<Machine> {
    const machine = new TinyMachine(spec, this);
    this.machines.set(spec.name, machine);
    return machine;
  }

  async close(): Promise<void> {
    for (const machine of this.machines.values()) await machine.destroy();
  }
}

export class TinyMachine implements Machine {
  readonly capabilities = { hypervisor: 'tiny 1.0', version: 1_000_000, ...CAPABILITIES };
  readonly #driver: TinyDriver;
  readonly #active = new Map<string, string>();
  readonly #jobs = new Map<string, Job>();
  readonly #listeners = new Set<(event: DriverEvent) => void>();
  #isGone = false;

  constructor(spec: MachineSpec, driver: TinyDriver) {
    this.#driver = driver;
    for (const { target, chain } of spec.disks) this.#active.set(target, chain[0]?.path ?? '');
  }

  guestWrite(disk: string, at: { offsetBytes: number; lengthBytes: number; byte: number }): void {
    this.#driver.write(this.#active.get(disk) ?? '', at);
    for (const { ready, request } of this.#jobs.values())
      if (ready && request.kind === 'copy') this.#driver.write(request.target.image.path, at);
  }

  async prepareTarget({ source, image, backing }: Parameters<Machine['prepareTarget']>[0]) {
    const { capacityBytes } = this.#driver.image(source.path);
    this.#driver.create({ ...image, capacityBytes, ...(backing[0] ? { backing: backing[0] } : {}) });
    return { image };
  }

  async discardTarget({ image }: Parameters<Machine['discardTarget']>[0]) {
    this.#driver.images.delete(image.path);
  }

  async startJob(request: JobRequest) {
    const { data } = this.#driver.image(this.#active.get(request.disk) ?? '');
    const dataBytes = data.reduce((sum, byte) => sum + (byte === 0 ? 0 : 1), 0);
    const speed = Number(request.speedBytesPerSecond);
    this.#jobs.set(request.id, {
      request,
      leftBytes: dataBytes,
      totalBytes: dataBytes,
      speed,
      ready: false,
    });
    this.#later(request.id);
  }

  async concludeJob(id: string, how: 'pivot' | 'abort') {
    this.#job(id).how = how;
  }

  async setJobSpeed(id: string, bytesPerSecond: number | bigint) {
    this.#job(id).speed = Number(bytesPerSecond);
  }

  async jobs() {
    return [...this.#jobs].map(([id, { ready, totalBytes, leftBytes, speed }]) => ({
      id,
      phase: ready ? ('ready' as const) : ('running' as const),
      current: totalBytes - leftBytes,
      total: totalBytes,
      ready,
      speedBytesPerSecond: speed,
    }));
  }

  async chains() {
    return [...this.#active].map(([disk, path]) => ({ disk, paths: [path] }));
  }

  async releaseImages() {}
  async pause() {
    this.#emit({ type: 'paused', reason: 'user' });
  }
  async resume() {
    this.#emit({ type: 'resumed' });
  }
  async powerdown() {}
  async monitorCommand(): Promise<string> {
    throw new Error('no monitor');
  }

  async destroy() {
    this.#isGone = true;
    this.#jobs.clear();
    this.#emit({ type: 'gone', reason: 'destroyed' });
  }

  onEvent(listener: (event: DriverEvent) => void) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #job(id: string): Job {
    const job = this.#jobs.get(id);
    if (!job) throw new Error(`no job ${id}`);
    return job;
  }

  #emit(event: DriverEvent) {
    for (const listener of [...this.#listeners]) listener(event);
  }

  #later(id: string) {
    this.#driver.timers.after(TICK_MS, () => this.#tick(id));
  }

  #tick(id: string) {
    const job = this.#jobs.get(id);
    if (!job || this.#isGone) return;
    const doneBytes = job.speed > 0 ? (job.speed * TICK_MS) / 1000 : job.leftBytes;
    if (!job.ready) job.leftBytes = Math.max(0, job.leftBytes - Math.ceil(doneBytes));
    if (job.how === 'abort') this.#end(id, 'cancelled');
    else if (job.leftBytes === 0 && job.request.kind === 'copy') this.#synchronised(id, job);
    else if (job.leftBytes === 0) {
      this.#driver.image(this.#active.get(job.request.disk) ?? '').backing = undefined;
      this.#end(id, 'completed');
    }
    if (this.#jobs.has(id)) this.#later(id);
  }

  #synchronised(id: string, { ready, request, how }: Job) {
    if (request.kind !== 'copy') return;
    const { disk, target } = request;
    if (!ready) {
      this.#driver.image(target.image.path).data.set(this.#driver.image(request.source.path).data);
      this.#job(id).ready = true;
      this.#emit({ type: 'job-ready', id });
    }
    if (how !== 'pivot') return;
    this.#active.set(disk, target.image.path);
    this.#end(id, 'completed');
  }

  #end(id: string, outcome: 'completed' | 'cancelled') {
    this.#jobs.delete(id);
    this.#emit({ type: 'job-ended', id, outcome });
  }
}
