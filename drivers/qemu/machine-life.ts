/** How one machine goes on and comes to its end: whether its CPUs run, what stopped them, and who ended QEMU. */
import type { AttachedMachine, DriverEvent, GoneReason } from '../../src/driver.ts';
import type { VirtError } from '../../src/errors.ts';
import { describeEnd, objectOf } from './errors.ts';
import { GuestHold } from './guest-hold.ts';
import type { Emulator } from './host.ts';
import { LIFECYCLE, type LifecyclePort } from './lifecycle-events.ts';
import type { QmpClient, QmpEventMessage } from './qmp-client.ts';

/** What a life needs of the machine that leads it. */
export interface LifeContext {
  readonly client: QmpClient;
  readonly emulator: Emulator;
  readonly emit: (event: DriverEvent) => void;
  /** Called once, when the end has begun. */
  readonly onEnd: () => void;
}

/** From the first instruction to the last. */
export class MachineLife implements LifecyclePort {
  readonly emit: (event: DriverEvent) => void;
  readonly guest: GuestHold;
  /** Settles when nothing of the machine is left. */
  readonly gone: Promise<void>;
  readonly #context: LifeContext;
  readonly #gone = Promise.withResolvers<void>();
  #running = false;
  /** An I/O error has stopped the guest, or is about to: QEMU says so before STOP. */
  #stoppedByError = false;
  /** QEMU has announced its end. */
  #shutDown = false;
  #ending = false;
  #rebooting = false;

  constructor(context: LifeContext) {
    const { client, emulator, emit } = context;
    this.#context = context;
    this.emit = emit;
    this.gone = this.#gone.promise;
    this.guest = new GuestHold(client, () => emit({ type: 'paused', reason: 'user' }));
    void client.closed.then((cause) => this.#onLost(cause));
    void emulator.exited.then(() => this.#onLost(undefined));
  }

  /** Somebody has ended the machine, or left it. */
  get isEnding(): boolean {
    return this.#ending;
  }

  /** It ends, or QEMU has said that it is about to. */
  get isOver(): boolean {
    return this.#ending || this.#shutDown;
  }

  /** The start is done: what the CPUs do from now on is news. */
  started(): void {
    this.#running = true;
  }

  /** Asks a machine that was taken over what its CPUs do (QMP: query-status). */
  async findCpus(): Promise<AttachedMachine['cpus']> {
    const { client } = this.#context;
    const { status, running } = objectOf(await client.execute('query-status'), 'query-status');
    if (status === 'shutdown') this.guestShutDown();
    this.#stoppedByError = status === 'io-error';
    this.guest.isNews(running === true);
    if (running === true) return 'running';
    return this.#stoppedByError ? 'io-error' : 'paused';
  }

  /** An event about the machine as a whole; others are ignored. */
  onEvent(event: QmpEventMessage): void {
    LIFECYCLE[event.event]?.(this, event);
  }

  /** An I/O error is about to stop the guest. */
  willStopByError(): void {
    this.#stoppedByError = true;
  }

  stopped(): void {
    const reason = this.#stoppedByError ? 'io-error' : 'user';
    if (this.guest.isNews(false)) this.emit({ type: 'paused', reason });
  }

  resumed(): void {
    this.#stoppedByError = false;
    // The RESUME of the start is no news: a machine starts with its CPUs running.
    if (this.guest.isNews(true) && this.#running) this.emit({ type: 'resumed' });
  }

  guestShutDown(): void {
    if (this.#rebooting) {
      void this.#reset();
      return;
    }
    this.emit({ type: 'guest-shutdown' });
    // -no-shutdown keeps QEMU alive after its guest, as with libvirt; it is ours to end it.
    this.end('shutdown');
  }

  hostShutDown(): void {
    this.#shutDown = true;
  }

  /** Takes the guest's next power-down for the first half of a reboot. */
  willReboot(): void {
    this.#rebooting = true;
  }

  /** Ends QEMU, once. */
  end(reason: GoneReason, cause?: VirtError): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#context.onEnd();
    void this.#tearDown(reason, cause);
  }

  /** Goes without QEMU; false if it cannot live alone, or ends already. */
  leave(): boolean {
    const { client, emulator } = this.#context;
    if (emulator.leave === undefined || this.#ending) return false;
    this.#ending = true;
    client.close();
    emulator.leave();
    this.#gone.resolve();
    return true;
  }

  /** What the guest's power-down leads to when a reboot was asked for. */
  async #reset(): Promise<void> {
    const { client } = this.#context;
    this.#rebooting = false;
    try {
      await client.execute('system_reset');
      await client.execute('cont');
    } catch {
      // A machine that cannot be reset has shut down after all; one that is gone says so itself.
      this.end('shutdown');
    }
  }

  #onLost(cause: VirtError | undefined): void {
    this.end(this.#shutDown ? 'shutdown' : 'crashed', cause);
  }

  async #tearDown(reason: GoneReason, cause: VirtError | undefined): Promise<void> {
    const { client, emulator } = this.#context;
    await emulator.terminate();
    const end = describeEnd(await emulator.exited, emulator.output());
    client.close();
    const detail = cause === undefined ? end : `${cause.detail}; the process ended with ${end}`;
    this.emit(reason === 'crashed' ? { type: 'gone', reason, detail } : { type: 'gone', reason });
    this.#gone.resolve();
  }
}
