/** block-job-* and job-*: the verbs that act on a job that runs, and the two queries. */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import { refuse } from '../../core/errors.ts';
import type { Job } from '../../core/jobs/job.ts';
import { MirrorTask } from '../../core/jobs/mirror.ts';
import {
  type CommandContext,
  type CommandTable,
  exactInteger,
  flag,
  type Handler,
  needText,
} from './table.ts';

type Verb = (context: CommandContext, job: Job, args: JsonObject) => void;

/** Looks a block job up as block-job-* commands do: other kinds of jobs do not exist for them. */
const onBlockJob =
  (member: 'device' | 'id', verb: Verb): Handler =>
  (context, args) => {
    const id = needText(args, member);
    const job = context.vm.jobs.find(id);
    if (!job?.isBlockJob) return refuse(`Block job '${id}' not found`, 'DeviceNotActive');
    verb(context, job, args);
    return undefined;
  };

const onJob =
  (verb: Verb): Handler =>
  (context, args) => {
    const job = context.vm.jobs.find(needText(args, 'id'));
    if (!job) return refuse('Job not found');
    verb(context, job, args);
    return undefined;
  };

const pause: Verb = ({ vm }, job) => vm.jobs.userPause(job);
const resume: Verb = ({ vm }, job) => vm.jobs.userResume(job);
const complete: Verb = ({ vm }, job) => vm.jobs.userComplete(job);
const finalize: Verb = ({ vm }, job) => vm.jobs.userFinalize(job);
const dismiss: Verb = ({ vm }, job) => vm.jobs.userDismiss(job);

const cancelSoftly: Verb = ({ vm }, job, args) => {
  const force = flag(args, 'force') ?? false;
  if (job.userPaused && !force) {
    refuse(`The block job for device '${needText(args, 'device')}' is currently paused`);
  }
  vm.jobs.userCancel(job, force);
};

const change: Verb = ({ profile }, job, args) => {
  job.checkVerb('change');
  const isOfType = profile.bugs.jobChangeIgnoresType || args.type === job.type;
  if (!(job.task instanceof MirrorTask) || job.type !== 'mirror' || !isOfType) {
    refuse('Job type does not support change');
  } else if (args['copy-mode'] === 'write-blocking') job.task.blockWrites(job);
  else if (job.task.writeBlocking) refuse("Change to copy mode 'background' is not implemented");
};

function blockJobInfo({ profile }: CommandContext, job: Job): JsonObject {
  return {
    'auto-finalize': job.autoFinalize,
    'io-status': job.ioStatus,
    device: job.id,
    'auto-dismiss': job.autoDismiss,
    busy: false,
    len: job.len,
    offset: job.offset,
    status: job.status,
    paused: job.pauseCount > 0,
    speed: job.speedBytesPerSecond,
    ready: job.ready,
    type: job.type,
    ...(profile.behaviour.activelySynced && job.task instanceof MirrorTask && job.type === 'mirror'
      ? { 'actively-synced': job.task.activelySynced }
      : {}),
    ...(job.error === undefined ? {} : { error: job.error }),
  };
}

const jobInfo = (job: Job): JsonObject => ({
  'current-progress': job.offset,
  status: job.status,
  'total-progress': job.len,
  type: job.type,
  id: job.id,
  ...(job.error === undefined ? {} : { error: job.error }),
});

/** Verbs and queries of jobs. */
export const jobVerbCommands: CommandTable = {
  'block-job-pause': onBlockJob('device', pause),
  'block-job-resume': onBlockJob('device', resume),
  'block-job-complete': onBlockJob('device', complete),
  'block-job-cancel': onBlockJob('device', cancelSoftly),
  'block-job-finalize': onBlockJob('id', finalize),
  'block-job-dismiss': onBlockJob('id', dismiss),
  'block-job-change': onBlockJob('id', change),
  'block-job-set-speed': onBlockJob('device', ({ vm }, job, args) =>
    vm.jobs.userSetSpeed(job, exactInteger(args, 'speed') ?? 0),
  ),
  'job-pause': onJob(pause),
  'job-resume': onJob(resume),
  'job-complete': onJob(complete),
  'job-cancel': onJob(({ vm }, job) => vm.jobs.userCancel(job, true)),
  'job-finalize': onJob(finalize),
  'job-dismiss': onJob(dismiss),
  'query-jobs': ({ vm }) => vm.jobs.jobs.map(jobInfo),
  'query-block-jobs': (context) =>
    context.vm.jobs.jobs.filter((job) => job.isBlockJob).map((job) => blockJobInfo(context, job)),
};
