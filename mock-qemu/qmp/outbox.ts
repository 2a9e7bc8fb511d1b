/** What faults do to messages on their way to clients: lose, delay, cut, exchange them, or end the connection. */
import type { Data } from '../core/data.ts';
import type { Fault } from '../core/faults/plan.ts';
import type { FaultAction } from '../core/faults/points.ts';
import type { Vm } from '../core/vm.ts';

/** What a message is; `command` is known where a request got as far as a command. */
export type Sent =
  | { readonly kind: 'greeting' }
  | { readonly kind: 'event' }
  | { readonly kind: 'reply'; readonly command?: string };

/** Where messages go when nothing is in the way. */
export interface Way {
  deliver(connection: number, bytes: Uint8Array): void;
  close(connection: number): void;
  closeAll(): void;
}

// A downstream dialect pivots by reopening the drive.
const PIVOTS = /^(block-job-complete|job-complete|.*drive-reopen)$/;
// A held event goes out by itself if nothing follows it.
const HOLD_NS = 1_000_000;

const find = (faults: readonly Fault[], action: FaultAction): Fault | undefined =>
  faults.find((fault) => fault.do === action);

/** Which job an event is about; only events of jobs may change places with others. */
function jobOf(event: string, data: Data | undefined): string | undefined {
  if (event !== 'JOB_STATUS_CHANGE' && !event.startsWith('BLOCK_JOB_')) return undefined;
  return String(data?.id ?? data?.device);
}

/** All messages of one machine pass through here. */
export class Outbox {
  readonly #vm: Vm;
  readonly #way: Way;
  /** Until when messages of a connection are held up; messages never overtake each other. */
  readonly #lateUntilNs = new Map<number, number>();
  #eventsLateUntilNs = 0;
  /** An event that lets the next message go first. */
  #held: { readonly job: string; readonly emit: () => void } | undefined;

  constructor(vm: Vm, way: Way) {
    this.#vm = vm;
    this.#way = way;
  }

  /** Sends a message to one client. */
  send(connection: number, bytes: Uint8Array, what: Sent): void {
    if (what.kind === 'event' || !this.#vm.faults.any) {
      this.#way.deliver(connection, bytes);
      return;
    }
    const pivots = what.kind === 'reply' && PIVOTS.test(what.command ?? '');
    if (pivots) this.#vm.reach('pivot.before-reply');
    const passing = what.kind === 'reply' && what.command !== undefined ? { command: what.command } : {};
    const { delayNs, faults } = this.#vm.pass(`monitor.${what.kind}`, passing);
    const lateNs = this.#late(connection, delayNs);
    if (lateNs > 0) this.#vm.clock.after(lateNs, () => this.#finish(connection, bytes, faults));
    else this.#finish(connection, bytes, faults);
    this.#release();
    if (pivots) this.#vm.reach('pivot.after-reply');
  }

  #late(connection: number, delayNs: number): number {
    const nowNs = this.#vm.clock.now();
    const untilNs = Math.max(this.#lateUntilNs.get(connection) ?? 0, nowNs + delayNs);
    if (untilNs > nowNs) this.#lateUntilNs.set(connection, untilNs);
    return untilNs - nowNs;
  }

  #finish(connection: number, bytes: Uint8Array, faults: readonly Fault[]): void {
    const cut = find(faults, 'truncate');
    if (find(faults, 'close')) this.#way.close(connection);
    else if (cut) {
      this.#way.deliver(connection, bytes.subarray(0, cut.bytes ?? Math.floor(bytes.length / 2)));
      this.#way.close(connection);
    } else if (!find(faults, 'drop')) this.#way.deliver(connection, bytes);
  }

  /** Lets an event out; `emit` sends it to every client. */
  event(name: string, data: Data | undefined, emit: () => void): void {
    if (!this.#vm.faults.any) {
      emit();
      return;
    }
    const { delayNs, faults } = this.#vm.pass('monitor.event', { event: name });
    if (find(faults, 'close')) this.#way.closeAll();
    else if (!find(faults, 'drop')) this.#emit(jobOf(name, data), faults, delayNs, emit);
  }

  #emit(job: string | undefined, faults: readonly Fault[], delayNs: number, emit: () => void): void {
    const { clock } = this.#vm;
    const untilNs = Math.max(this.#eventsLateUntilNs, clock.now() + delayNs);
    if (untilNs > clock.now()) {
      this.#eventsLateUntilNs = untilNs;
      clock.after(untilNs - clock.now(), emit);
      return;
    }
    // What happens to one job is told in order.
    if (this.#held?.job === job) this.#release();
    if (job !== undefined && !this.#held && find(faults, 'reorder')) {
      const held = { job, emit };
      this.#held = held;
      clock.after(HOLD_NS, () => this.#held === held && this.#release());
      return;
    }
    emit();
    this.#release();
  }

  #release(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.emit();
  }
}
