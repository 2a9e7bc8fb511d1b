/** The block job as libvirt sees it: states, which verb is legal where, and what an ending means. Tables only. */
import type { JobRequest } from '../driver.ts';
import { BlockJobStatus, BlockJobType } from '../flags.ts';

/** Private job states (libvirt: qemuBlockjobState). `new` is registered but not yet accepted by the hypervisor. */
export type JobState = 'new' | 'running' | 'ready' | 'aborting' | 'pivoting';

/** What a user can ask of a job. */
export type JobVerb = 'abort' | 'pivot' | 'set-speed';

/** Which verbs a state takes; a job that is being ended takes none but a new speed. */
export const LEGAL_VERBS: Readonly<Record<JobState, readonly JobVerb[]>> = {
  new: ['abort', 'set-speed'],
  running: ['abort', 'set-speed'],
  ready: ['abort', 'pivot', 'set-speed'],
  aborting: ['set-speed'],
  pivoting: ['set-speed'],
};

/** The state a verb leads to. */
export const STATE_AFTER = { abort: 'aborting', pivot: 'pivoting' } as const satisfies Partial<
  Record<JobVerb, JobState>
>;

/** How a hypervisor ended a job. */
export type DriverOutcome = 'completed' | 'failed' | 'cancelled';

/** How a job ends for the user. `pivoted`: the disk now uses what the job made. */
export interface Ending {
  readonly status: Exclude<BlockJobStatus, typeof BlockJobStatus.READY>;
  readonly succeeded: boolean;
}

const COMPLETED: Ending = { status: BlockJobStatus.COMPLETED, succeeded: true };
const FAILED: Ending = { status: BlockJobStatus.FAILED, succeeded: false };
const CANCELED: Ending = { status: BlockJobStatus.CANCELED, succeeded: false };

const NOT_ASKED = { completed: COMPLETED, failed: FAILED, cancelled: FAILED } as const;

/**
 * What an outcome means, by the state the job was in. An abort that was asked for is CANCELED whatever the
 * hypervisor says: cancelling a ready mirror is a success there.
 */
export const ENDING: Readonly<Record<JobState, Readonly<Record<DriverOutcome, Ending>>>> = {
  new: NOT_ASKED,
  running: NOT_ASKED,
  ready: NOT_ASKED,
  pivoting: NOT_ASKED,
  aborting: { completed: CANCELED, failed: CANCELED, cancelled: CANCELED },
};

/** virDomainBlockJobType by what was asked of the driver. */
export const PUBLIC_TYPE: Readonly<Record<JobRequest['kind'], BlockJobType>> = {
  pull: BlockJobType.PULL,
  commit: BlockJobType.COMMIT,
  'active-commit': BlockJobType.ACTIVE_COMMIT,
  copy: BlockJobType.COPY,
};
