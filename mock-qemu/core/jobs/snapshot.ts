/** snapshot-save, -load and -delete: jobs that do all their work at once. */
import { refusalOf } from '../snapshots.ts';
import type { JobRun } from './effects.ts';
import type { Job, JobTask } from './job.ts';

/** One operation on internal snapshots. */
export class SnapshotTask implements JobTask {
  readonly #work: () => void;
  readonly #endsLater: boolean;

  /**
   * @param work refuses by a CommandError, which becomes the job's failure.
   * @param endsLater the command that starts it is answered before its end
   */
  constructor(work: () => void, endsLater = true) {
    this.#work = work;
    this.#endsLater = endsLater;
  }

  *run(job: Job): JobRun {
    job.len = 1;
    const text = refusalOf(this.#work);
    job.offset = 1;
    if (this.#endsLater) yield { type: 'settle' };
    return text === undefined ? undefined : { code: 'EINVAL', text };
  }
}
