/** Virtual time: nanoseconds since the world began, moved only from outside. */

/** Virtual time 0 as a date, in seconds since the Unix epoch: dates must not depend on the host's clock. */
export const EPOCH_SECONDS = 1_700_000_000;

/** Something that will happen. */
export interface Timer {
  readonly atNs: number;
  /** Makes it not happen; idempotent. */
  cancel(): void;
}

class HeapTimer implements Timer {
  readonly atNs: number;
  readonly order: number;
  run: (() => void) | undefined;
  constructor(atNs: number, order: number, run: () => void) {
    this.atNs = atNs;
    this.order = order;
    this.run = run;
  }
  cancel(): void {
    this.run = undefined;
  }
}

// Timers of one instant run in the order in which they were set: the order is part of the trace.
const before = (a: HeapTimer, b: HeapTimer): boolean =>
  a.atNs < b.atNs || (a.atNs === b.atNs && a.order < b.order);

/** A clock with a heap of timers. */
export class Clock {
  #nowNs: number;
  #order = 0;
  readonly #heap: HeapTimer[] = [];

  constructor(startNs = 0) {
    this.#nowNs = startNs;
  }

  /** The current instant. */
  now(): number {
    return this.#nowNs;
  }

  /** Calls back once, `delayNs` from now; 0 is the earliest possible instant after what already stands there. */
  after(delayNs: number, run: () => void): Timer {
    const timer = new HeapTimer(this.#nowNs + Math.max(0, Math.round(delayNs)), this.#order++, run);
    this.#push(timer);
    return timer;
  }

  /** The instant of the earliest timer. */
  nextAt(): number | undefined {
    let head = this.#heap[0];
    while (head && head.run === undefined) {
      this.#pop();
      head = this.#heap[0];
    }
    return head?.atNs;
  }

  /** Moves time forward and runs what falls due, each at its own instant; calls `afterEach` behind each. */
  advance(deltaNs: number, afterEach?: () => void): void {
    const untilNs = this.#nowNs + deltaNs;
    for (let at = this.nextAt(); at !== undefined && at <= untilNs; at = this.nextAt()) {
      const timer = this.#pop();
      this.#nowNs = at;
      const run = timer?.run;
      timer?.cancel();
      run?.();
      afterEach?.();
    }
    this.#nowNs = untilNs;
  }

  /** Forgets every timer: the process is dead. */
  stop(): void {
    this.#heap.length = 0;
  }

  #push(timer: HeapTimer): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(timer);
    while (index > 0) {
      const up = (index - 1) >> 1;
      const parent = heap[up] as HeapTimer;
      if (before(parent, timer)) break;
      heap[index] = parent;
      index = up;
    }
    heap[index] = timer;
  }

  #pop(): HeapTimer | undefined {
    const heap = this.#heap;
    const head = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return head;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      let least = left;
      if (right !== undefined && before(right, left)) {
        child++;
        least = right;
      }
      if (before(last, least)) break;
      heap[index] = least;
      index = child;
    }
    heap[index] = last;
    return head;
  }
}
