/** The smallest backend that keeps every contract: a driver in memory, without QMP, on a virtual clock. */
import { canonicalRuns } from '../../../conformance/model.ts';
import type { ImageSpec, Run, Session, Target, Write } from '../../../conformance/target.ts';
import type {
  CopyRequest,
  DriverEvent,
  HypervisorDriver,
  ImageRef,
  JobRequest,
  JobSnapshot,
  Machine,
  MachineSpec,
  TargetSpec,
  Timers,
  VolumeInfo,
} from '../../../src/index.ts';
import { openConnection } from '../../../src/index.ts';

const SECTOR = 512;
const CHUNK = 128;
const UNALLOCATED = -1;

interface FakeImage {
  readonly format: string;
  readonly sectors: Int16Array;
  backing: { readonly path: string; readonly format: string } | undefined;
}

/** Time that jumps to the next timer once the program has nothing else to do. */
export function virtualTimers(): Timers {
  let nowMs = 0;
  let order = 0;
  const pending = new Set<{ readonly at: number; readonly order: number; readonly callback: () => void }>();
  let isPumping = false;
  const pump = () => {
    const [next] = [...pending].sort((left, right) => left.at - right.at || left.order - right.order);
    isPumping = next !== undefined;
    if (!next) return;
    pending.delete(next);
    nowMs = Math.max(nowMs, next.at);
    next.callback();
    setImmediate(pump);
  };
  return {
    now: () => nowMs,
    after(delayMs, callback) {
      const timer = { at: nowMs + delayMs, order: order++, callback };
      pending.add(timer);
      if (!isPumping) setImmediate(pump);
      isPumping = true;
      return () => pending.delete(timer);
    },
  };
}

class FakeImages {
  readonly files = new Map<string, FakeImage>();

  open(path: string): FakeImage {
    const image = this.files.get(path);
    if (!image) throw new Error(`no image at ${path}`);
    return image;
  }

  create(path: string, format: string, capacityBytes: number, backing?: FakeImage['backing']): void {
    this.files.set(path, {
      format,
      backing,
      sectors: new Int16Array(capacityBytes / SECTOR).fill(UNALLOCATED),
    });
  }

  write(path: string, { offsetBytes, lengthBytes, byte }: Write): void {
    this.open(path).sectors.fill(byte, offsetBytes / SECTOR, (offsetBytes + lengthBytes) / SECTOR);
  }

  /** The byte of a sector as read through the chain down to, not including, `base`. */
  read(path: string | undefined, sector: number, base?: string): number {
    for (let at = path; at !== undefined && at !== base; at = this.open(at).backing?.path) {
      const byte = this.open(at).sectors[sector] ?? UNALLOCATED;
      if (byte !== UNALLOCATED) return byte;
    }
    return UNALLOCATED;
  }

  contents(path: string): Run[] {
    const runs: Run[] = [];
    for (let sector = 0; sector < this.open(path).sectors.length; sector++)
      runs.push({
        offsetBytes: sector * SECTOR,
        lengthBytes: SECTOR,
        byte: Math.max(0, this.read(path, sector)),
      });
    return canonicalRuns(runs);
  }
}

interface FakeJob {
  readonly request: JobRequest;
  /** Chunks still to be copied. */
  readonly dirty: Set<number>;
  total: number;
  current: number;
  speed: number;
  ready: boolean;
  ending: 'pivot' | 'abort' | undefined;
  cancelSleep: () => void;
}

class FakeMachine implements Machine {
  readonly capabilities = { hypervisor: 'fake', version: 1_000_000, ...FAKE_CAPABILITIES };
  readonly #images: FakeImages;
  readonly #timers: Timers;
  readonly #active = new Map<string, string>();
  readonly #jobs = new Map<string, FakeJob>();
  readonly #listeners = new Set<(event: DriverEvent) => void>();

  constructor(spec: MachineSpec, images: FakeImages, timers: Timers) {
    this.#images = images;
    this.#timers = timers;
    for (const { target, chain } of spec.disks) this.#active.set(target, chain[0]?.path ?? '');
  }

  guestWrite(disk: string, write: Write): void {
    this.#images.write(this.#active.get(disk) ?? '', write);
    for (const job of this.#jobs.values()) {
      if (job.request.kind !== 'copy') continue;
      const [first, last] = [write.offsetBytes, write.offsetBytes + write.lengthBytes - SECTOR];
      for (let chunk = chunkOf(first); chunk <= chunkOf(last); chunk++) {
        if (!job.dirty.has(chunk)) job.total += CHUNK * SECTOR;
        job.dirty.add(chunk);
      }
      if (job.ready) this.#sleep(job, 1);
    }
  }

  async prepareTarget({ source, image, reuse }: TargetSpec) {
    const { sectors, backing } = this.#images.open(source.path);
    if (!reuse) this.#images.create(image.path, image.format, sectors.length * SECTOR, backing);
    return { image };
  }

  async discardTarget({ image }: { readonly image: ImageRef }) {
    this.#images.files.delete(image.path);
  }

  async startJob(request: JobRequest) {
    const job: FakeJob = {
      request,
      dirty: new Set(),
      total: 0,
      current: 0,
      speed: Number(request.speedBytesPerSecond),
      ready: false,
      ending: undefined,
      cancelSleep: () => {},
    };
    const top = request.kind === 'copy' ? request.source.path : this.#active.get(request.disk);
    const image = this.#images.open(top ?? '');
    if (request.kind === 'copy' && !request.shallow)
      this.#images.open(request.target.image.path).backing = undefined;
    const base = request.kind === 'copy' && request.shallow ? image.backing?.path : undefined;
    for (let sector = 0; sector < image.sectors.length; sector++)
      if (this.#images.read(top, sector, base) !== UNALLOCATED) job.dirty.add(Math.floor(sector / CHUNK));
    job.total = job.dirty.size * CHUNK * SECTOR;
    this.#jobs.set(request.id, job);
    this.#sleep(job, 1);
  }

  async concludeJob(id: string, how: 'pivot' | 'abort') {
    const job = this.#job(id);
    job.ending = how;
    this.#sleep(job, 1);
  }

  async setJobSpeed(id: string, bytesPerSecond: number | bigint) {
    const job = this.#job(id);
    job.speed = Number(bytesPerSecond);
    if (!job.ready) this.#sleep(job, 1);
  }

  async jobs(): Promise<readonly JobSnapshot[]> {
    return [...this.#jobs.values()].map((job) => ({
      id: job.request.id,
      phase: job.ready ? 'ready' : 'running',
      current: job.current,
      total: job.total,
      ready: job.ready,
      speedBytesPerSecond: job.speed,
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
    return '';
  }

  async destroy() {
    for (const job of this.#jobs.values()) job.cancelSleep();
    this.#jobs.clear();
    this.#emit({ type: 'gone', reason: 'destroyed' });
    this.#listeners.clear();
  }

  onEvent(listener: (event: DriverEvent) => void) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #job(id: string): FakeJob {
    const job = this.#jobs.get(id);
    if (!job) throw new Error(`no job ${id}`);
    return job;
  }

  #emit(event: DriverEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  #sleep(job: FakeJob, delayMs: number): void {
    job.cancelSleep();
    job.cancelSleep = this.#timers.after(delayMs, () => this.#work(job));
  }

  /** One chunk, then a sleep as long as its speed asks for; without a chunk, the next phase. */
  #work(job: FakeJob): void {
    const [chunk] = job.dirty;
    if (job.ending === 'abort' && !job.ready) this.#end(job, 'cancelled');
    else if (chunk !== undefined) {
      job.dirty.delete(chunk);
      this.#copyChunk(job.request, chunk);
      job.current += CHUNK * SECTOR;
      this.#sleep(job, job.speed > 0 ? (CHUNK * SECTOR * 1000) / job.speed : 1);
    } else if (job.request.kind === 'copy') this.#synchronised(job, job.request);
    else {
      this.#images.open(this.#active.get(job.request.disk) ?? '').backing = undefined;
      this.#end(job, 'completed');
    }
  }

  #synchronised(job: FakeJob, { id, disk, target }: CopyRequest): void {
    if (!job.ready) {
      job.ready = true;
      this.#emit({ type: 'job-ready', id });
    }
    if (job.ending === 'pivot') this.#active.set(disk, target.image.path);
    if (job.ending) this.#end(job, job.ending === 'pivot' ? 'completed' : 'cancelled');
  }

  #copyChunk(request: JobRequest, chunk: number): void {
    const from = request.kind === 'copy' ? request.source.path : (this.#active.get(request.disk) ?? '');
    const to = request.kind === 'copy' ? request.target.image.path : from;
    const base = isShallow(request) ? this.#images.open(from).backing?.path : undefined;
    const { sectors } = this.#images.open(to);
    for (let sector = chunk * CHUNK; sector < Math.min((chunk + 1) * CHUNK, sectors.length); sector++) {
      const byte = this.#images.read(from, sector, base);
      if (byte !== UNALLOCATED) sectors[sector] = byte;
    }
  }

  #end(job: FakeJob, outcome: 'completed' | 'cancelled'): void {
    this.#jobs.delete(job.request.id);
    this.#emit({ type: 'job-ended', id: job.request.id, outcome });
  }
}

const FAKE_CAPABILITIES = {
  pull: true,
  commit: false,
  activeCommit: false,
  copy: true,
  synchronousWrites: false,
  readyEvent: true,
  copyTuning: true,
  monotonicProgress: true,
};

const chunkOf = (offsetBytes: number) => Math.floor(offsetBytes / SECTOR / CHUNK);
const isShallow = (request: JobRequest): request is CopyRequest => request.kind === 'copy' && request.shallow;

function openFake(): Session {
  const timers = virtualTimers();
  const images = new FakeImages();
  const machines = new Map<string, FakeMachine>();
  const driver: HypervisorDriver = {
    name: 'fake',
    timers,
    volumes: {
      create: async ({ path, format, capacityBytes, backing }) =>
        images.create(path, format, capacityBytes, backing),
      inspect: async (path): Promise<VolumeInfo> => {
        const { format, sectors, backing } = images.open(path);
        return {
          path,
          format,
          capacityBytes: sectors.length * SECTOR,
          ...(backing ? { backing: { ...backing, name: backing.path } } : {}),
        };
      },
      stat: async (path) => (images.files.has(path) ? { kind: 'file', sizeBytes: 1 } : undefined),
      remove: async (path) => void images.files.delete(path),
    },
    async start(spec) {
      const machine = new FakeMachine(spec, images, timers);
      machines.set(spec.name, machine);
      return machine;
    },
    async close() {
      for (const machine of machines.values()) await machine.destroy();
    },
  };
  const connection = openConnection({ uri: 'fake:///', driver });
  return {
    connection,
    directory: '/images',
    async createImage({ path, format, capacityBytes, backing, writes }: ImageSpec) {
      images.create(path, format, capacityBytes, backing);
      for (const write of writes) images.write(path, write);
    },
    contents: async (path) => images.contents(path),
    guest: (domainName, disk) => ({
      write: async (write) => machines.get(domainName)?.guestWrite(disk, write),
      flush: async () => {},
    }),
    dispose: () => connection.close(),
  };
}

/** A target over the fake driver; it has no wire. */
export const fakeTarget: Target = {
  id: 'fake',
  title: 'a driver in memory',
  runs: 30,
  available: async () => ({ ok: true, version: 'fake 1', capabilities: FAKE_CAPABILITIES }),
  open: async () => openFake(),
};
