/** Virtual time for a driver that only computes. */
import type { Timers } from '../../src/util/timers.ts';

interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/** Time that jumps to the next timer once the program has nothing else to do. */
export function virtualTimers(): Timers {
  const pending = new Set<Timer>();
  let nowMs = 0;
  let order = 0;
  let isTurning = false;
  const turn = () => {
    const [next] = [...pending].sort((left, right) => left.atMs - right.atMs || left.order - right.order);
    isTurning = next !== undefined;
    if (!next) return;
    pending.delete(next);
    nowMs = Math.max(nowMs, next.atMs);
    next.callback();
    setImmediate(turn);
  };
  return {
    now: () => nowMs,
    after(delayMs, callback) {
      const timer: Timer = { atMs: nowMs + delayMs, order: order++, callback };
      pending.add(timer);
      if (!isTurning) setImmediate(turn);
      isTurning = true;
      return () => pending.delete(timer);
    },
  };
}
