/** What a block job call will do, worked out before anything is sent: pure, from the disk as it is. */
import type { ImageDescription, MirrorDescription } from '../conf/disk.ts';
import { assert } from '../util/assert.ts';
import { imageRef, type LiveDisk } from './live.ts';
import type { JobEntry } from './registry.ts';

/** A job that has passed every check. */
export interface JobPlan {
  readonly entry: JobEntry;
  /** Shown in the XML from before the job is sent. */
  readonly mirror: MirrorDescription | undefined;
}

/** libvirt's job names: the kind, the disk, and the node of the image that the job is about. */
const jobId = (kind: string, disk: LiveDisk, image: ImageDescription): string =>
  `${kind}-${disk.target}-libvirt-${image.index}-format`;

function activeOf(disk: LiveDisk): ImageDescription {
  const active = disk.chain[0];
  assert(active, `disk ${disk.target} has no medium`);
  return active;
}

/**
 * Pull everything above `base` (everything, without one) into the active image.
 * @param backingName what the active image will call the base
 */
export function planPull(
  disk: LiveDisk,
  base: ImageDescription | undefined,
  speed: number | bigint,
  backingName: string | undefined,
): JobPlan {
  const top = activeOf(disk);
  const kept = base ? disk.chain.slice(disk.chain.indexOf(base)) : [];
  const id = jobId('pull', disk, top);
  const pulled = [top, ...kept];
  return {
    entry: {
      id,
      kind: 'pull',
      disk,
      mirrors: false,
      after: pulled,
      deletes: false,
      target: undefined,
      request: {
        kind: 'pull',
        id,
        disk: disk.target,
        speedBytesPerSecond: speed,
        top: imageRef(top),
        ...(base && { base: imageRef(base), backingName: backingName ?? base.path }),
      },
    },
    mirror: undefined,
  };
}

/** How a commit is done. */
export interface CommitChoice {
  readonly speedBytesPerSecond: number | bigint;
  /** What the image above `top` will call the base; unused by an active commit, above which is nothing. */
  readonly backingName: string;
  /** Unlink what was committed once it is no longer needed (BLOCK_COMMIT_DELETE). */
  readonly deletes: boolean;
}

/** Commit `top` down into `base`; an active commit when top is what the guest writes to. */
export function planCommit(
  disk: LiveDisk,
  top: ImageDescription,
  base: ImageDescription,
  { speedBytesPerSecond, backingName, deletes }: CommitChoice,
): JobPlan {
  const active = activeOf(disk);
  const kind = top === active ? 'active-commit' : 'commit';
  const id = jobId('commit', disk, top);
  const merged = [
    ...disk.chain.slice(0, disk.chain.indexOf(top)),
    ...disk.chain.slice(disk.chain.indexOf(base)),
  ];
  return {
    entry: {
      id,
      kind,
      disk,
      mirrors: kind === 'active-commit',
      after: merged,
      deletes,
      target: undefined,
      request: {
        kind,
        id,
        disk: disk.target,
        speedBytesPerSecond,
        active: imageRef(active),
        top: imageRef(top),
        base: imageRef(base),
        ...(kind === 'commit' && { backingName }),
      },
    },
    mirror:
      kind === 'active-commit' ? { job: kind, image: base, backing: undefined, ready: undefined } : undefined,
  };
}

/** What a copy was asked for, with its destination already looked at. */
export interface CopyChoice {
  readonly destination: ImageDescription;
  /** The destination's own chain below it, only when a shallow copy reuses an image. */
  readonly destinationBacking: readonly ImageDescription[];
  readonly reuse: boolean;
  readonly shallow: boolean;
  readonly synchronousWrites: boolean;
  readonly speedBytesPerSecond: number | bigint;
  readonly granularityBytes: number;
  readonly bufSizeBytes: number | bigint;
}

/** Copy a disk into a destination. */
export function planCopy(disk: LiveDisk, choice: CopyChoice): JobPlan {
  const source = activeOf(disk);
  const id = jobId('copy', disk, source);
  const inherited = choice.shallow && !choice.reuse ? disk.chain.slice(1) : choice.destinationBacking;
  const image = imageRef(choice.destination);
  return {
    entry: {
      id,
      kind: 'copy',
      disk,
      mirrors: true,
      after: [choice.destination, ...inherited],
      deletes: false,
      target: {
        disk: disk.target,
        source: imageRef(source),
        image,
        backing: inherited.map(imageRef),
        reuse: choice.reuse,
      },
      request: {
        kind: 'copy',
        id,
        disk: disk.target,
        speedBytesPerSecond: choice.speedBytesPerSecond,
        source: imageRef(source),
        target: { image },
        shallow: choice.shallow,
        granularityBytes: choice.granularityBytes,
        bufSizeBytes: choice.bufSizeBytes,
        synchronousWrites: choice.synchronousWrites,
      },
    },
    mirror: {
      job: 'copy',
      image: choice.destination,
      // A shallow copy into a new file will inherit the source's chain, so it shows none of its own.
      backing: choice.shallow && !choice.reuse ? undefined : choice.destinationBacking,
      ready: undefined,
    },
  };
}
