/** Looks at jobs now and then, for QEMUs whose events do not tell all. */
import type { Timers } from '../../src/util/timers.ts';
import type { JobReport, Polling } from './dialects/dialect.ts';

/** Knows since when all of a job's work has shown as done. */
export class Steadiness {
  readonly #neededMs: number;
  #sinceMs: number | undefined;

  constructor(neededMs: number) {
    this.#neededMs = neededMs;
  }

  /** Takes one look; true once nothing has been left to do for long enough. */
  look({ current, total }: Pick<JobReport, 'current' | 'total'>, nowMs: number): boolean {
    const isDone = total > 0 && current === total;
    this.#sinceMs = isDone ? (this.#sinceMs ?? nowMs) : undefined;
    return this.#sinceMs !== undefined && nowMs - this.#sinceMs >= this.#neededMs;
  }
}

/** What a watch stands on. */
export interface JobWatchParts {
  readonly polling: Polling;
  readonly timers: Timers;
  /** Rejects when the connection is lost: then there is nothing to look at any more. */
  readonly ask: () => Promise<readonly JobReport[]>;
  readonly onReady: (key: string) => void;
  readonly onGone: (key: string) => void;
}

/** The jobs of one machine that are looked at. */
export class JobWatch {
  readonly #parts: JobWatchParts;
  readonly #becomingReady = new Map<string, Steadiness>();
  readonly #leaving = new Set<string>();
  #cancel: (() => void) | undefined;
  #closed = false;

  constructor(parts: JobWatchParts) {
    this.#parts = parts;
  }

  /** Tells when a mirror is READY; does nothing where an event does that, unless it may have come too early to be heard. */
  untilReady(key: string, isMissed = false): void {
    const { settledMs, readyEvent } = this.#parts.polling;
    if (readyEvent && !isMissed) return;
    this.#becomingReady.set(key, new Steadiness(settledMs));
    this.#schedule();
  }

  /** Tells when a job is no longer there, should its last event not come. */
  untilGone(key: string): void {
    this.#leaving.add(key);
    this.#schedule();
  }

  /** The job's end is known. */
  forget(key: string): void {
    this.#becomingReady.delete(key);
    this.#leaving.delete(key);
  }

  /** Stops for good. */
  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  #schedule(): void {
    const isIdle = this.#becomingReady.size === 0 && this.#leaving.size === 0;
    if (this.#closed || isIdle || this.#cancel !== undefined) return;
    this.#cancel = this.#parts.timers.after(this.#parts.polling.everyMs, () => void this.#look());
  }

  async #look(): Promise<void> {
    let reports: readonly JobReport[];
    try {
      reports = await this.#parts.ask();
    } catch {
      this.close();
      return;
    }
    this.#cancel = undefined;
    if (this.#closed) return;
    const nowMs = this.#parts.timers.now();
    for (const report of reports) this.#lookAt(report, nowMs);
    for (const key of this.#leaving) {
      if (!reports.some((report) => report.key === key)) this.#tellGone(key);
    }
    this.#schedule();
  }

  #lookAt(report: JobReport, nowMs: number): void {
    if (!this.#becomingReady.get(report.key)?.look(report, nowMs)) return;
    this.#becomingReady.delete(report.key);
    this.#parts.onReady(report.key);
  }

  #tellGone(key: string): void {
    this.forget(key);
    this.#parts.onGone(key);
  }
}
