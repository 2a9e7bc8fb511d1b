/**
 * Several simulated QEMUs under one virtual clock, inside this process. Bytes travel in microtasks; when nobody has
 * anything left to do, time jumps to the next thing that falls due, in a machine or in {@link World.timers}.
 */
import type { Duplex } from '../../src/qmp/duplex.ts';
import type { Timers } from '../../src/util/timers.ts';
import { Clock, type Timer } from '../core/clock.ts';
import type { Data, Value } from '../core/data.ts';
import { parseFaultPlan } from '../core/faults/plan.ts';
import type { ImageStore } from '../core/images.ts';
import { NbdNetwork } from '../core/nbd.ts';
import type { Input, Output } from '../core/surface.ts';
import { createMemoryStore } from '../images/memory.ts';
import { profileNamed, withoutBugs } from '../profiles/index.ts';
import { MockQemu } from '../qmp/machine.ts';
import { WireEncoder } from '../qmp/wire-encoder.ts';
import { Link, type LinkOwner } from './link.ts';
import { Trace } from './trace.ts';
import { nextTurn } from './turn.ts';

/** How a world begins. */
export interface WorldOptions {
  /** Everything random in the world comes from it. */
  readonly seed: number;
  /** Image files; an empty store in memory when left out. */
  readonly store?: ImageStore;
  /** Virtual nanoseconds at which the world begins; 0 when left out. */
  readonly startNs?: number;
  /** Time stops here, so that a job without end does not keep the process busy; one day when left out. */
  readonly horizonNs?: number;
}

/** One machine to start. */
export interface BootOptions {
  /** Name of a profile. */
  readonly profile: string;
  /** Names of the profile's known bugs that this machine does not have; none when left out. */
  readonly withoutBugs?: readonly string[];
  /** QEMU's arguments, without the program's name. */
  readonly argv: readonly string[];
  /** A fault plan, as JSON; nothing goes wrong when left out. */
  readonly faults?: Value;
  /** The machine's own seed; drawn from the world's when left out. */
  readonly seed?: number;
}

/** How a process ended. */
export interface ProcessExit {
  /** null when a signal ended it. */
  readonly code: number | null;
  readonly signal: string | null;
}

/** One simulated process. */
export interface BootedQemu {
  /** Opens a QMP connection, each to a monitor of its own. */
  connect(): Duplex;
  signal(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** Does what only a simulation can be asked for, at once; throws for a request that is wrong. */
  control(request: Data): Value;
  /** Settles when the process has ended. */
  readonly exited: Promise<ProcessExit>;
  /** Whether it has ended already, as it does at once when it cannot start. */
  hasExited(): boolean;
  /** What it printed to stdout and stderr, the last part if it is much. */
  output(): string;
}

/** Machines, files and time. */
export interface World {
  /** Virtual time. */
  readonly timers: Timers;
  readonly store: ImageStore;
  /** Starts a machine; throws for an unknown profile or a wrong fault plan. A machine that cannot start has exited on return. */
  boot(options: BootOptions): BootedQemu;
  /** What happened so far, one line each: equal seeds and clients give equal traces. */
  trace(): string;
  /** Ends everything at once: machines are killed, time stands still. Idempotent. */
  close(): void;
}

const NS_PER_MS = 1_000_000;
const ONE_DAY_NS = 86_400 * 1_000_000_000;
/** How many jumps of time that nobody notices are made before the process gets to do other things. */
const JUMPS_PER_TURN = 1024;
const MAX_OUTPUT_CHARS = 64 * 1024;

/**
 * Carries inputs in microtasks, and lets time jump in a turn of the event loop that follows one in which nobody did
 * anything.
 */
class InProcessWorld implements World {
  readonly timers: Timers;
  readonly store: ImageStore;
  readonly clock: Clock;
  /** What clients have sent. */
  readonly messages = new WireEncoder();
  readonly #seed: number;
  readonly #horizonNs: number;
  readonly #trace = new Trace();
  readonly #machines: Machine[] = [];
  readonly #network = new NbdNetwork();
  readonly #inputs: { readonly machine: Machine; readonly input: Input }[] = [];
  #flushing = false;
  /** Someone did something since the last turn of the event loop. */
  #active = false;
  #turnPending = false;
  #closed = false;

  constructor(options: WorldOptions) {
    this.clock = new Clock(options.startNs ?? 0);
    this.store = options.store ?? createMemoryStore();
    this.#seed = options.seed;
    this.#horizonNs = options.horizonNs ?? ONE_DAY_NS;
    this.timers = {
      now: () => this.clock.now() / NS_PER_MS,
      after: (delayMs, callback) => this.#after(delayMs, callback),
    };
  }

  boot(options: BootOptions): BootedQemu {
    const number = this.#machines.length + 1;
    const profile = withoutBugs(profileNamed(options.profile), options.withoutBugs ?? []);
    const qemu = new MockQemu({
      profile,
      argv: options.argv,
      seed: options.seed ?? this.#seed * 1000 + number,
      images: this.store,
      network: this.#network,
      startedAtNs: this.clock.now(),
      faults: parseFaultPlan(options.faults ?? []),
    });
    const machine = new Machine(this, number, qemu);
    this.#machines.push(machine);
    this.note(machine, `boot ${profile.name} ${options.argv.join(' ')}`);
    machine.collect();
    this.stir();
    return machine;
  }

  trace(): string {
    return this.#trace.text();
  }

  close(): void {
    if (this.#closed) return;
    for (const machine of this.#machines) machine.step({ type: 'signal', signal: 'SIGKILL' });
    this.#closed = true;
    this.#inputs.length = 0;
    this.clock.stop();
  }

  /** Queues an input; it takes effect in a microtask. */
  send(machine: Machine, input: Input): void {
    if (this.#closed) return;
    this.#inputs.push({ machine, input });
    this.stir();
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush());
  }

  note(machine: Machine, what: string, bytes?: Uint8Array): void {
    this.#trace.add(this.clock.now(), machine.number, what, bytes);
  }

  /** Someone did something: nothing falls due before they had the time to do more. */
  stir(): void {
    this.#active = true;
    this.expect();
  }

  /** Something is going to fall due: it does in the next turn in which nobody does anything. */
  expect(): void {
    if (this.#turnPending || this.#closed) return;
    this.#turnPending = true;
    nextTurn(() => this.#turn());
  }

  #flush(): void {
    for (let next = this.#inputs.shift(); next; next = this.#inputs.shift()) next.machine.step(next.input);
    this.#flushing = false;
  }

  #after(delayMs: number, callback: () => void): () => void {
    const timer = this.clock.after(delayMs * NS_PER_MS, () => {
      this.#active = true;
      callback();
    });
    this.stir();
    return () => timer.cancel();
  }

  /** One turn of the event loop: jumps if nobody did anything during the last one. */
  #turn(): void {
    this.#turnPending = false;
    if (this.#closed) return;
    if (this.#active) {
      this.#active = false;
    } else {
      for (let jumps = 0; jumps < JUMPS_PER_TURN && !this.#active && this.#jump(); jumps++);
    }
    if (!this.#active && !this.#hasNext()) return;
    this.#turnPending = true;
    nextTurn(() => this.#turn());
  }

  #hasNext(): boolean {
    const next = this.clock.nextAt();
    return next !== undefined && next <= this.#horizonNs;
  }

  #jump(): boolean {
    if (!this.#hasNext()) return false;
    this.clock.advance((this.clock.nextAt() ?? 0) - this.clock.now());
    return true;
  }
}

/** One machine of a world: carries inputs in and outputs out, and keeps one timer for the next thing it has to do. */
class Machine implements BootedQemu, LinkOwner {
  readonly number: number;
  readonly exited: Promise<ProcessExit>;
  readonly #world: InProcessWorld;
  readonly #qemu: MockQemu;
  readonly #links = new Map<number, Link>();
  #connections = 0;
  #syncedNs: number;
  #timer: Timer | undefined;
  #output = '';
  #exit: ProcessExit | undefined;
  #settle: (exit: ProcessExit) => void = () => undefined;

  constructor(world: InProcessWorld, number: number, qemu: MockQemu) {
    this.#world = world;
    this.number = number;
    this.#qemu = qemu;
    this.#syncedNs = world.clock.now();
    this.exited = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  connect(): Duplex {
    const link = new Link(++this.#connections, this);
    if (this.#exit) {
      link.end();
      return link;
    }
    this.#links.set(link.connection, link);
    this.#world.send(this, { type: 'connect', connection: link.connection });
    return link;
  }

  signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.#world.send(this, { type: 'signal', signal });
  }

  control(request: Data): Value {
    this.#catchUp();
    this.#world.note(this, `> control ${JSON.stringify(request)}`);
    const answer = this.#qemu.control(request);
    this.collect();
    return answer;
  }

  hasExited(): boolean {
    return this.#exit !== undefined;
  }

  output(): string {
    return this.#output;
  }

  sent(link: Link, bytes: Uint8Array): void {
    // A copy: the client may use its buffer again before the machine reads.
    const kept = this.#world.messages.copy(bytes);
    this.#world.send(this, { type: 'data', connection: link.connection, bytes: kept });
  }

  left(link: Link): void {
    this.#world.send(this, { type: 'disconnect', connection: link.connection });
  }

  /** Lets the machine take an input at the present instant. */
  step(input: Input): void {
    if (this.#exit) return;
    this.#note(input);
    this.#catchUp();
    this.#qemu.step(input);
    this.collect();
    if (input.type === 'disconnect') this.#endLink(input.connection);
  }

  /** Hands out what the machine has put out, and sets the timer for what it does next. */
  collect(): void {
    for (const output of this.#qemu.takeOutputs()) this.#emit(output);
    const nextNs = this.#exit ? undefined : this.#qemu.nextTimerAt();
    if (this.#timer?.atNs === nextNs) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    if (nextNs === undefined) return;
    const { clock } = this.#world;
    this.#timer = clock.after(nextNs - clock.now(), () => this.#due());
    this.#world.expect();
  }

  #due(): void {
    this.#timer = undefined;
    this.#catchUp();
    this.collect();
  }

  #catchUp(): void {
    const nowNs = this.#world.clock.now();
    if (nowNs > this.#syncedNs) this.#qemu.advance(nowNs - this.#syncedNs);
    this.#syncedNs = nowNs;
  }

  #note(input: Input): void {
    const detail = input.type === 'signal' ? input.signal : `#${input.connection}`;
    this.#world.note(this, `> ${input.type} ${detail}`, input.type === 'data' ? input.bytes : undefined);
  }

  #emit(output: Output): void {
    this.#world.stir();
    switch (output.type) {
      case 'data':
        this.#world.note(this, `< data #${output.connection}`, output.bytes);
        this.#links.get(output.connection)?.deliver(output.bytes);
        break;
      case 'close':
        this.#world.note(this, `< close #${output.connection}`);
        this.#endLink(output.connection);
        break;
      case 'print':
        this.#output = (this.#output + output.text).slice(-MAX_OUTPUT_CHARS);
        break;
      case 'exit':
        this.#end({ code: output.code, signal: output.signal });
        break;
    }
  }

  #endLink(connection: number): void {
    const link = this.#links.get(connection);
    this.#links.delete(connection);
    link?.end();
  }

  #end(exit: ProcessExit): void {
    this.#world.note(this, `exit ${exit.code ?? exit.signal}`);
    this.#exit = exit;
    for (const connection of [...this.#links.keys()]) this.#endLink(connection);
    this.#settle(exit);
  }
}

/** Makes an empty world. */
export function createWorld(options: WorldOptions): World {
  return new InProcessWorld(options);
}
