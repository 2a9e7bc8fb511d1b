/**
 * The status document: what is known of one domain, as JSON. It is written by this module and read by it, but what is
 * read may have been through anything, so every member is checked.
 */
import type { LeavingImage } from '../blockjob/registry.ts';
import type { JobState } from '../blockjob/states.ts';
import type { CheckpointDefinition, CheckpointDisk } from '../conf/checkpoint.ts';
import type { ImageDescription, MirrorDescription } from '../conf/disk.ts';
import {
  SNAPSHOT_LOCATIONS,
  SNAPSHOT_STATES,
  type SnapshotDefinition,
  type SnapshotDisk,
} from '../conf/snapshot.ts';
import type { JobRequest } from '../driver.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { DomainState } from '../flags.ts';
import { count, flag, listOf, Misshapen, oneOf, optional, type Reader, shapeOf, text } from './shape.ts';
import type { StoredText } from './store.ts';

/** How a block job ended of which no caller is there to be told. */
export interface OutcomeStatus {
  /** Target. */
  readonly disk: string;
  readonly kind: JobRequest['kind'];
  readonly outcome: 'completed' | 'failed' | 'unknown';
  /** What the disk used until then. */
  readonly source: string;
  /** What it uses if the job completed. */
  readonly destination: string;
}

/** A job that was going on. */
export interface JobStatus {
  readonly id: string;
  readonly kind: JobRequest['kind'];
  readonly disk: string;
  readonly state: JobState;
  /** The disk's chain if it completes. */
  readonly after: readonly ImageDescription[];
  readonly deletes: boolean;
  /** Of a copy: the destination was there before. */
  readonly reuse: boolean;
  /** Of a copy: only what is above the backing file. */
  readonly shallow: boolean;
  /** Of a commit: what is merged, by index. */
  readonly top: number | undefined;
  /** How the hypervisor has said that it ended. */
  readonly verdict: 'completed' | 'failed' | undefined;
}

/** A disk as it was in use. */
export interface DiskStatus {
  /** Its `<disk>`. */
  readonly xml: string;
  readonly alias: string;
  readonly chain: readonly ImageDescription[];
  readonly mirror: MirrorDescription | undefined;
  readonly emptyIndex: number | undefined;
  /** What the chain becomes if the change that was about to be sent has happened. */
  readonly next: readonly ImageDescription[] | undefined;
}

/** One run of a domain. */
export interface RunStatus {
  readonly id: number;
  /** What the driver finds the machine by. */
  readonly handle: string;
  /** Its start had not succeeded yet. */
  readonly starting: boolean;
  readonly state: {
    readonly state: typeof DomainState.RUNNING | typeof DomainState.PAUSED;
    readonly reason: number;
  };
  /** The `<domain>` that it was started from. */
  readonly live: string;
  /** The last image index that was given out. */
  readonly lastIndex: number;
  readonly disks: readonly DiskStatus[];
  readonly jobs: readonly JobStatus[];
  /** The guest is paused, or about to be, for the pivot of this job. */
  readonly pausedFor: { readonly job: string; readonly resumes: boolean } | undefined;
  /** Images, by index, whose write thresholds were armed as `vda[N]`. */
  readonly armedByIndex: readonly number[] | undefined;
  /** Images that no chain has any more and that are about to be closed, and some of them unlinked; undefined: none. */
  readonly leaving: readonly LeavingImage[] | undefined;
}

/** Where a snapshot or a checkpoint stood among others. */
export interface LeftMoment {
  /** The name of the one that it came from. */
  readonly parent: string | undefined;
  readonly current: boolean;
}

/** A snapshot of a domain. */
export interface SnapshotStatus extends SnapshotDefinition, LeftMoment {}

/** A checkpoint of a domain. */
export interface CheckpointStatus extends CheckpointDefinition, LeftMoment {}

/** One domain. */
export interface DomainStatus {
  readonly format: typeof FORMAT;
  readonly version: typeof VERSION;
  readonly name: string;
  readonly uuid: string;
  /** `<domain>`; left out for a transient one. */
  readonly persistent: string | undefined;
  /** Left out: it is not. */
  readonly autostart: true | undefined;
  readonly offReason: number;
  readonly run: RunStatus | undefined;
  readonly outcomes: readonly OutcomeStatus[];
  /** In the order in which they were taken; undefined: none. */
  readonly snapshots: readonly SnapshotStatus[] | undefined;
  /** As {@link snapshots}. */
  readonly checkpoints: readonly CheckpointStatus[] | undefined;
}

const FORMAT = 'mockvirt-domain-status';
const VERSION = 1;
const KINDS = ['pull', 'commit', 'active-commit', 'copy'] as const;

const trueOnly: Reader<true> = (value, at) => {
  if (value === true) return value;
  throw new Misshapen(`${at} is not true`);
};

const image: Reader<ImageDescription> = shapeOf<ImageDescription>({
  type: oneOf('file', 'block'),
  path: text,
  format: text,
  index: count,
  relativeName: optional(text),
  detected: optional(trueOnly),
});

const chain = listOf(image);

const mirror = shapeOf<MirrorDescription>({
  job: oneOf('copy', 'active-commit'),
  image,
  backing: optional(chain),
  ready: optional(oneOf('yes', 'pivot', 'abort')),
});

const outcome = shapeOf<OutcomeStatus>({
  disk: text,
  kind: oneOf(...KINDS),
  outcome: oneOf('completed', 'failed', 'unknown'),
  source: text,
  destination: text,
});

const job = shapeOf<JobStatus>({
  id: text,
  kind: oneOf(...KINDS),
  disk: text,
  state: oneOf('new', 'running', 'ready', 'aborting', 'pivoting'),
  after: chain,
  deletes: flag,
  reuse: flag,
  shallow: flag,
  top: optional(count),
  verdict: optional(oneOf('completed', 'failed')),
});

const disk = shapeOf<DiskStatus>({
  xml: text,
  alias: text,
  chain,
  mirror: optional(mirror),
  emptyIndex: optional(count),
  next: optional(chain),
});

const run = shapeOf<RunStatus>({
  id: count,
  handle: text,
  starting: flag,
  state: shapeOf<RunStatus['state']>({
    state: oneOf(DomainState.RUNNING, DomainState.PAUSED),
    reason: count,
  }),
  live: text,
  lastIndex: count,
  disks: listOf(disk),
  jobs: listOf(job),
  pausedFor: optional(shapeOf<NonNullable<RunStatus['pausedFor']>>({ job: text, resumes: flag })),
  armedByIndex: optional(listOf(count)),
  leaving: optional(listOf(shapeOf<LeavingImage>({ image, unlinks: flag }))),
});

const snapshotDisk = shapeOf<SnapshotDisk>({
  name: text,
  location: oneOf(...SNAPSHOT_LOCATIONS),
  overlay: optional(
    shapeOf<NonNullable<SnapshotDisk['overlay']>>({ type: oneOf('file', 'block'), path: text, format: text }),
  ),
});

const snapshot = shapeOf<SnapshotStatus>({
  name: text,
  description: optional(text),
  state: oneOf(...SNAPSHOT_STATES),
  creationTimeSeconds: count,
  disks: listOf(snapshotDisk),
  domainXml: text,
  inactiveXml: optional(text),
  memoryFile: optional(text),
  parent: optional(text),
  current: flag,
});

const checkpoint = shapeOf<CheckpointStatus>({
  name: text,
  description: optional(text),
  creationTimeSeconds: count,
  disks: listOf(shapeOf<CheckpointDisk>({ name: text, bitmap: optional(text) })),
  domainXml: optional(text),
  parent: optional(text),
  current: flag,
});

const domain = shapeOf<DomainStatus>({
  format: oneOf(FORMAT),
  version: oneOf(VERSION),
  name: text,
  uuid: text,
  persistent: optional(text),
  autostart: optional(trueOnly),
  offReason: count,
  run: optional(run),
  outcomes: listOf(outcome),
  snapshots: optional(listOf(snapshot)),
  checkpoints: optional(listOf(checkpoint)),
});

/** Writes a document. */
export function formatStatus(status: Omit<DomainStatus, 'format' | 'version'>): string {
  return `${JSON.stringify({ format: FORMAT, version: VERSION, ...status }, undefined, 1)}\n`;
}

/**
 * Reads a document.
 * @throws VirtError XML_DETAIL that names the place and what to do, for anything that this module has not written
 */
export function parseStatus({ text: written, place, key }: StoredText): DomainStatus {
  try {
    const status = domain(JSON.parse(written), '');
    if (status.uuid !== key) throw new Misshapen(`uuid is not ${key}`);
    return status;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof Misshapen) throw brokenStatus(place, error.message);
    throw error;
  }
}

/** The error for a document that cannot be used. */
export function brokenStatus(place: string, why: string, cause?: unknown): VirtError {
  return new VirtError(
    ErrorCode.XML_DETAIL,
    `${place} cannot be used: ${why}. Put it right or move it away; a machine that it is about may still be running`,
    { domain: ErrorDomain.NONE, cause },
  );
}
