/**
 * QEMU with drive-mirror and without block nodes that are worth using (1.3 to 2.x): the job opens the target's file, READY
 * is an event, and block-job-complete pivots. The commands are those of libvirt 1.0 to 5.9.
 */
import type { CommitRequest, CopyRequest } from '../../../src/driver.ts';
import { member, type QmpCall } from '../qmp-json.ts';
import type { Dialect, JobView } from './dialect.ts';
import { cancelJob, chosenName, copyMembers, createDriveDialect, startPull, unsupported } from './drives.ts';

/** What differs inside the era. */
export interface DriveMirrorSwitches {
  /** drive-mirror takes granularity and buf-size. */
  readonly copyTuning: boolean;
  /** block-stream and block-commit take `backing-file`. */
  readonly backingFile: boolean;
  /** block-commit takes the image that the guest writes to. */
  readonly activeCommit: boolean;
}

function startCopy(job: JobView, request: CopyRequest, { copyTuning }: DriveMirrorSwitches): QmpCall {
  const { granularityBytes, bufSizeBytes, synchronousWrites, shallow } = request;
  const tuned = granularityBytes !== 0 || Number(bufSizeBytes) !== 0;
  if (tuned && !copyTuning) throw unsupported('granularity and buf-size of a block copy are');
  if (synchronousWrites) throw unsupported('a block copy with synchronous writes is');
  return {
    execute: 'drive-mirror',
    arguments: {
      ...copyMembers(job, job.key),
      sync: shallow ? 'top' : 'full',
      ...member('granularity', granularityBytes === 0 ? undefined : granularityBytes),
      ...member('buf-size', Number(bufSizeBytes) === 0 ? undefined : bufSizeBytes),
    },
  };
}

function startCommit(job: JobView, request: CommitRequest, switches: DriveMirrorSwitches): QmpCall {
  const { top, base, backingName, kind } = request;
  if (kind === 'active-commit' && !switches.activeCommit) throw unsupported('active commit is');
  return {
    execute: 'block-commit',
    arguments: {
      device: job.key,
      speed: request.speedBytesPerSecond,
      top: top.path,
      base: base.path,
      ...(kind === 'commit' &&
        chosenName(backingName, base, switches.backingFile, 'a relative name of a committed base is')),
    },
  };
}

/** Builds the dialect for one QEMU of the era. */
export function createDriveMirrorDialect(switches: DriveMirrorSwitches): Dialect {
  return createDriveDialect({
    name: 'drive-mirror',
    capabilities: {
      commit: true,
      activeCommit: switches.activeCommit,
      copyTuning: switches.copyTuning,
      copiesReadOnly: false,
    },
    polling: { everyMs: 50, settledMs: 300, readyEvent: true },
    start: {
      copy: (job, request: CopyRequest) => startCopy(job, request, switches),
      pull: (job, request) => startPull(request, job.key, switches.backingFile),
      commit: (job, request: CommitRequest) => startCommit(job, request, switches),
      'active-commit': (job, request: CommitRequest) => startCommit(job, request, switches),
    },
    conclude: (job, how) =>
      how === 'abort'
        ? [cancelJob(job)]
        : [{ do: 'call', call: { execute: 'block-job-complete', arguments: { device: job.key } } }],
    isNoSpace: (data) => data.nospace === true,
  });
}
