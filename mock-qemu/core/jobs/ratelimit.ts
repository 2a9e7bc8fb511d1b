/** QEMU's rate limit: a quota for each slice, and a debt that is slept off when one step overran it. */
import type { Traits } from '../traits.ts';

/** Length of a slice. */
export const SLICE_NS = 100_000_000;

/** Bytes per second over slices of 100 ms. */
export class RateLimit {
  readonly #kind: Traits['rateLimit'];
  #sliceStartNs = 0;
  #sliceEndNs = 0;
  #dispatchedBytes = 0;
  #quotaBytes = 0;

  constructor(kind: Traits['rateLimit']) {
    this.#kind = kind;
  }

  /** 0: unlimited. A limit below one byte per slice is one byte per slice. */
  set(bytesPerSecond: number): void {
    this.#quotaBytes = bytesPerSecond === 0 ? 0 : Math.max(1, Math.floor(bytesPerSecond / 10));
  }

  /** Whether there is none. */
  get unlimited(): boolean {
    return this.#quotaBytes === 0;
  }

  /** Accounts for bytes just moved; says how long to sleep before the next step. */
  delayNs(nowNs: number, bytes: number): number {
    if (this.#quotaBytes === 0) return 0;
    if (this.#sliceEndNs < nowNs) {
      this.#sliceStartNs = nowNs;
      this.#sliceEndNs = nowNs + SLICE_NS;
      this.#dispatchedBytes = 0;
    }
    if (this.#kind === 'slice') return this.#untilNextSlice(nowNs, bytes);
    this.#dispatchedBytes += bytes;
    if (this.#dispatchedBytes < this.#quotaBytes) return 0;
    const slices = this.#dispatchedBytes / this.#quotaBytes;
    this.#sliceEndNs = this.#sliceStartNs + Math.floor(slices * SLICE_NS);
    return this.#sliceEndNs - nowNs;
  }

  // Whatever does not fit waits for the next slice, and is then all that counts in it: no debt is kept.
  #untilNextSlice(nowNs: number, bytes: number): number {
    const fits = this.#dispatchedBytes === 0 || this.#dispatchedBytes + bytes <= this.#quotaBytes;
    this.#dispatchedBytes = fits ? this.#dispatchedBytes + bytes : bytes;
    return fits ? 0 : this.#sliceEndNs - nowNs;
  }
}
