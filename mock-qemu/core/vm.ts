/** One simulated machine: clock, block graph, jobs, devices and run state, tied together. */
import type { Clock } from './clock.ts';
import type { Data } from './data.ts';
import type { Errno } from './errno.ts';
import { Exports } from './exports.ts';
import { Faults, type Passing } from './faults/faults.ts';
import { ProcessGone, performFault } from './faults/perform.ts';
import type { Fault } from './faults/plan.ts';
import type { FaultPoint, StepPoint } from './faults/points.ts';
import { BlockBackend } from './graph/backend.ts';
import { earlyDebugError, hasDebugBelow, lateDebugError } from './graph/blkdebug.ts';
import { lacksRoom } from './graph/capacity.ts';
import { holdsOn } from './graph/data.ts';
import { statusError } from './graph/debug-status.ts';
import { BlockGraph, closeImage } from './graph/graph.ts';
import type { BlockNode } from './graph/node.ts';
import { imageBelow } from './graph/open.ts';
import { childrenOf } from './graph/permissions.ts';
import { GuestClock } from './guest/guest-clock.ts';
import { GuestLoad, type LoadOptions } from './guest/load.ts';
import type { ImageStore } from './images.ts';
import type { DeviceSpeed } from './jobs/effects.ts';
import type { JobHost } from './jobs/host.ts';
import type { Job } from './jobs/job.ts';
import { JobRegistry } from './jobs/registry.ts';
import { Migration } from './migration.ts';
import { hasRemoteBelow, isConnectionLost, NbdNetwork } from './nbd.ts';
import type { Random } from './random.ts';
import { filterError, noteFailure, passingOf, pointsOf, type Request } from './request.ts';
import type { Rights } from './rights.ts';
import type { DeathSignal } from './surface.ts';
import { type ThrottleGroup, ThrottleGroups } from './throttle.ts';
import type { MachineBugs, Traits } from './traits.ts';

/** QAPI RunState, as far as it is simulated. */
export type RunState =
  | 'prelaunch'
  | 'running'
  | 'paused'
  | 'shutdown'
  | 'io-error'
  | 'guest-panicked'
  | 'restore-vm'
  | 'inmigrate'
  | 'postmigrate';

/** QAPI ShutdownCause, as far as it is simulated. */
export type ShutdownReason =
  | 'host-qmp-quit'
  | 'host-signal'
  | 'guest-shutdown'
  | 'guest-reset'
  | 'guest-panic';

/** A guest device. */
export interface Device {
  /** Undefined: it got none. */
  readonly id: string | undefined;
  readonly driver: string;
  /** QOM path. */
  readonly path: string;
  readonly backend: BlockBackend | undefined;
  /** Its place on the bus. */
  readonly slot: number;
}

/** What a machine gets from outside. */
export interface VmOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly images: ImageStore;
  readonly traits: Traits;
  readonly bugs: MachineBugs;
  /** The other machines that can be reached; left out: none. */
  readonly network?: NbdNetwork | undefined;
  readonly speed?: DeviceSpeed;
  readonly emit: (event: string, data?: Data) => void;
  readonly print: (stream: 'stdout' | 'stderr', text: string) => void;
  readonly exit: (code: number | null, signal: DeathSignal | null) => void;
  /** Nothing moves any more, but nothing is closed either. */
  readonly hang: () => void;
  /** Ends the connections of all clients. */
  readonly closeAll: () => void;
}

// A fast disk: nothing in a test should wait for it, yet time passes.
const DEFAULT_SPEED: DeviceSpeed = { requestNs: 50_000, bytesPerSecond: 2 ** 30 };

/** How many small requests it takes others to make an image, its file first, its tables, and what makes them last. */
const MANY_REQUESTS = 400;

/** A machine. */
export class Vm implements JobHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly images: ImageStore;
  readonly graph: BlockGraph;
  readonly traits: Traits;
  readonly bugs: MachineBugs;
  readonly jobs: JobRegistry;
  readonly faults: Faults;
  readonly devices: Device[] = [];
  /** Asked to go, waiting for the guest or a reset; with how long the guest had run by then, in milliseconds. */
  readonly unplugging = new Map<Device, { readonly guestMs: number }>();
  /** Files that clients have handed over by name (QMP: getfd), each with the bytes that were written to it. */
  readonly descriptors = new Map<string, number[]>();
  /** Files that have arrived with a client's bytes and have no name yet. */
  readonly received: number[][] = [];
  readonly options: VmOptions;
  readonly #speed: DeviceSpeed;
  #soon: (() => void)[] = [];
  #settling = false;
  /** Drained sections that wait for a job to stand still. */
  #draining = 0;
  readonly #whenStill: (() => void)[] = [];
  /** The process ends: nothing is waited for. */
  #isClosing = false;
  readonly #startedNs: number;
  #stalledUntilNs = 0;
  name: string | undefined;
  uuid = '00000000-0000-0000-0000-000000000000';
  runState: RunState = 'prelaunch';
  /** Whether the machine has a board that can sleep. */
  canSuspend = true;
  /** What the command line says about the guest's own doings. */
  readonly guestActions = { shutdown: 'poweroff', reboot: 'reset', panic: 'shutdown' };
  /** Guest requests held back by a drained section. */
  readonly #heldBack: (() => void)[] = [];
  /** How long the CPUs have run. */
  readonly guestClock: GuestClock;
  readonly throttles = new ThrottleGroups();
  readonly network: NbdNetwork;
  readonly exports: Exports;
  /** The host dies with the process: what it was to write is lost with it. */
  powerLost = false;
  readonly migration = new Migration();
  /** Somebody has let the CPUs run before there was a state to run from. */
  runsAfterMigration = false;
  /** What object-add and -object made, by id. */
  readonly objects = new Map<string, { readonly type: string; readonly options: Data }>();
  /** Guests that keep writing, by the disk. */
  readonly loads = new Map<BlockBackend, GuestLoad>();
  /** Guest requests that wait for the CPUs, or are to be tried again when they run. */
  readonly #waitForCpus: (() => void)[] = [];

  constructor(options: VmOptions) {
    this.options = options;
    this.clock = options.clock;
    this.random = options.random;
    this.images = options.images;
    this.traits = options.traits;
    this.network = options.network ?? new NbdNetwork();
    this.exports = new Exports(this);
    this.bugs = options.bugs;
    this.#speed = options.speed ?? DEFAULT_SPEED;
    this.#startedNs = options.clock.now();
    this.guestClock = new GuestClock(options.clock);
    this.faults = new Faults(() => this.clock.now() - this.#startedNs);
    this.graph = new BlockGraph(options.random, options.traits.imageLocking);
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

  costNs(request: Pick<Request, 'op' | 'bytes'>): number {
    const { op, bytes } = request;
    const { requestNs, bytesPerSecond } = this.#speed;
    // Zeroing and flushing move no bytes.
    return op === 'read' || op === 'write' ? requestNs + (bytes / bytesPerSecond) * 1e9 : requestNs;
  }

  /** How long the filters below a node hold a request up. */
  throttleNs(request: Request): number {
    if (!this.throttles.any) return 0;
    let ns = 0;
    for (const group of groupsBelow(request.node)) ns += group.delayNs(this.clock.now() + ns, request);
    return ns;
  }

  delayNs(request: Request): number {
    if (!this.faults.any) return 0;
    const passing = passingOf(request);
    const met = pointsOf(request).flatMap((at) => this.faults.meet(at, passing, 'delay'));
    return met.reduce((sum, { delayNs = 0 }) => sum + delayNs, 0);
  }

  ioError(effect: Request): Errno | undefined {
    return filterError(effect) ?? this.earlyError(effect) ?? this.lateError(effect);
  }

  earlyError(effect: Request): Errno | undefined {
    const error = earlyDebugError(effect.node, effect);
    if (error !== undefined) noteFailure(effect, true);
    return error;
  }

  faultError(effect: Request): Errno | undefined {
    if (!this.faults.any) return undefined;
    const passing = passingOf(effect);
    let error: Errno | undefined;
    for (const at of pointsOf(effect)) error ??= this.#perform(this.faults.meet(at, passing));
    return error;
  }

  lateError(effect: Request): Errno | undefined {
    const { op, node, offset, bytes } = effect;
    const lost = isConnectionLost(node) ? 'EIO' : undefined;
    const met = this.faultError(effect) ?? lateDebugError(node, effect) ?? lost;
    const error = met ?? (op === 'write' && lacksRoom(node, offset, bytes) ? 'ENOSPC' : undefined);
    if (error !== undefined) noteFailure(effect, false);
    return error;
  }

  statusError(top: BlockNode, base: BlockNode | undefined, offset: number, bytes: number): Errno | undefined {
    return statusError(top, base, offset, bytes);
  }

  mayFail(source: BlockNode, target: BlockNode): boolean {
    if (this.faults.any || imageBelow(target)?.capacityBytes !== undefined) return true;
    if (hasRemoteBelow(source) || hasRemoteBelow(target)) return true;
    if (groupsBelow(source).length > 0 || groupsBelow(target).length > 0) return true;
    return hasDebugBelow(source) || hasDebugBelow(target);
  }

  reach(point: StepPoint): Errno | undefined {
    return this.faults.any ? this.#perform(this.faults.meet(point)) : undefined;
  }

  /** A message or a command passes a point: carries out what concerns the machine, hands back the rest. */
  pass(point: FaultPoint, passing: Passing): { readonly delayNs: number; readonly faults: readonly Fault[] } {
    const delays = this.faults.meet(point, passing, 'delay');
    const faults = this.faults.meet(point, passing);
    for (const fault of faults) if (fault.do !== 'close') performFault(this, fault);
    return { delayNs: delays.reduce((sum, { delayNs = 0 }) => sum + delayNs, 0), faults };
  }

  #perform(faults: readonly Fault[]): Errno | undefined {
    let error: Errno | undefined;
    for (const fault of faults) {
      performFault(this, fault);
      if (fault.do === 'error') error ??= fault.errno ?? 'EIO';
    }
    return error;
  }

  /** Puts a fault in force. */
  addFault(fault: Fault): void {
    this.catchUp();
    this.faults.add(fault);
    this.#wakeJobs();
    this.catchUp();
    if (fault.at !== 'at-time') return;
    const atNs = this.#startedNs + (fault.atNs ?? 0);
    this.clock.after(atNs - this.clock.now(), () => {
      if (this.faults.has(fault)) this.#perform(this.faults.meet('at-time'));
    });
  }

  /** Keeps commands from being executed for a while. */
  stall(ns: number): void {
    this.#stalledUntilNs = Math.max(this.#stalledUntilNs, this.clock.now() + ns);
  }

  /** How long a command has to wait now. */
  get stallNs(): number {
    return Math.max(0, this.#stalledUntilNs - this.clock.now());
  }

  /** The process ends here and now; never returns. */
  die(code: number | null, signal: DeathSignal | null): never {
    this.options.exit(code, signal);
    throw new ProcessGone();
  }

  /** The process stops for good; never returns. */
  hang(): never {
    this.options.hang();
    throw new ProcessGone();
  }

  jobEnded(job: Job): void {
    job.ended = true;
    job.transaction?.ended(job);
    job.onSettled?.();
  }

  /**
   * Holds all of the given jobs still (a drained section), then calls back; jobs that sleep stand still at once, jobs
   * with a request in flight finish it first.
   */
  drain(jobs: readonly Job[], then: () => void): void {
    let moving = 1;
    this.#draining++;
    const stopped = () => {
      if (--moving > 0) return;
      then();
      this.#draining--;
      if (this.#draining === 0) for (const run of this.#whenStill.splice(0)) run();
    };
    for (const job of jobs) job.pause();
    for (const job of new Set(jobs)) {
      job.letThrough();
      if (job.quiescent && !job.ending) continue;
      moving++;
      // Another section may wait for it already.
      if (job.ending) job.onSettled = inTurn(job.onSettled, stopped);
      else job.onQuiescent = inTurn(job.onQuiescent, () => this.soon(stopped));
    }
    stopped();
  }

  /** Runs something when no drained section waits for a job any more: what a command does and says after it has drained. */
  whenStill(run: () => void): void {
    if (this.#draining === 0 || this.#isClosing) run();
    else this.#whenStill.push(run);
  }

  get sections(): number {
    return this.#draining;
  }

  /** Something takes many requests to files: jobs get on with theirs until they rest, or until it is done. */
  letOthersWork(then: () => void): void {
    const doneNs = this.clock.now() + MANY_REQUESTS * this.#speed.requestNs;
    const look = (): void => {
      const rests = this.jobs.jobs.every((job) => !job.asks);
      if (rests || this.clock.now() >= doneNs) then();
      else this.clock.after(this.#speed.requestNs, look);
    };
    look();
  }

  /** Holds every job still for a moment, so many times in a row. */
  flapAll(times = 1, then?: () => void): void {
    this.#flap(() => this.jobsOnAnyNode(), times, then);
  }

  /**
   * Drained sections in a row, none of which lasts: jobs above the node flap. A job that moved before the first section
   * works between them, and is waited for.
   */
  flap(node: BlockNode, times: number, then?: () => void): void {
    this.#flap(() => this.jobsAbove(node), times, then);
  }

  /** As {@link flap}, but of the jobs on what the node rests on, alone or `with` those above it. */
  flapBelow(node: BlockNode, times: number, how: 'alone' | 'with' = 'alone', then?: () => void): void {
    this.#flap(() => this.jobsAround(node, how), times, then);
  }

  flapAroundChild(node: BlockNode, above: BlockNode, times: number): void {
    this.#flap(() => this.jobsAroundChild(node, above), times);
  }

  #flap(held: () => readonly Job[], times: number, then: () => void = () => undefined): void {
    if (times === 0) {
      then();
      return;
    }
    const jobs = held();
    this.drain(jobs, () => {
      this.undrain(jobs);
      this.#flap(held, times - 1, then);
    });
  }

  /** A drained section over one node alone: jobs that work above it flap once. */
  flapOver(node: BlockNode): void {
    this.flapNow([...new Set(this.#jobsMet(node, true))]);
  }

  /** One drained section that is over at once: jobs that are busy do not notice. */
  flapNow(jobs: readonly Job[]): void {
    this.drain(jobs, () => undefined);
    this.undrain(jobs);
  }

  /** Begins a drained section on a node that nobody will end. */
  holdForGood(node: BlockNode): void {
    for (const job of this.#jobsMet(node, true)) job.pause();
    node.heldForGood++;
  }

  /** Ends a drained section. */
  undrain(jobs: readonly Job[]): void {
    for (const job of jobs) job.resume();
  }

  /**
   * Jobs whose work a drained section on a node interrupts: those that use it or something above it, in the order in which
   * they are met. One that is met several times is held as often: it goes on when the last of these is over.
   */
  jobsAbove(node: BlockNode): Job[] {
    return this.traits.drainsAreGlobal ? this.jobsOnAnyNode() : this.#jobsMet(node, true);
  }

  /** Jobs that a drained section on a node and on all that it rests on interrupts, `with` those above the node or not. */
  jobsAround(node: BlockNode, how: 'alone' | 'with' = 'with'): Job[] {
    if (this.traits.drainsAreGlobal) return this.jobsOnAnyNode();
    return how === 'with' ? [...this.#jobsMet(node, true), ...this.#jobsBelow(node)] : this.#jobsBelow(node);
  }

  /** As {@link jobsAround}, of a child of a node, which joins or leaves the section of its parent. */
  jobsAroundChild(child: BlockNode, parent: BlockNode): Job[] {
    if (this.traits.drainsAreGlobal) return [];
    return [...this.#jobsMet(child, true, new Set([parent])), ...this.#jobsBelow(child)];
  }

  /** Jobs that are held when every node is: oldest node first, as often as they are met. */
  jobsOnAnyNode(): Job[] {
    const climbs = this.traits.drainsAreGlobal;
    const seen = climbs ? new Set<BlockNode>() : undefined;
    return [...this.graph.nodes.values()].flatMap((node) => this.#jobsMet(node, climbs, seen));
  }

  /** Jobs that hold what a node rests on, or something above that: not by way of the node itself. */
  #jobsBelow(node: BlockNode): Job[] {
    return childrenOf(node).flatMap((child) => {
      const others = this.#jobsMet(child, true, new Set([node]));
      return [...others, ...this.#jobsBelow(child)];
    });
  }

  /** Jobs that hold a node, newest first; `climbs`: those of the nodes above it in their places. */
  #jobsMet(node: BlockNode, climbs: boolean, seen?: Set<BlockNode>): Job[] {
    if (seen?.has(node)) return [];
    seen?.add(node);
    return node.parents.toReversed().flatMap(({ parent }) => {
      if (parent.kind === 'node') return climbs ? this.#jobsMet(parent.node, climbs, seen) : [];
      // What a job reads and writes through a backend of its own does not hold the job.
      const job = parent.kind === 'job' ? this.jobs.find(parent.jobId) : undefined;
      return job && canBeHeld(job) ? [job] : [];
    });
  }

  /** Jobs that a drained section can interrupt at all. */
  movingJobs(): Job[] {
    return this.jobs.jobs.filter(canBeHeld);
  }

  /** Whether a drained section keeps the guest from a node. */
  isHeldBack(node: BlockNode): boolean {
    return isDrained(node);
  }

  /** Lets a disk be written to from now on, in place of what its guest did before; undefined: it rests. */
  setLoad(backend: BlockBackend, options: LoadOptions | undefined): void {
    this.catchUp();
    this.loads.get(backend)?.stop();
    this.loads.delete(backend);
    if (options) this.loads.set(backend, new GuestLoad(this, backend, options));
    this.#wakeJobs();
    this.catchUp();
  }

  /** The load on a node, if there is one. */
  loadOn(node: BlockNode): GuestLoad | undefined {
    if (this.loads.size === 0 || !this.running) return undefined;
    for (const [{ node: root }, load] of this.loads) {
      for (let at = root; at; at = at.filtered?.child) if (at === node) return load;
    }
    return undefined;
  }

  /** Lets guest and jobs have done what nobody has looked at yet. */
  catchUp(): void {
    for (const load of this.loads.values()) load.catchUp();
    for (const job of this.jobs.jobs) job.task.refresh?.(job);
    for (const load of this.loads.values()) load.watch();
  }

  /** Something has changed that jobs reckoned with. */
  #wakeJobs(): void {
    for (const job of this.jobs.jobs) job.nudge();
  }

  /** Lets a guest request through as soon as no drained section holds its node. */
  whenGuestMay(node: BlockNode, run: () => void): void {
    if (isDrained(node)) this.#heldBack.push(() => this.whenGuestMay(node, run));
    else run();
  }

  /** Puts a guest's request off until the CPUs run. */
  whenRunning(run: () => void): void {
    this.#waitForCpus.push(run);
  }

  #releaseGuest(): void {
    for (const run of this.#heldBack.splice(0)) run();
  }

  /** A device's backend over a node; `name` as -drive's id. */
  addBackend(name: string, node: BlockNode | undefined, rights?: Rights): BlockBackend {
    const backend = new BlockBackend(name);
    if (node) this.fill(backend, node, rights);
    this.graph.backends.push(backend);
    return backend;
  }

  /** Gives a backend its node. */
  fill(backend: BlockBackend, node: BlockNode, rights?: Rights): void {
    backend.root = this.graph.hold({ kind: 'backend', backend }, 'root', node, rights);
    backend.readOnly = node.readOnly;
  }

  /** Takes a backend away. */
  removeBackend(backend: BlockBackend): void {
    this.graph.letGo(backend.root);
    this.throttles.leave(backend.throttle);
    const { backends } = this.graph;
    backends.splice(backends.indexOf(backend), 1);
  }

  get running(): boolean {
    return this.runState === 'running';
  }

  /** Starts the CPUs. */
  resume(): void {
    if (this.running) return;
    // Only what has a name is reset here: seen on 7.2 and 10.0.
    for (const backend of this.graph.backends) {
      if (backend.name !== '' && backend.ioStatus !== undefined) backend.ioStatus = 'ok';
    }
    this.catchUp();
    this.runState = 'running';
    this.guestClock.start();
    this.emit('RESUME');
    this.#wakeJobs();
    this.catchUp();
    for (const run of this.#waitForCpus.splice(0)) this.soon(run);
  }

  /** Stops the CPUs. */
  pause(state: RunState): void {
    this.catchUp();
    const wasRunning = this.running;
    this.guestClock.stop();
    if (wasRunning || state !== 'paused') this.runState = state;
    if (wasRunning) this.emit('STOP');
    this.#wakeJobs();
  }

  /** Ends the process in order: jobs are cancelled, images flushed and closed. */
  shutDown(reason: ShutdownReason): void {
    this.#isClosing = true;
    this.emit('SHUTDOWN', { guest: reason.startsWith('guest-'), reason });
    this.drain(this.jobsOnAnyNode(), () => undefined);
    this.graph.flushAll();
    this.jobs.cancelAll(() => this.settle());
    this.exports.closeAll();
    this.closeImages();
  }

  /** Closes every node, flushing what is still in memory. */
  closeImages(): void {
    for (const backend of [...this.graph.backends]) this.removeBackend(backend);
    const left = [...this.graph.nodes.values()].flatMap(({ parents }) => parents);
    for (const edge of left) if (edge.parent.kind === 'job-backend') this.graph.letGo(edge);
    for (const node of [...this.graph.nodes.values()].reverse()) {
      node.monitorOwned = false;
      this.graph.collect(node);
    }
  }

  /** The process is killed: what was not flushed may be lost, locks are freed. */
  crash(): void {
    for (const node of this.graph.nodes.values()) {
      // Clusters that were taken for what is lost are nobody's, and who has them next nobody can tell.
      if (node.image && (node.pending?.count ?? 0) > 0) node.image.layout = undefined;
      for (const { start, end, tag } of node.pending?.extents ?? []) {
        // QEMU may have written a metadata table back early, for want of memory.
        if (this.random.chance(1 / 4)) node.image?.extents.set(start, end, tag);
      }
    }
    for (const node of this.graph.nodes.values()) {
      if (!this.powerLost) node.image?.save();
      // What the host has not been told to write may have been written all the same.
      else if (!node.readOnly) node.image?.losePageCache(() => this.random.chance(1 / 4));
    }
    for (const node of this.graph.nodes.values()) closeImage(node);
  }
}

const inTurn = (first: (() => void) | undefined, then: () => void) => (): void => {
  first?.();
  then();
};

const canBeHeld = ({ deferred, ending, status }: Job): boolean =>
  (!deferred || ending) && status !== 'concluded' && status !== 'created';

function isDrained(node: BlockNode): boolean {
  return (
    node.drains > 0 || holdsOn(node) > 0 || (node.filtered !== undefined && isDrained(node.filtered.child))
  );
}

/** The groups of the throttle filters that a request to a node passes. */
export function groupsBelow(node: BlockNode): ThrottleGroup[] {
  const groups: ThrottleGroup[] = [];
  for (let at: BlockNode | undefined = node; at; at = (at.filtered ?? at.file)?.child) {
    if (at.throttle) groups.push(at.throttle);
  }
  return groups;
}
