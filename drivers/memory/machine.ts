/** A machine without a hypervisor: disks in memory, a copy or a pull per disk, and nothing else. */
import type {
  Capabilities,
  CopyRequest,
  DriverEvent,
  JobRequest,
  JobSnapshot,
  Machine,
  MachineSpec,
  TargetRef,
  TargetSpec,
  Unsubscribe,
} from '../../src/driver.ts';
import { ErrorCode, VirtError } from '../../src/errors.ts';
import type { Timers } from '../../src/util/timers.ts';
import { type MemoryImages, type MemoryWrite, SECTOR_BYTES, UNALLOCATED } from './images.ts';

/** What this driver can do: the suite skips, with that as its reason, what needs more. */
export const MEMORY_CAPABILITIES: Capabilities = {
  hypervisor: 'memory 1.0',
  version: 1_000_000,
  pull: true,
  commit: false,
  activeCommit: false,
  copy: true,
  synchronousWrites: false,
  readyEvent: true,
  copyTuning: true,
  monotonicProgress: true,
};

/** What is copied in one step. */
const CHUNK_SECTORS = 128;
const CHUNK_BYTES = CHUNK_SECTORS * SECTOR_BYTES;
/** How long a step takes where no speed is set. */
const STEP_MS = 1;

interface Job {
  readonly request: JobRequest;
  /** Chunks that still have to be copied. */
  readonly dirty: Set<number>;
  totalBytes: number;
  doneBytes: number;
  speedBytesPerSecond: number;
  ready: boolean;
  ending: 'pivot' | 'abort' | undefined;
  cancelSleep: () => void;
}

/** One running machine. */
export class MemoryMachine implements Machine {
  readonly capabilities = MEMORY_CAPABILITIES;
  readonly #images: MemoryImages;
  readonly #timers: Timers;
  /** The path that each disk writes to. */
  readonly #active = new Map<string, string>();
  readonly #jobs = new Map<string, Job>();
  readonly #listeners = new Set<(event: DriverEvent) => void>();

  constructor(spec: MachineSpec, images: MemoryImages, timers: Timers) {
    this.#images = images;
    this.#timers = timers;
    for (const { target, chain } of spec.disks) this.#active.set(target, chain[0]?.path ?? '');
  }

  /** What a guest would do: writes to the image that its disk has open, and to a copy's destination later. */
  guestWrite(disk: string, write: MemoryWrite): void {
    this.#images.write(this.#activePath(disk), write);
    const first = Math.floor(write.offsetBytes / CHUNK_BYTES);
    const last = Math.floor((write.offsetBytes + write.lengthBytes - 1) / CHUNK_BYTES);
    for (const job of this.#jobs.values()) {
      if (job.request.kind !== 'copy' || job.request.disk !== disk) continue;
      for (let chunk = first; chunk <= last; chunk++) {
        if (!job.dirty.has(chunk)) job.totalBytes += CHUNK_BYTES;
        job.dirty.add(chunk);
      }
      if (job.ready) this.#sleep(job, STEP_MS);
    }
  }

  async prepareTarget({ source, image, backing, reuse }: TargetSpec): Promise<TargetRef> {
    if (!reuse) {
      const capacityBytes = this.#images.open(source.path).sectors.length * SECTOR_BYTES;
      this.#images.create({ ...image, capacityBytes, ...(backing[0] ? { backing: backing[0] } : {}) });
    }
    return { image };
  }

  async discardTarget({ image }: TargetRef): Promise<void> {
    this.#images.remove(image.path);
  }

  async startJob(request: JobRequest): Promise<void> {
    const top = this.#activePath(request.disk);
    const base = baseOf(request, this.#images.open(top).backing?.path);
    const dirty = new Set<number>();
    for (let sector = 0; sector < this.#images.open(top).sectors.length; sector++)
      if (this.#images.read(top, sector, base) !== UNALLOCATED) dirty.add(Math.floor(sector / CHUNK_SECTORS));
    const job: Job = {
      request,
      dirty,
      totalBytes: dirty.size * CHUNK_BYTES,
      doneBytes: 0,
      speedBytesPerSecond: Number(request.speedBytesPerSecond),
      ready: false,
      ending: undefined,
      cancelSleep: () => {},
    };
    this.#jobs.set(request.id, job);
    this.#sleep(job, STEP_MS);
  }

  async concludeJob(id: string, how: 'pivot' | 'abort'): Promise<void> {
    const job = this.#job(id);
    job.ending = how;
    this.#sleep(job, STEP_MS);
  }

  async setJobSpeed(id: string, bytesPerSecond: number | bigint): Promise<void> {
    const job = this.#job(id);
    job.speedBytesPerSecond = Number(bytesPerSecond);
    if (!job.ready) this.#sleep(job, STEP_MS);
  }

  async jobs(): Promise<readonly JobSnapshot[]> {
    return [...this.#jobs.values()].map((job) => ({
      id: job.request.id,
      phase: job.ready ? 'ready' : 'running',
      current: job.doneBytes,
      total: job.totalBytes,
      ready: job.ready,
      speedBytesPerSecond: job.speedBytesPerSecond,
    }));
  }

  async chains() {
    return [...this.#active].map(([disk, path]) => ({ disk, paths: [path] }));
  }

  /** Images are not opened here, so there is nothing to close. */
  async releaseImages(): Promise<void> {}

  async pause(): Promise<void> {
    this.#emit({ type: 'paused', reason: 'user' });
  }

  async resume(): Promise<void> {
    this.#emit({ type: 'resumed' });
  }

  async powerdown(): Promise<void> {
    this.#emit({ type: 'powerdown-requested' });
  }

  async monitorCommand(): Promise<string> {
    throw new VirtError(ErrorCode.OPERATION_UNSUPPORTED, 'this driver has no monitor');
  }

  async destroy(): Promise<void> {
    for (const job of this.#jobs.values()) job.cancelSleep();
    this.#jobs.clear();
    this.#emit({ type: 'gone', reason: 'destroyed' });
    this.#listeners.clear();
  }

  onEvent(listener: (event: DriverEvent) => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #activePath(disk: string): string {
    return this.#active.get(disk) ?? '';
  }

  #job(id: string): Job {
    const job = this.#jobs.get(id);
    if (job) return job;
    throw new VirtError(ErrorCode.INTERNAL_ERROR, `no job ${id}`);
  }

  #emit(event: DriverEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  #sleep(job: Job, delayMs: number): void {
    job.cancelSleep();
    job.cancelSleep = this.#timers.after(delayMs, () => this.#step(job));
  }

  /** One chunk, then a sleep as long as its speed asks for; without a chunk, the next phase. */
  #step(job: Job): void {
    const [chunk] = job.dirty;
    if (job.ending === 'abort' && !job.ready) this.#end(job, 'cancelled');
    else if (chunk !== undefined) {
      job.dirty.delete(chunk);
      this.#copyChunk(job.request, chunk);
      job.doneBytes += CHUNK_BYTES;
      const speed = job.speedBytesPerSecond;
      this.#sleep(job, speed > 0 ? (CHUNK_BYTES * 1000) / speed : STEP_MS);
    } else if (job.request.kind === 'copy') this.#synchronised(job, job.request);
    else {
      this.#images.open(this.#activePath(job.request.disk)).backing = undefined;
      this.#end(job, 'completed');
    }
  }

  /** Both sides are equal: announces it once, and ends the job if that was asked for. */
  #synchronised(job: Job, { id, disk, target }: CopyRequest): void {
    if (!job.ready) {
      job.ready = true;
      this.#emit({ type: 'job-ready', id });
    }
    if (job.ending === 'pivot') this.#active.set(disk, target.image.path);
    if (job.ending) this.#end(job, job.ending === 'pivot' ? 'completed' : 'cancelled');
  }

  #copyChunk(request: JobRequest, chunk: number): void {
    const from = this.#activePath(request.disk);
    const to = request.kind === 'copy' ? request.target.image.path : from;
    const base = baseOf(request, this.#images.open(from).backing?.path);
    const { sectors } = this.#images.open(to);
    const end = Math.min((chunk + 1) * CHUNK_SECTORS, sectors.length);
    for (let sector = chunk * CHUNK_SECTORS; sector < end; sector++) {
      const byte = this.#images.read(from, sector, base);
      if (byte !== UNALLOCATED) sectors[sector] = byte;
    }
  }

  #end(job: Job, outcome: 'completed' | 'cancelled'): void {
    this.#jobs.delete(job.request.id);
    this.#emit({ type: 'job-ended', id: job.request.id, outcome });
  }
}

/** Where a job stops reading: a shallow copy at the backing file, all others at the end of the chain. */
function baseOf(request: JobRequest, backingPath: string | undefined): string | undefined {
  return request.kind === 'copy' && request.shallow ? backingPath : undefined;
}
