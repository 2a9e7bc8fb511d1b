/** A whole simulated QEMU: command line, monitors and commands around one machine. */
import type { JsonObject } from '../../src/qmp/messages.ts';
import { Clock, EPOCH_SECONDS } from '../core/clock.ts';
import { ControlError, control } from '../core/control.ts';
import type { Data, Value } from '../core/data.ts';
import { addDevice, addDrive } from '../core/devices.ts';
import { CommandError } from '../core/errors.ts';
import { ProcessGone } from '../core/faults/perform.ts';
import type { Fault } from '../core/faults/plan.ts';
import { openNode } from '../core/graph/open.ts';
import type { ImageStore } from '../core/images.ts';
import type { NbdNetwork } from '../core/nbd.ts';
import { Random } from '../core/random.ts';
import { loadMachine } from '../core/snapshots.ts';
import type { DeathSignal, Input, Output, SimulatedQemu } from '../core/surface.ts';
import { Vm } from '../core/vm.ts';
import type { Profile } from '../profiles/profile.ts';
import { type LaunchStep, parseArgv } from './argv.ts';
import type { CommandPort, CommandResult } from './command-port.ts';
import { handlerOf } from './commands/index.ts';
import { addObject, isSimulatedObject } from './commands/objects.ts';
import { type CommandContext, LATER } from './commands/table.ts';
import { EventGate } from './events.ts';
import { Outbox } from './outbox.ts';
import { refusalBody } from './refusal.ts';
import { createMonitor, type Monitor } from './session.ts';

/** How a simulated QEMU is started. */
export interface MockQemuOptions {
  readonly profile: Profile;
  /** Arguments without the program's name. Monitors are the shell's business. */
  readonly argv: readonly string[];
  readonly seed: number;
  readonly images: ImageStore;
  /** The world's time, in nanoseconds, at which the process starts; 0 when left out. */
  readonly startedAtNs?: number;
  /** What goes wrong, and where; nothing when left out. */
  readonly faults?: readonly Fault[];
  /** The machines that NBD reaches; only itself when left out. */
  readonly network?: NbdNetwork;
  /** Gets one line for each input and output. */
  readonly trace?: (line: string) => void;
}

const PROGRAM = 'qemu-system-x86_64';
// What a command costs, so that time passes for a client that polls.
const COMMAND_NS = 100_000;
const EPOCH_NS = BigInt(EPOCH_SECONDS) * 1_000_000_000n;

const LAUNCH_TURNS: Partial<Record<LaunchStep['type'], number>> = {
  blockdev: 1,
  drive: 2,
  device: 3,
  incoming: 4,
  loadvm: 4,
};

const OK: CommandResult = { ok: true, value: {} };

/** One process. */
export class MockQemu implements SimulatedQemu, CommandPort {
  /** The machine inside, for tests and fault plans. */
  readonly vm: Vm;
  readonly #clock: Clock;
  readonly #monitor: Monitor;
  readonly #context: CommandContext;
  readonly #trace: ((line: string) => void) | undefined;
  readonly #connections = new Set<number>();
  readonly #chardevs: { readonly label: string; readonly filename: string }[] = [];
  #outputs: Output[] = [];
  readonly #outbox: Outbox;
  #exited = false;
  #hanging = false;

  constructor(options: MockQemuOptions) {
    this.#clock = new Clock(options.startedAtNs ?? 0);
    this.#trace = options.trace;
    const events = new EventGate({
      profile: options.profile,
      clock: this.#clock,
      send: (event, data) => this.#outbox.event(event, data, () => this.#monitor.emit(event, data)),
    });
    this.vm = new Vm({
      clock: this.#clock,
      random: new Random(options.seed),
      images: options.images,
      traits: options.profile.behaviour,
      bugs: options.profile.bugs,
      network: options.network,
      emit: (event, data) => events.emit(event, data),
      print: (stream, text) => this.#print(stream, text),
      exit: (code, signal) => this.#exit(code, signal),
      hang: () => this.#hang(),
      closeAll: () => this.#closeAll(),
    });
    this.#outbox = new Outbox(this.vm, {
      deliver: (connection, bytes) => this.#put({ type: 'data', connection, bytes }),
      close: (connection) => this.#close(connection),
      closeAll: () => this.#closeAll(),
    });
    this.#context = { vm: this.vm, profile: options.profile, chardevs: this.#chardevs };
    this.#monitor = createMonitor({
      profile: options.profile,
      commands: this,
      now: () => EPOCH_NS + BigInt(this.#clock.now()),
      send: (connection, bytes, what) => this.#outbox.send(connection, bytes, what),
    });
    this.#launch(options.argv);
    for (const fault of options.faults ?? []) this.vm.addFault(fault);
  }

  step(input: Input): void {
    if (this.#exited) return;
    this.#note('>', input);
    if (this.#hanging) this.#endHanging(input);
    else this.#guard(() => this.#take(input));
  }

  #take(input: Input): void {
    this.vm.catchUp();
    switch (input.type) {
      case 'connect':
        this.#connections.add(input.connection);
        this.#monitor.connect(input.connection);
        break;
      case 'data':
        if (this.#connections.has(input.connection)) this.#monitor.receive(input.connection, input.bytes);
        break;
      case 'disconnect':
        if (this.#connections.delete(input.connection)) this.#monitor.disconnect(input.connection);
        break;
      case 'signal':
        this.#signal(input.signal);
        break;
    }
    this.vm.settle();
  }

  advance(ns: number): void {
    this.#guard(() => this.#clock.advance(ns, () => this.vm.settle()));
  }

  /** Does what only a simulation can be asked for; throws a ControlError for a request that is wrong. */
  control(request: Data, alsoValid: readonly string[] = []): Value {
    if (this.#exited) throw new ControlError('the process has ended');
    this.vm.catchUp();
    const answer = control(this.vm, request, alsoValid);
    this.vm.catchUp();
    this.#guard(() => this.vm.settle());
    return answer;
  }

  /** Runs something that a fault may end together with the process. */
  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (!(error instanceof ProcessGone)) throw error;
      if (this.#exited) this.vm.crash();
    }
  }

  /** A process that hangs hears nothing but the signal that cannot be caught. */
  #endHanging(input: Input): void {
    if (input.type === 'disconnect') this.#connections.delete(input.connection);
    if (input.type === 'signal' && input.signal === 'SIGKILL') this.#signal('SIGKILL');
  }

  takeOutputs(): Output[] {
    const outputs = this.#outputs;
    this.#outputs = [];
    return outputs;
  }

  /** Bytes of a client that wait to be read: a shell holds back a client that has many. */
  unreadBytes(connection: number): number {
    return this.#monitor.unreadBytes(connection);
  }

  nextTimerAt(): number | undefined {
    return this.#clock.nextAt();
  }

  /** Runs a command a moment later, then what the main loop has to do, then answers. */
  execute(name: string, args: JsonObject, reply: (result: CommandResult) => void, connection: number): void {
    this.#clock.after(COMMAND_NS, () => this.#begin(name, args, reply, connection));
  }

  /** Executes a command unless a fault holds it up or ends its connection. */
  #begin(name: string, args: JsonObject, reply: (result: CommandResult) => void, connection: number): void {
    const { delayNs, faults } = this.vm.pass('monitor.command', { command: name });
    if (faults.some((fault) => fault.do === 'close')) {
      this.#close(connection);
      reply(OK);
      return;
    }
    const waitNs = Math.max(delayNs, this.vm.stallNs);
    if (waitNs === 0) this.#perform(name, args, reply);
    else this.#clock.after(waitNs, () => this.#perform(name, args, reply));
  }

  #perform(name: string, args: JsonObject, reply: (result: CommandResult) => void): void {
    const answer = (result: CommandResult) => {
      // What the command set off comes before its reply, unless it needs time.
      const { vm } = this;
      vm.whenStill(() => vm.soon(() => vm.soon(() => vm.whenStill(() => reply(result)))));
    };
    try {
      this.vm.catchUp();
      const value = this.#run(name, args, answer);
      this.vm.catchUp();
      if (value !== LATER) answer(value === undefined ? OK : { ok: true, value });
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      answer(this.#refusal(error));
    }
    this.vm.settle();
  }

  #run(name: string, args: JsonObject, answer: (result: CommandResult) => void) {
    const handler = handlerOf(this.#context.profile, name);
    if (!handler) throw new CommandError(`Command ${name} is not supported by the simulation`);
    return handler(this.#context, args, (value) => {
      if (value instanceof CommandError) answer(this.#refusal(value));
      else answer(value === undefined ? OK : { ok: true, value });
    });
  }

  #refusal(error: CommandError): CommandResult {
    return { ok: false, error: refusalBody(this.#context.profile.errors, error) };
  }

  #launch(argv: readonly string[]): void {
    const parsed = parseArgv(argv, PROGRAM, this.#context.profile.laterOptions);
    if ('complaint' in parsed) {
      this.#print('stderr', parsed.complaint);
      this.#exit(1, null);
      return;
    }
    this.vm.runState = 'running';
    this.vm.guestClock.start();
    // Objects come first, then nodes, drives and devices, wherever they stand; then the state to go on from.
    for (const turn of [0, 1, 2, 3, 4]) {
      for (const step of parsed.steps.filter(({ type }) => (LAUNCH_TURNS[type] ?? 0) === turn))
        this.#follow(step);
    }
  }

  #follow(step: LaunchStep): void {
    if (this.#exited) return;
    switch (step.type) {
      case 'name':
        this.vm.name = step.name;
        break;
      case 'uuid':
        this.vm.uuid = step.uuid;
        break;
      case 'chardev':
        this.#chardevs.push({ label: step.label, filename: step.filename });
        break;
      case 'machine':
        this.vm.canSuspend = step.board !== 'none';
        break;
      case 'paused':
        this.vm.runState = 'prelaunch';
        this.vm.guestClock.stop();
        break;
      case 'incoming':
        this.vm.runsAfterMigration = this.vm.runState === 'running';
        this.vm.runState = 'inmigrate';
        this.vm.guestClock.stop();
        this.vm.migration.incoming = 'deferred';
        break;
      case 'loadvm':
        this.#load(step.name);
        break;
      case 'action':
        Object.assign(this.vm.guestActions, step.options);
        break;
      case 'object':
      case 'blockdev':
      case 'drive':
      case 'device':
        this.#open(step.type, step.source, step.options);
        break;
    }
  }

  /** The first thing that a machine does, once all of it is there. */
  #load(name: string): void {
    try {
      loadMachine(this.vm, { name });
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      this.#print('stderr', `${PROGRAM}: ${error.message}\n`);
      this.vm.closeImages();
      this.#exit(1, null);
    }
  }

  #open(type: 'object' | 'blockdev' | 'drive' | 'device', source: string, options: JsonObject): void {
    try {
      if (type === 'object') this.#addObject(options);
      else if (type === 'blockdev') openNode(this.vm, options, { monitorOwned: true });
      else if (type === 'device') addDevice(this.vm, options);
      else addDrive(this.vm, options);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      this.#print('stderr', `${PROGRAM}: -${type} ${source}: ${error.message}\n`);
      this.vm.closeImages();
      this.#exit(1, null);
    }
  }

  /** Memory and the like are none of the simulation's business. */
  #addObject(options: JsonObject): void {
    if (isSimulatedObject(String(options['qom-type']))) addObject(this.vm, options);
  }

  #signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (signal === 'SIGKILL') {
      this.vm.crash();
      this.#exit(null, 'SIGKILL');
      return;
    }
    this.#print('stderr', `${PROGRAM}: terminating on signal 15\n`);
    this.vm.shutDown('host-signal');
    this.#exit(0, null);
  }

  #print(stream: 'stdout' | 'stderr', text: string): void {
    if (text !== '') this.#put({ type: 'print', stream, text });
  }

  #exit(code: number | null, signal: DeathSignal | null): void {
    if (this.#exited) return;
    this.#hanging = false;
    for (const connection of this.#connections) this.#put({ type: 'close', connection });
    this.#put({ type: 'exit', code, signal });
    this.#exited = true;
    this.vm.exports.abandon();
    this.#clock.stop();
  }

  #hang(): void {
    this.#hanging = true;
    this.#clock.stop();
  }

  #close(connection: number): void {
    if (!this.#connections.delete(connection)) return;
    this.#put({ type: 'close', connection });
    this.#monitor.disconnect(connection);
  }

  #closeAll(): void {
    for (const connection of [...this.#connections]) this.#close(connection);
  }

  #put(output: Output): void {
    if (this.#exited || this.#hanging) return;
    this.#note('<', output);
    this.#outputs.push(output);
  }

  #note(direction: '>' | '<', what: Input | Output): void {
    if (!this.#trace) return;
    const detail =
      what.type === 'data'
        ? `${what.connection} ${new TextDecoder().decode(what.bytes).trimEnd()}`
        : JSON.stringify({ ...what, type: undefined });
    this.#trace(`${this.#clock.now()} ${direction} ${what.type} ${detail}`);
  }
}
