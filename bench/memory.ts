/** What this process has in memory. Meant for processes of their own, started with --expose-gc. */

const BYTES_PER_KIB = 1024;
const MIB = 2 ** 20;

/** Memory now and at its peak, in MiB. */
export class MemoryMeter {
  readonly #baseRssBytes: number;

  /** Takes the baseline: Node with all code loaded, nothing simulated. */
  constructor() {
    globalThis.gc?.();
    this.#baseRssBytes = process.memoryUsage.rss();
  }

  /** The most that has ever been resident (VmHWM). */
  get peakMiB(): number {
    return (process.resourceUsage().maxRSS * BYTES_PER_KIB) / MIB;
  }

  /** How far the peak is above the baseline. */
  get grownMiB(): number {
    return Math.max(0, this.peakMiB - this.#baseRssBytes / MIB);
  }
}
