/**
 * qemu-kvm of RHEL 6.3 and later: copies under Red Hat's own names. No event says READY, so progress is polled; the pivot
 * reopens the drive on the copy, with the guest stopped, so that a manager that dies half-way finds both images equal.
 */
import type { CommitRequest, CopyRequest } from '../../../src/driver.ts';
import type { QmpCall } from '../qmp-json.ts';
import type { Dialect, JobView, Step } from './dialect.ts';
import { cancelJob, chosenName, copyMembers, createDriveDialect, startPull, unsupported } from './drives.ts';

/** What differs between the releases. */
export interface Rhel6Switches {
  /** There is `__com.redhat_block-commit` (6.4). */
  readonly commit: boolean;
}

const POLL_MS = 50;
/**
 * offset reaches len up to one slice of 100 ms before the job regards itself as synced, and a write of the guest in that
 * time adds another slice: only what has stood still for longer is true.
 */
const SETTLED_MS = 300;

function startCopy(job: JobView, request: CopyRequest): QmpCall {
  if (request.granularityBytes !== 0 || Number(request.bufSizeBytes) !== 0) {
    throw unsupported('granularity and buf-size of a block copy are');
  }
  if (request.synchronousWrites) throw unsupported('a block copy with synchronous writes is');
  return {
    execute: '__com.redhat_drive-mirror',
    arguments: { ...copyMembers(job, job.key), full: !request.shallow },
  };
}

function startCommit(job: JobView, request: CommitRequest, { commit }: Rhel6Switches): QmpCall {
  if (!commit) throw unsupported('online commit is');
  if (request.kind === 'active-commit') throw unsupported('active commit is');
  const { top, base, backingName } = request;
  return {
    execute: '__com.redhat_block-commit',
    arguments: {
      device: job.key,
      speed: request.speedBytesPerSecond,
      top: top.path,
      base: base.path,
      ...chosenName(backingName, base, false, 'a relative name of a committed base is'),
    },
  };
}

/** Reopening a drive whose job is not synced would lose the copy, so it is looked at once more. */
function pivot({ key, request }: JobView): readonly Step[] {
  if (request.kind !== 'copy') throw unsupported('a pivot of anything but a copy is');
  const { path, format } = request.target.image;
  const reopen = { device: key, 'new-image-file': path, format };
  return [
    { do: 'settle', key, everyMs: POLL_MS, forMs: SETTLED_MS },
    { do: 'call', call: { execute: '__com.redhat_drive-reopen', arguments: reopen } },
  ];
}

/** Builds the dialect for one release. */
export function createRhel6Dialect(switches: Rhel6Switches): Dialect {
  return createDriveDialect({
    name: 'rhel6',
    capabilities: { commit: switches.commit, activeCommit: false, copyTuning: false, copiesReadOnly: false },
    polling: { everyMs: POLL_MS, settledMs: SETTLED_MS, readyEvent: false },
    start: {
      copy: (job, request: CopyRequest) => startCopy(job, request),
      pull: (job, request) => startPull(request, job.key, false),
      commit: (job, request: CommitRequest) => startCommit(job, request, switches),
      'active-commit': (job, request: CommitRequest) => startCommit(job, request, switches),
    },
    conclude: (job, how) => (how === 'abort' ? [cancelJob(job)] : pivot(job)),
    isNoSpace: (data) => data['__com.redhat_reason'] === 'enospc',
  });
}
