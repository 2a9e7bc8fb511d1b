/** The guest's own time: it stands while the CPUs do, and goes back with a machine state. */
import type { Clock } from '../clock.ts';

/** How long a guest has run. */
export class GuestClock {
  readonly #clock: Clock;
  #ranNs = 0;
  #sinceNs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Nanoseconds. */
  get ns(): number {
    return this.#ranNs + (this.#sinceNs === undefined ? 0 : this.#clock.now() - this.#sinceNs);
  }

  /** Puts it to where it stood when a machine state was saved. */
  set(ns: number): void {
    this.#ranNs = ns;
    if (this.#sinceNs !== undefined) this.#sinceNs = this.#clock.now();
  }

  /** The CPUs run; idempotent. */
  start(): void {
    this.#sinceNs ??= this.#clock.now();
  }

  /** The CPUs stand; idempotent. */
  stop(): void {
    this.#ranNs = this.ns;
    this.#sinceNs = undefined;
  }
}
