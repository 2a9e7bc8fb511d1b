/** snapshot-save, -load and -delete: jobs that do all their work at once. */
import { refusalOf } from '../snapshots.ts';
import type { JobRun } from './effects.ts';
import type { Job, JobTask } from './job.ts';

/** One operation on internal snapshots. */
export class SnapshotTask implements JobTask {
  readonly #work: () => void;

  /** @param work refuses by a CommandError, which becomes the job's failure. */
  constructor(work: () => void) {
    this.#work = work;
  }

  *run(job: Job): JobRun {
    job.len = 1;
    const text = refusalOf(this.#work);
    job.offset = 1;
    yield { type: 'settle' };
    return text === undefined ? undefined : { code: 'EINVAL', text };
  }
}
