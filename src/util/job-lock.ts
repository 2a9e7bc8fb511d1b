/** One modification at a time, with a deadline: libvirt's domain job lock. */
import type { Timers } from './timers.ts';

interface Waiter {
  readonly grant: () => void;
  readonly cancelDeadline: () => void;
}

/** A queue of exclusive sections. */
export class JobLock {
  readonly #timers: Timers;
  readonly #waiters: Waiter[] = [];
  #holder: string | undefined;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Who has it now. */
  get holder(): string | undefined {
    return this.#holder;
  }

  /**
   * Runs `section` when its turn comes.
   * @param name shown to those who wait in vain
   * @param timeoutMs how long to wait for the turn
   * @param onTimeout makes the error of a wait in vain, from the holder's name
   */
  async run<T>(
    name: string,
    timeoutMs: number,
    onTimeout: (holder: string) => Error,
    section: () => Promise<T>,
  ): Promise<T> {
    if (this.#holder !== undefined) await this.#turn(timeoutMs, onTimeout);
    this.#holder = name;
    try {
      return await section();
    } finally {
      this.#pass();
    }
  }

  #turn(timeoutMs: number, onTimeout: (holder: string) => Error): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancelDeadline = this.#timers.after(timeoutMs, () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(onTimeout(this.#holder ?? 'nobody'));
      });
      const waiter: Waiter = { grant: resolve, cancelDeadline };
      this.#waiters.push(waiter);
    });
  }

  /** Hands over without letting go in between, so that nobody slips in before the next in line has run. */
  #pass(): void {
    const next = this.#waiters.shift();
    if (!next) {
      this.#holder = undefined;
      return;
    }
    next.cancelDeadline();
    next.grant();
  }
}
