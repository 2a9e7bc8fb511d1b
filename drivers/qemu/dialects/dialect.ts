/**
 * What differs between generations of QEMU, as data: which arguments open a disk, which commands a request becomes,
 * which steps surround a job, what an event means. A dialect holds no connection and no state, so that everything it can
 * send can be listed and checked against what a QEMU of that generation accepts.
 */
import type {
  BitmapChange,
  BitmapReport,
  Capabilities,
  DiskLimits,
  DiskSpec,
  ImageRef,
  JobRequest,
  MachineSpec,
  OverlaySpec,
  TargetSpec,
} from '../../../src/driver.ts';
import type { QmpEventMessage } from '../qmp-client.ts';
import type { QmpCall, QmpObject, QmpValue } from '../qmp-json.ts';

/**
 * One step of a procedure.
 * - `call`: a command; `undo` takes it back; `tolerated`: QEMU may refuse it.
 * - `job`: a command that starts an image-creation job, which is awaited and dismissed.
 * - `settle`: waits until a job has shown all of its work as done for that long, looking now and then.
 * - `create-file`: makes an empty file if nothing is at the path; taken back by unlinking it. `failure`: libvirt's words.
 */
export type Step =
  | { readonly do: 'call'; readonly call: QmpCall; readonly undo?: QmpCall; readonly tolerated?: true }
  | { readonly do: 'job'; readonly key: string; readonly call: QmpCall }
  | { readonly do: 'settle'; readonly key: string; readonly everyMs: number; readonly forMs: number }
  | { readonly do: 'create-file'; readonly path: string; readonly failure?: string };

/** Steps, and the images that QEMU has open after them. */
export interface Preparation {
  readonly steps: readonly Step[];
  readonly opens: readonly ImageRef[];
}

/** Facts about the host's files and QEMU's nodes that an encoder needs and cannot know. */
export interface TargetFacts {
  readonly kind: 'file' | 'block';
  /** Of the source; undefined where {@link Dialect.geometry} is. */
  readonly source?: Geometry;
  /** Whether QEMU has this image open. */
  isOpen(image: ImageRef): boolean;
}

/** The size of an image. */
export interface Geometry {
  readonly capacityBytes: number;
  /** undefined: the format has no clusters. */
  readonly clusterBytes?: number;
}

/** A job that is running, as an encoder sees it. */
export interface JobView {
  /** What the job is called on the wire. */
  readonly key: string;
  readonly request: JobRequest;
  readonly disk: DiskSpec;
  /** Of a copy: its destination. */
  readonly target?: TargetSpec;
  isOpen(image: ImageRef): boolean;
}

/** How a job ended, as QEMU tells it. */
export interface Verdict {
  /** Left out: success. */
  readonly error?: string;
}

/** A job as a query lists it. */
export interface JobReport {
  readonly key: string;
  /** Bytes. */
  readonly current: number;
  /** Bytes. */
  readonly total: number;
  readonly ready: boolean | undefined;
  readonly concluded: boolean;
  readonly speedBytesPerSecond: number;
  readonly error?: string;
}

/**
 * What an event says about a job. `concluded` without a verdict: {@link Dialect.verdict} has to be asked.
 */
export type JobSignal =
  | { readonly type: 'ready'; readonly key: string }
  /** How it has ended, told ahead of `concluded`: of use where the monitor is lost in between. */
  | { readonly type: 'verdict'; readonly key: string; readonly verdict: Verdict }
  | { readonly type: 'concluded'; readonly key: string; readonly verdict?: Verdict };

/** A guest I/O error as QEMU tells it (QAPI: BLOCK_IO_ERROR). */
export interface IoErrorSignal {
  /** The drive it happened on: by image index or by device alias; neither if QEMU does not say. */
  readonly index?: number;
  readonly alias?: string;
  readonly action: 'report' | 'ignore' | 'stop';
  /** libvirt's word for the reason: `enospc` or empty. */
  readonly reason: string;
}

/** A query and how to read its reply. */
export interface Query<T> {
  readonly call: QmpCall;
  /** Looks at every node, also at those that are just being made: not to be asked while an image is created. */
  readonly walksNodes?: true;
  read(reply: QmpValue): T;
}

/** How jobs are looked at where their events do not tell all. */
export interface Polling {
  readonly everyMs: number;
  /** A mirror is READY once all of it has shown as done for this long. */
  readonly settledMs: number;
  /** An event says READY: looking is only for those who may have missed it. */
  readonly readyEvent: boolean;
}

/** What an event says about a write threshold (QAPI: BLOCK_WRITE_THRESHOLD). */
export interface ThresholdSignal {
  readonly imageIndex: number;
  readonly thresholdBytes: number;
  readonly excessBytes: number;
}

/** What a generation can do with disks besides block jobs. */
export interface DialectExtras {
  resize(image: ImageRef, sizeBytes: number | bigint): QmpCall;
  writeThreshold(image: ImageRef, bytes: number | bigint): QmpCall;
  threshold(event: QmpEventMessage): ThresholdSignal | undefined;
  limit(disk: DiskSpec, limits: DiskLimits): QmpCall;
  /** The limits of each drive that has a medium, by device alias. */
  limits(): Query<ReadonlyMap<string, DiskLimits>>;
  /** Steps of a change of bitmaps. */
  changeBitmaps(changes: readonly BitmapChange[]): readonly Step[];
  /** The bitmaps of every image that is open. */
  bitmaps(): Query<readonly BitmapReport[]>;
  /** Steps after a pivot into an image, ahead of those that forget the job: bitmaps of others go on in it. */
  carryBitmaps(job: JobView, from: readonly ImageRef[], present: readonly BitmapReport[]): readonly Step[];
  /** Size of an image that is open. */
  geometry(image: ImageRef): Query<Geometry>;
  /** Steps of a disk-only snapshot; `geometryOf` knows the active images of overlays that have to be made. */
  snapshot(
    overlays: readonly OverlaySpec[],
    geometryOf: (active: ImageRef) => Geometry | undefined,
    kindOf: (image: ImageRef) => 'file' | 'block',
  ): readonly Step[];
  /** Steps that plug a disk in; `device`: arguments of device_add. */
  attach(disk: DiskSpec, device: QmpObject, kindOf: (image: ImageRef) => 'file' | 'block'): readonly Step[];
  detach(disk: DiskSpec): QmpCall;
  /** The alias of the device that an event says is gone. */
  removed(event: QmpEventMessage): string | undefined;
  /** Steps that put another medium into a drive. */
  changeMedium(
    disk: DiskSpec,
    chain: readonly ImageRef[],
    force: boolean,
    kindOf: (image: ImageRef) => 'file' | 'block',
  ): readonly Step[];
}

/** One generation of QEMU, seen from a client. */
export interface Dialect {
  readonly name: string;
  /** Left out where disks cannot be handled by node. */
  readonly extras?: DialectExtras;
  readonly capabilities: Omit<Capabilities, 'hypervisor' | 'version'>;

  /** Command-line arguments that make the machine without its disks; throws CONFIG_UNSUPPORTED for what it cannot be. */
  baseArguments(spec: MachineSpec): readonly string[];
  /** Command-line arguments that open a disk's chain; none for an empty drive. */
  driveArguments(disk: DiskSpec, kindOf: (image: ImageRef) => 'file' | 'block'): readonly string[];
  /** What `-device …,drive=` names; undefined for an empty drive. */
  driveName(disk: DiskSpec): string | undefined;

  /** Size of a copy's source; undefined where preparing a target does not need it. */
  geometry(spec: TargetSpec): Query<Geometry> | undefined;
  /** Steps that make and open a copy's destination; none where the job itself does it. */
  prepare(spec: TargetSpec, facts: TargetFacts): Preparation;

  /** What a request's job is called on the wire. */
  jobKey(request: JobRequest, disk: DiskSpec): string;
  /** The command that starts a job. */
  start(job: JobView): QmpCall;
  /** Steps that put below a copy's destination what is opened only when the guest is about to read it. */
  attach(job: JobView): readonly Step[];
  /** Steps that ask a job to end; before a pivot, {@link attach} has been done. */
  conclude(job: JobView, how: 'pivot' | 'abort'): readonly Step[];
  /** The guest is stopped while a pivot is asked for. */
  readonly holdsGuest: boolean;
  /** Left out: events tell everything. */
  readonly polling?: Polling;
  setSpeed(job: JobView, bytesPerSecond: number | bigint): QmpCall;

  /** What an event says about a job; undefined if it is about none. */
  signal(event: QmpEventMessage): JobSignal | undefined;
  /** What an event says about guest I/O; undefined if nothing. */
  ioError(event: QmpEventMessage): IoErrorSignal | undefined;
  /** How a concluded job ended. */
  verdict(key: string): Query<Verdict>;
  /** Steps after the end of a job; `asked`: what {@link conclude} was asked for, if it was. */
  settle(job: JobView, asked: 'pivot' | 'abort' | undefined): readonly Step[];
  /** Steps after the end of an image-creation job. */
  settleCreation(key: string): readonly Step[];

  /** All jobs of QEMU. */
  jobs(): Query<readonly JobReport[]>;
  /** The paths that each drive has open, active first, by device alias. */
  chains(): Query<ReadonlyMap<string, readonly string[]>>;
  /** Names of what QEMU has open; undefined where images cannot be closed one by one. */
  openNodes(): Query<ReadonlySet<string>> | undefined;
  /** Steps that close images of which some may not be open any more. */
  release(images: readonly ImageRef[], open: ReadonlySet<string>): readonly Step[];
}
