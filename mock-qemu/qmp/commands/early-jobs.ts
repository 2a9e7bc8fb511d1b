/** Jobs before they had names and states of their own: one for a drive, known by the drive's name. */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import { addDrive } from '../../core/devices.ts';
import { refuse } from '../../core/errors.ts';
import type { Job } from '../../core/jobs/job.ts';
import type { Vm } from '../../core/vm.ts';
import { chainCommands } from './chain.ts';
import { driveNamed, idleDrive, isDead, refuseSpeed } from './early-copy.ts';
import {
  type CommandContext,
  type CommandTable,
  exactInteger,
  flag,
  type Handler,
  needText,
  text,
} from './table.ts';

type Verb = (context: CommandContext, job: Job, args: JsonObject) => void;

/** The job of a drive; without one, the drive is not active, whether or not there is such a drive. */
function jobOf(vm: Vm, device: string): Job {
  return (
    vm.jobs.find(device) ??
    refuse(`No active block job on device '${device}'`, 'DeviceNotActive', { kind: 'not-active', device })
  );
}

const onJob =
  (verb: Verb): Handler =>
  (context, args) => {
    verb(context, jobOf(context.vm, needText(args, 'device')), args);
    return undefined;
  };

const cancel: Verb = ({ vm }, job, args) => {
  const force = flag(args, 'force') ?? false;
  if (job.userPaused && !force) {
    const device = job.id;
    const desc = `The block job for device '${device}' is currently paused`;
    refuse(desc, 'GenericError', { kind: 'job-paused', device });
  }
  // A dead job takes the request and does nothing with it.
  if (!isDead(job)) vm.jobs.userCancel(job, force);
};

const pause: Verb = ({ vm }, job) => {
  if (!job.userPaused && !isDead(job)) vm.jobs.userPause(job);
};

const resume: Verb = ({ vm }, job) => {
  if (job.userPaused) vm.jobs.userResume(job);
};

const complete: Verb = (_context, job) => {
  if (!job.ready || job.pauseCount > 0 || job.cancelRequested || job.task.complete === undefined) {
    const device = job.id;
    const desc = `The active block job for device '${device}' cannot be completed`;
    refuse(desc, 'GenericError', { kind: 'not-ready', device });
  }
  job.task.complete?.(job);
};

const setSpeed: Verb = (context, job, args) => {
  checkSpeed(context, args);
  job.setSpeed(exactInteger(args, 'speed') ?? 0);
};

function jobInfo({ profile }: CommandContext, job: Job): JsonObject {
  return {
    type: job.type,
    device: job.id,
    len: job.len,
    offset: job.offset,
    speed: job.speedBytesPerSecond,
    ...(profile.behaviour.errorPolicies && {
      busy: false,
      paused: job.pauseCount > 0,
      'io-status': job.ioStatus,
    }),
  };
}

/** Starts what later generations start, after the checks of this one. */
const startLike =
  (command: 'block-stream' | 'block-commit', check: (vm: Vm, args: JsonObject) => void): Handler =>
  (context, args, finish) => {
    idleDrive(context.vm, needText(args, 'device'));
    check(context.vm, args);
    checkSpeed(context, args);
    return chainCommands[command]?.(context, args, finish);
  };

function checkSpeed({ profile }: CommandContext, args: JsonObject): void {
  if ((exactInteger(args, 'speed') ?? 0) >= 0) return;
  if (profile.behaviour.errorPolicies) refuseSpeed();
  refuse('Not supported', 'GenericError', { kind: 'not-supported' });
}

/** Only what is below the guest's image can be merged. */
function checkCommit(vm: Vm, args: JsonObject): void {
  const active = driveNamed(vm, needText(args, 'device')).node?.image?.path;
  if (text(args, 'top') === active) refuse('Top image as active layer is currently unsupported');
  if (text(args, 'top') === text(args, 'base')) refuse('Invalid files for merge: top and base are the same');
}

/** A descriptor can only come along with the bytes of its command, through a unix socket's back door. */
const getDescriptor: Handler = ({ vm }, args) => {
  const received = vm.received.shift();
  if (!received) refuse('No file descriptor supplied via SCM_RIGHTS');
  else vm.descriptors.set(needText(args, 'fdname'), received);
  return undefined;
};

const closeDescriptor: Handler = ({ vm }, args) => {
  const name = needText(args, 'fdname');
  if (!vm.descriptors.delete(name)) {
    refuse(`File descriptor named '${name}' not found`, 'GenericError', { kind: 'fd-not-found', name });
  }
  return undefined;
};

/** The device goes, the drive with it. */
const deleteDrive: Handler = ({ vm }, args) => {
  const id = needText(args, 'id');
  const drive = driveNamed(vm, id);
  idleDrive(vm, id);
  vm.removeBackend(drive);
  return undefined;
};

/** Jobs of early generations, in place of those of the same name. */
export const earlyJobCommands: CommandTable = {
  'block-stream': startLike('block-stream', () => undefined),
  'block-commit': startLike('block-commit', checkCommit),
  'block-job-cancel': onJob(cancel),
  'block-job-pause': onJob(pause),
  'block-job-resume': onJob(resume),
  'block-job-complete': onJob(complete),
  'block-job-set-speed': onJob(setSpeed),
  'query-block-jobs': (context) => context.vm.jobs.jobs.map((job) => jobInfo(context, job)),
  'query-events': ({ profile }) => (profile.introspection.events ?? []).map((name) => ({ name })),
  'drive-add': ({ vm }, args) => {
    addDrive(vm, args);
    return undefined;
  },
  'drive-del': deleteDrive,
  getfd: getDescriptor,
  closefd: closeDescriptor,
};
