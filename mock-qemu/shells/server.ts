/** A simulated QEMU as a process: sockets, signals, files, and virtual time that follows the wall clock. */
import { closeSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { ControlError } from '../core/control.ts';
import type { Data, Value } from '../core/data.ts';
import type { ImageStore } from '../core/images.ts';
import type { Input, Output } from '../core/surface.ts';
import { MockQemu } from '../qmp/machine.ts';
import { ControlSocket } from './control-socket.ts';
import { Listeners } from './listener.ts';
import type { ServerOptions } from './options.ts';

const NS_PER_MS = 1_000_000;
/**
 * What a command costs is less than a timer of the host can wait: an input may run this far ahead of the clock, so that
 * its reply does not wait for a timer's granularity.
 */
const INPUT_LEAD_NS = 200_000;
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** One simulated process. */
class ServedQemu {
  readonly #options: ServerOptions;
  readonly #listeners: Listeners;
  readonly #qemu: MockQemu;
  readonly #startedMs = performance.now();
  readonly #traceFd: number | undefined;
  readonly #control: ControlSocket | undefined;
  readonly #settle: (code: number) => void;
  /** How far virtual time has been pushed ahead of the wall clock. */
  #aheadNs = 0;
  #syncedNs = 0;
  #timer: NodeJS.Timeout | undefined;
  #over = false;

  constructor(options: ServerOptions, images: ImageStore, settle: (code: number) => void) {
    this.#options = options;
    this.#settle = settle;
    const { traceFile } = options;
    const traceFd = traceFile === undefined ? undefined : openSync(traceFile, 'w');
    this.#traceFd = traceFd;
    const { controlPath } = options;
    this.#control =
      controlPath === undefined
        ? undefined
        : new ControlSocket(controlPath, (request) => this.#answer(request));
    this.#listeners = new Listeners({
      connected: (connection) => this.#input({ type: 'connect', connection }),
      received: (connection, bytes) => this.#input({ type: 'data', connection, bytes }),
      disconnected: (connection) => this.#input({ type: 'disconnect', connection }),
      drained: () => this.#regulate(),
    });
    this.#qemu = new MockQemu({
      profile: options.profile,
      argv: options.argv,
      seed: options.seed,
      images,
      ...(options.faults && { faults: options.faults }),
      ...(traceFd !== undefined && { trace: (line) => void writeSync(traceFd, `${line}\n`) }),
    });
  }

  /** Opens the monitors of a machine that has started; settles at once if it has not. */
  async serve(): Promise<void> {
    this.#handOut();
    if (this.#over) return;
    for (const signal of SIGNALS)
      process.on(signal, () => this.#input({ type: 'signal', signal: 'SIGTERM' }));
    const { pidFile, endpoints } = this.#options;
    try {
      if (pidFile !== undefined) writeFileSync(pidFile, `${process.pid}\n`);
      await this.#control?.open();
      for (const endpoint of endpoints) await this.#listeners.open(endpoint);
    } catch (error) {
      process.stderr.write(`mock-qemu: ${(error as Error).message}\n`);
      this.#end(1);
    }
  }

  /** Control requests: the machine's own, and pushing time ahead. */
  #answer(request: Data): Value {
    this.#catchUp();
    if (request.control === 'advance') this.#push(request);
    const answer = request.control === 'advance' ? {} : this.#qemu.control(request, ['advance']);
    this.#handOut();
    return answer;
  }

  #push({ ns, control: _verb, ...rest }: Data): void {
    const [unknown] = Object.keys(rest);
    if (unknown !== undefined) throw new ControlError(`advance: unknown member '${unknown}'; members: ns`);
    if (!(Number.isSafeInteger(ns) && Number(ns) >= 0))
      throw new ControlError('advance: ns is a whole number from 0');
    this.#aheadNs += Number(ns);
    this.#catchUp();
  }

  #input(input: Input): void {
    if (this.#over) return;
    this.#catchUp();
    this.#qemu.step(input);
    const nextNs = this.#qemu.nextTimerAt();
    if (nextNs !== undefined && nextNs <= this.#syncedNs + INPUT_LEAD_NS) this.#advanceTo(nextNs);
    this.#handOut();
  }

  #due(): void {
    this.#catchUp();
    this.#handOut();
  }

  #wallNs(): number {
    return (
      Math.floor((performance.now() - this.#startedMs) * NS_PER_MS * this.#options.speed) + this.#aheadNs
    );
  }

  #catchUp(): void {
    this.#advanceTo(this.#wallNs());
  }

  #advanceTo(untilNs: number): void {
    if (untilNs <= this.#syncedNs) return;
    this.#qemu.advance(untilNs - this.#syncedNs);
    this.#syncedNs = untilNs;
  }

  #handOut(): void {
    for (const output of this.#qemu.takeOutputs()) this.#emit(output);
    this.#regulate();
    clearTimeout(this.#timer);
    const nextNs = this.#over ? undefined : this.#qemu.nextTimerAt();
    if (nextNs === undefined) return;
    const delayMs = (nextNs - this.#wallNs()) / NS_PER_MS / this.#options.speed;
    // Node takes a delay of more than 2^31 ms for none.
    this.#timer = setTimeout(() => this.#due(), Math.min(Math.max(0, delayMs), 2 ** 31 - 1));
  }

  #regulate(): void {
    this.#listeners.regulate((connection) => this.#qemu.unreadBytes(connection));
  }

  #emit(output: Output): void {
    switch (output.type) {
      case 'data':
        this.#listeners.write(output.connection, output.bytes);
        break;
      case 'close':
        this.#listeners.end(output.connection);
        break;
      case 'print':
        process[output.stream].write(output.text);
        break;
      case 'exit':
        this.#end(output.code, output.signal);
        break;
    }
  }

  #end(code: number | null, signal: NodeJS.Signals | null = null): void {
    this.#over = true;
    clearTimeout(this.#timer);
    // A process that crashes leaves its files behind.
    if (signal !== null) process.kill(process.pid, signal);
    this.#listeners.close();
    this.#control?.close();
    if (this.#options.pidFile !== undefined) rmSync(this.#options.pidFile, { force: true });
    if (this.#traceFd !== undefined) closeSync(this.#traceFd);
    this.#settle(code ?? 1);
  }
}

/** Runs a simulated QEMU in this process; resolves to its exit status when it has ended and its sockets are gone. */
export function serve(options: ServerOptions, images: ImageStore): Promise<number> {
  return new Promise((resolve, reject) => {
    try {
      new ServedQemu(options, images, resolve).serve().catch(reject);
    } catch (error) {
      reject(error);
    }
  });
}
