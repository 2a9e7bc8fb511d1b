/** Rebuilds what was asked of the hypervisor from a job's part of the status document. */
import { imageRef, type LiveDisk } from '../blockjob/live.ts';
import type { JobEntry } from '../blockjob/registry.ts';
import type { ImageDescription } from '../conf/disk.ts';
import type { JobRequest, TargetSpec } from '../driver.ts';
import { ErrorCode, VirtError } from '../errors.ts';
import type { JobStatus } from './status.ts';

/** Images that a job is about. */
interface Images {
  readonly active: ImageDescription;
  readonly first: ImageDescription;
}

/**
 * A job as it was registered. Speed and buffers are not kept: they matter to nobody once it runs.
 * @throws VirtError XML_ERROR if it does not fit the disks
 */
export function rebuildJob(status: JobStatus, disks: readonly LiveDisk[]): JobEntry {
  const { id, kind, after, deletes } = status;
  const disk = disks.find(({ target }) => target === status.disk);
  const active = disk?.chain[0];
  const first = after[0];
  if (!disk || !active || !first) throw misfit(status);
  const images = { active, first };
  return {
    id,
    kind,
    disk,
    mirrors: kind === 'copy' || kind === 'active-commit',
    after,
    deletes,
    request: REQUEST[kind](status, disk, images),
    target: kind === 'copy' ? targetOf(status, disk, images) : undefined,
  };
}

const misfit = ({ id }: JobStatus): VirtError =>
  new VirtError(ErrorCode.XML_ERROR, `job '${id}' does not fit its disk`);

function targetOf({ after, reuse }: JobStatus, disk: LiveDisk, { active, first }: Images): TargetSpec {
  return {
    disk: disk.target,
    source: imageRef(active),
    image: imageRef(first),
    backing: after.slice(1).map(imageRef),
    reuse,
  };
}

type Rebuild = (status: JobStatus, disk: LiveDisk, images: Images) => JobRequest;

const base = ({ id, disk }: JobStatus) => ({ id, disk, speedBytesPerSecond: 0 });

const REQUEST: Readonly<Record<JobStatus['kind'], Rebuild>> = {
  pull(status, _disk, { active }) {
    const kept = status.after[1];
    return { ...base(status), kind: 'pull', top: imageRef(active), ...(kept && { base: imageRef(kept) }) };
  },
  commit(status, disk, { active }) {
    const depth = disk.chain.findIndex(({ index }) => index === status.top);
    const [top, into] = [disk.chain[depth], status.after[depth]];
    if (!top || !into) throw misfit(status);
    return {
      ...base(status),
      kind: 'commit',
      active: imageRef(active),
      top: imageRef(top),
      base: imageRef(into),
    };
  },
  'active-commit': (status, _disk, { active, first }) => ({
    ...base(status),
    kind: 'active-commit',
    active: imageRef(active),
    top: imageRef(active),
    base: imageRef(first),
  }),
  copy: (status, _disk, { active, first }) => ({
    ...base(status),
    kind: 'copy',
    source: imageRef(active),
    target: { image: imageRef(first) },
    shallow: status.shallow,
    granularityBytes: 0,
    bufSizeBytes: 0,
    synchronousWrites: false,
  }),
};
