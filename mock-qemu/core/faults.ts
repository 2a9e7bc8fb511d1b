/** Input and output errors put into a simulated QEMU on purpose. */
import type { Errno } from './errno.ts';
import type { IoPoint } from './jobs/effects.ts';

/** One error at a named place. */
export interface IoFault {
  readonly at: IoPoint;
  readonly error: Errno;
  /** How many requests succeed before; 0 when left out. */
  readonly after?: number;
  /** How many requests fail; all that follow when left out. */
  readonly times?: number;
  /** Only requests that touch this byte. */
  readonly offset?: number;
}

/** The faults of one machine. */
export class Faults {
  #rules: { readonly fault: IoFault; seen: number }[] = [];

  add(fault: IoFault): void {
    this.#rules.push({ fault, seen: 0 });
  }

  /** Takes every fault back: the device is healthy again. */
  clear(): void {
    this.#rules = [];
  }

  /** The error of a request, if it meets one; counts it. */
  check(at: IoPoint, offset: number, bytes: number): Errno | undefined {
    let error: Errno | undefined;
    for (const rule of this.#rules) {
      const { fault } = rule;
      if (fault.at !== at) continue;
      if (fault.offset !== undefined && (fault.offset < offset || fault.offset >= offset + bytes)) continue;
      const nth = rule.seen++ - (fault.after ?? 0);
      if (nth >= 0 && nth < (fault.times ?? Number.POSITIVE_INFINITY)) error ??= fault.error;
    }
    return error;
  }
}
