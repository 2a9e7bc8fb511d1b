/** The jobs that a command holds still while it works, over as many drained sections as it has. */
import type { Job } from '../../core/jobs/job.ts';
import type { Vm } from '../../core/vm.ts';

/** Jobs, each held as often as a section has met it. */
export class HeldJobs {
  readonly #vm: Vm;
  readonly #counts = new Map<Job, number>();

  constructor(vm: Vm) {
    this.#vm = vm;
  }

  /** Holds jobs once more each, then calls back. */
  hold(jobs: readonly Job[], then: () => void): void {
    for (const job of jobs) this.add(job, 1);
    this.#vm.drain(jobs, then);
  }

  /** Takes over a job that is held so many times already. */
  add(job: Job, times: number): void {
    this.#counts.set(job, (this.#counts.get(job) ?? 0) + times);
  }

  /** Holds a job that is held already until it has been met so many times. */
  atLeast(job: Job, times: number): void {
    const count = this.#counts.get(job) ?? 0;
    if (count === 0 || count >= times) return;
    for (let more = times - count; more > 0; more--) job.pause();
    this.#counts.set(job, times);
  }

  /** Lets a job go once, if it is held at all. */
  release(job: Job): void {
    const count = this.#counts.get(job) ?? 0;
    if (count === 0) return;
    this.#counts.set(job, count - 1);
    job.resume();
  }

  /** Lets go of all that no section meets any more. */
  releaseAll(): void {
    for (const [job, count] of this.#counts) for (let left = count; left > 0; left--) this.release(job);
  }
}
