/** The line that says where a run stands. */
import type { Progress } from './run.ts';

/** Where progress goes: standard error, as a rule. */
export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  /** Characters a line holds. */
  readonly columns?: number;
}

/** How often a terminal's line is redrawn. */
const REDRAW_MS = 100;
/** How often anything else gets a line. */
const PLAIN_LINE_MS = 10_000;
const CLEAR_LINE = '\r\u001b[K';

/** Rewrites one line on a terminal; elsewhere prints one now and then, and one for every new target. */
export class ProgressLine {
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  #lastAt = Number.NEGATIVE_INFINITY;
  #lastPhase = '';

  /** `now` in ms. */
  constructor(stream: ProgressStream, now: () => number = () => performance.now()) {
    this.#stream = stream;
    this.#now = now;
  }

  /** Shows where the run stands, unless it has just been shown. */
  show(progress: Progress): void {
    const phase = `${progress.target} ${progress.canary === undefined ? 'contracts' : 'canaries'}`;
    const isDue = this.#now() - this.#lastAt >= (this.#stream.isTTY ? REDRAW_MS : PLAIN_LINE_MS);
    if (!isDue && phase === this.#lastPhase) return;
    this.#lastAt = this.#now();
    this.#lastPhase = phase;
    const text =
      `${phase} ${progress.done + 1}/${progress.total}, ${progress.cases} cases: ` +
      (progress.canary === undefined ? progress.contract : `${progress.canary} (${progress.contract})`);
    if (this.#stream.isTTY) this.#stream.write(CLEAR_LINE + text.slice(0, (this.#stream.columns ?? 80) - 1));
    else this.#stream.write(`${text}\n`);
  }

  /** Takes the line away before other output. */
  clear(): void {
    if (this.#stream.isTTY) this.#stream.write(CLEAR_LINE);
  }
}
