/** One simulated machine: clock, block graph, jobs, devices and run state, tied together. */
import type { Clock } from './clock.ts';
import type { Data } from './data.ts';
import type { Errno } from './errno.ts';
import { Faults } from './faults.ts';
import { BlockBackend } from './graph/backend.ts';
import { BlockGraph, unlock } from './graph/graph.ts';
import type { BlockNode } from './graph/node.ts';
import { imageBelow } from './graph/open.ts';
import type { ImageStore } from './images.ts';
import type { DeviceSpeed } from './jobs/effects.ts';
import type { IoEffect, JobHost } from './jobs/host.ts';
import type { Job } from './jobs/job.ts';
import { JobRegistry } from './jobs/registry.ts';
import type { Random } from './random.ts';
import type { Traits } from './traits.ts';

/** QAPI RunState, as far as it is simulated. */
export type RunState = 'prelaunch' | 'running' | 'paused' | 'shutdown' | 'io-error' | 'guest-panicked';

/** A guest device. */
export interface Device {
  /** Undefined: it got none. */
  readonly id: string | undefined;
  readonly driver: string;
  /** QOM path. */
  readonly path: string;
  readonly backend: BlockBackend | undefined;
}

/** What a machine gets from outside. */
export interface VmOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly images: ImageStore;
  readonly traits: Traits;
  readonly speed?: DeviceSpeed;
  readonly emit: (event: string, data?: Data) => void;
  readonly print: (stream: 'stdout' | 'stderr', text: string) => void;
  readonly exit: (code: number | null, signal: 'SIGKILL' | 'SIGABRT' | null) => void;
}

// A fast disk: nothing in a test should wait for it, yet time passes.
const DEFAULT_SPEED: DeviceSpeed = { requestNs: 50_000, bytesPerSecond: 2 ** 30 };

/** A machine. */
export class Vm implements JobHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly images: ImageStore;
  readonly graph: BlockGraph;
  readonly traits: Traits;
  readonly jobs: JobRegistry;
  readonly faults = new Faults();
  readonly devices: Device[] = [];
  /** Asked to go, waiting for the guest or a reset. */
  readonly unplugging = new Set<Device>();
  /** Files that clients have handed over by name (QMP: getfd), each with the bytes that were written to it. */
  readonly descriptors = new Map<string, number[]>();
  /** Files that have arrived with a client's bytes and have no name yet. */
  readonly received: number[][] = [];
  readonly options: VmOptions;
  readonly #speed: DeviceSpeed;
  #soon: (() => void)[] = [];
  #settling = false;
  name: string | undefined;
  uuid = '00000000-0000-0000-0000-000000000000';
  runState: RunState = 'prelaunch';
  /** Guest requests held back by a drained section. */
  readonly #heldBack: (() => void)[] = [];

  constructor(options: VmOptions) {
    this.options = options;
    this.clock = options.clock;
    this.random = options.random;
    this.images = options.images;
    this.traits = options.traits;
    this.#speed = options.speed ?? DEFAULT_SPEED;
    this.graph = new BlockGraph(options.random);
    this.jobs = new JobRegistry(this);
  }

  emit(event: string, data?: Data): void {
    this.options.emit(event, data);
  }

  soon(run: () => void): void {
    this.#soon.push(run);
  }

  /** Runs what the main loop has to do before it waits. */
  settle(): void {
    if (this.#settling) return;
    this.#settling = true;
    while (this.#soon.length > 0) {
      const batch = this.#soon;
      this.#soon = [];
      for (const run of batch) run();
    }
    this.#settling = false;
    this.#releaseGuest();
  }

  costNs({ op, bytes }: Pick<IoEffect, 'op' | 'bytes'>): number {
    const { requestNs, bytesPerSecond } = this.#speed;
    // Zeroing and flushing move no bytes.
    return op === 'read' || op === 'write' ? requestNs + (bytes / bytesPerSecond) * 1e9 : requestNs;
  }

  ioError(effect: IoEffect): Errno | undefined {
    const { at, op, node, offset, bytes } = effect;
    const fault = this.faults.check(at, offset, bytes);
    if (fault !== undefined || op !== 'write') return fault;
    const image = imageBelow(node);
    if (image?.capacityBytes === undefined) return undefined;
    return image.extents.coveredBytes + bytes > image.capacityBytes ? 'ENOSPC' : undefined;
  }

  jobEnded(job: Job): void {
    job.transaction?.ended(job);
  }

  /**
   * Holds all of the given jobs still (a drained section), then calls back; jobs that sleep stand still at once, jobs
   * with a request in flight finish it first.
   */
  drain(jobs: readonly Job[], then: () => void): void {
    let moving = 1;
    const stopped = () => {
      if (--moving === 0) then();
    };
    for (const job of jobs) {
      job.pause();
      if (job.quiescent) continue;
      moving++;
      job.onQuiescent = () => this.soon(stopped);
    }
    stopped();
  }

  /** Ends a drained section. */
  undrain(jobs: readonly Job[]): void {
    for (const job of jobs) job.resume();
  }

  /** Jobs whose work a drained section on these nodes would interrupt. */
  jobsOn(nodes: readonly BlockNode[]): Job[] {
    return this.jobs.jobs.filter((job) => job.edges.some(({ child }) => nodes.includes(child)));
  }

  /** Lets a guest request through as soon as no drained section holds its node. */
  whenGuestMay(node: BlockNode, run: () => void): void {
    if (isDrained(node)) this.#heldBack.push(() => this.whenGuestMay(node, run));
    else run();
  }

  #releaseGuest(): void {
    for (const run of this.#heldBack.splice(0)) run();
  }

  /** A device's backend over a node; `name` as -drive's id. */
  addBackend(name: string, node: BlockNode | undefined): BlockBackend {
    const backend = new BlockBackend(name);
    if (node) {
      backend.root = this.graph.hold({ kind: 'backend', backend }, 'root', node);
      backend.readOnly = node.readOnly;
    }
    this.graph.backends.push(backend);
    return backend;
  }

  /** Takes a backend away. */
  removeBackend(backend: BlockBackend): void {
    this.graph.letGo(backend.root);
    const { backends } = this.graph;
    backends.splice(backends.indexOf(backend), 1);
  }

  get running(): boolean {
    return this.runState === 'running';
  }

  /** Starts the CPUs. */
  resume(): void {
    if (this.running) return;
    this.runState = 'running';
    this.emit('RESUME');
  }

  /** Stops the CPUs. */
  pause(state: RunState): void {
    const wasRunning = this.running;
    if (wasRunning || state !== 'paused') this.runState = state;
    if (wasRunning) this.emit('STOP');
  }

  /** Ends the process in order: jobs are cancelled, images flushed and closed. */
  shutDown(reason: 'host-qmp-quit' | 'host-signal'): void {
    this.emit('SHUTDOWN', { guest: false, reason });
    const moving = this.jobs.jobs.filter((job) => !job.deferred && job.status !== 'concluded');
    this.drain(moving, () => undefined);
    this.undrain(moving);
    this.jobs.cancelAll();
    this.settle();
    this.closeImages();
  }

  /** Closes every node, flushing what is still in memory. */
  closeImages(): void {
    for (const backend of [...this.graph.backends]) this.removeBackend(backend);
    for (const node of [...this.graph.nodes.values()].reverse()) {
      node.monitorOwned = false;
      this.graph.collect(node);
    }
  }

  /** The process is killed: what was not flushed may be lost, locks are freed. */
  crash(): void {
    for (const node of this.graph.nodes.values()) {
      for (const { start, end, tag } of node.pending?.extents ?? []) {
        // QEMU may have written a metadata table back early, for want of memory.
        if (this.random.chance(1 / 4)) node.image?.extents.set(start, end, tag);
      }
      node.image?.save();
      unlock(node);
    }
  }
}

function isDrained(node: BlockNode): boolean {
  return node.drains > 0 || (node.filtered !== undefined && isDrained(node.filtered.child));
}
