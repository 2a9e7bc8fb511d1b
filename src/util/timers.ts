/**
 * Time as everything above the wire sees it. With a real QEMU it is the wall clock; with a simulated one it is
 * virtual, so that a wait of an hour costs nothing and a seed reproduces it.
 */
export interface Timers {
  /** Milliseconds since an arbitrary start. */
  now(): number;
  /** Calls back once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The wall clock. A pending callback does not keep the process alive. */
export const wallClock: Timers = {
  now: () => performance.now(),
  after(delayMs, callback) {
    const handle = setTimeout(callback, delayMs);
    handle.unref();
    return () => clearTimeout(handle);
  },
};
