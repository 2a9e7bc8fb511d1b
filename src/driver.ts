/**
 * The driver contract: what a hypervisor driver supplies. Types only. Everything libvirt promises about block jobs
 * (flags, one job per disk, READY and pivot gating, waiting, XML, events) lives above this line, in `src`; a driver
 * supplies primitives and cannot diverge.
 */
import type { Timers } from './util/timers.ts';

/** Stops a subscription. */
export type Unsubscribe = () => void;

/** One image of a disk's chain, as a driver knows it. */
export interface ImageRef {
  /** libvirt's image index N (`vda[N]`): unique within one run of a machine, never reused. */
  readonly index: number;
  /** Absolute path. */
  readonly path: string;
  /** Format driver name: `qcow2`, `raw`, ... */
  readonly format: string;
}

/** What of a disk can be limited: bytes or requests, per second. */
export type LimitedRate = `${'total' | 'read' | 'write'}_${'bytes' | 'iops'}_sec`;
/** A rate, its burst, how many seconds a burst may last, and of how many bytes one request is counted. */
export type DiskLimit = LimitedRate | `${LimitedRate}_max` | `${LimitedRate}_max_length` | 'size_iops_sec';

/** Limits of a disk, by libvirt's names; what is left out or 0 is not limited. */
export interface DiskLimits {
  readonly values: Readonly<Partial<Record<DiskLimit, number>>>;
  /** Disks of one group share its limits; undefined: a group of the disk's own. */
  readonly group: string | undefined;
}

/** A disk of a machine that is to be started. */
export interface DiskSpec {
  /** Guest-side name, `<target dev>`. */
  readonly target: string;
  /** Device alias, e.g. `virtio-disk0`. */
  readonly alias: string;
  /** `virtio`, `scsi`, `ide`, `sata`, ... as in `<target bus>`. */
  readonly bus: string;
  readonly device: 'disk' | 'cdrom';
  readonly readonly: boolean;
  /** The chain, active image first; empty for a drive without medium. */
  readonly chain: readonly ImageRef[];
  /** Another process serves it (vhost-user): it has no images. */
  readonly vhostUser?: true;
  /** In force before the CPUs run; left out: none. */
  readonly limits?: DiskLimits;
}

/** A machine that is to be started. */
export interface MachineSpec {
  readonly name: string;
  readonly uuid: string;
  readonly memoryBytes: number;
  /** `<os><type machine>`; the driver's default when left out. */
  readonly machineType?: string;
  /** `<emulator>`; the driver's default when left out. */
  readonly emulator?: string;
  readonly disks: readonly DiskSpec[];
  /** Leaves the CPUs stopped once the machine is up (virDomainCreate: START_PAUSED). */
  readonly startPaused?: boolean;
  /** Goes on from an internal snapshot that {@link MachineExtras.saveSnapshot} took, of its disks and its memory. */
  readonly loadSnapshot?: string;
  /** Goes on from a state that {@link Machine.save} wrote; the CPUs stay stopped unless they are resumed. */
  readonly restoreFrom?: string;
  /**
   * Asks for a machine that outlives this process. Called with what {@link HypervisorDriver.attach} finds it by, once
   * it exists and before its CPUs run.
   */
  readonly launched?: (handle: string) => void;
}

/** A job that a machine was left with. */
export interface KnownJob {
  readonly request: JobRequest;
  /** Of a copy. */
  readonly target?: TargetSpec;
  /** What it may have been asked. */
  readonly asked?: 'pivot' | 'abort';
  /** As {@link Machine.concludeJob} has it. */
  readonly bitmapsOf?: readonly ImageRef[];
}

/** What is known of a machine that an earlier process started. */
export interface KnownMachine {
  readonly spec: MachineSpec;
  readonly jobs: readonly KnownJob[];
}

/** A machine that was found again. */
export interface AttachedMachine {
  readonly machine: Machine;
  /** Whether its CPUs run; `io-error`: they were stopped by one. */
  readonly cpus: 'running' | 'paused' | 'io-error';
}

/** One disk's part of a disk-only snapshot: a new image on top of what the guest writes to. */
export interface OverlaySpec {
  readonly disk: string;
  /** What the guest writes to until then. */
  readonly active: ImageRef;
  readonly overlay: ImageRef;
  /** The overlay exists and is used as it is (SNAPSHOT_CREATE_REUSE_EXT). */
  readonly reuse: boolean;
  /** Bitmaps that begin on the overlay when it takes over; left out: none. */
  readonly bitmaps?: readonly string[];
}

/** A copy's destination. */
export interface TargetSpec {
  readonly disk: string;
  readonly source: ImageRef;
  readonly image: ImageRef;
  /** What is below the destination once the job has pivoted, top first; empty: nothing. */
  readonly backing: readonly ImageRef[];
  /** The destination exists and is used as it is (BLOCK_COPY_REUSE_EXT). */
  readonly reuse: boolean;
}

/** A destination that is ready to be written to. */
export interface TargetRef {
  readonly image: ImageRef;
}

interface JobRequestBase {
  /** Chosen by the caller, registered before it is sent, unique in the machine. */
  readonly id: string;
  readonly disk: string;
  /** 0: unlimited. A bigint where the caller's number does not fit one exactly. */
  readonly speedBytesPerSecond: number | bigint;
}

/** Populate `top` from its backing images down to, not including, `base` (libvirt: pull; QAPI: block-stream). */
export interface PullRequest extends JobRequestBase {
  readonly kind: 'pull';
  readonly top: ImageRef;
  readonly base?: ImageRef;
  /** What is written into the header as the backing file's name; the base's path when left out. */
  readonly backingName?: string;
}

/** Merge `top` down into `base`; `active` when top is what the guest writes to (QAPI: block-commit). */
export interface CommitRequest extends JobRequestBase {
  readonly kind: 'commit' | 'active-commit';
  /** What the guest has open. */
  readonly active: ImageRef;
  readonly top: ImageRef;
  readonly base: ImageRef;
  readonly backingName?: string;
}

/** Mirror a disk into a prepared target (libvirt: copy; QAPI: blockdev-mirror, drive-mirror). */
export interface CopyRequest extends JobRequestBase {
  readonly kind: 'copy';
  readonly source: ImageRef;
  readonly target: TargetRef;
  /** Only what is above the source's backing file. */
  readonly shallow: boolean;
  /** 0: the hypervisor's default. */
  readonly granularityBytes: number;
  /** 0: the hypervisor's default. */
  readonly bufSizeBytes: number | bigint;
  readonly synchronousWrites: boolean;
}

/** One job to start. */
export type JobRequest = PullRequest | CommitRequest | CopyRequest;

/** A persistent record of what is written to an image (QAPI: dirty bitmap). */
export interface BitmapRef {
  readonly image: ImageRef;
  readonly name: string;
  /** The image is below another one, so it has to be opened for writing before its bitmaps are changed. */
  readonly backing?: {
    /** What is below it. */
    readonly below: ImageRef | undefined;
  };
}

/** One step of a change of bitmaps. */
export type BitmapChange =
  /** Begins to record; `isTemporary`: it records nothing and is not kept in the image. */
  | { readonly do: 'add'; readonly bitmap: BitmapRef; readonly isTemporary?: true }
  /** Adds what others have recorded. */
  | { readonly do: 'merge'; readonly into: BitmapRef; readonly from: readonly BitmapRef[] }
  | { readonly do: 'remove'; readonly bitmap: BitmapRef };

/** A bitmap that an open image has. */
export interface BitmapReport {
  readonly imageIndex: number;
  readonly name: string;
  readonly dirtyBytes: number;
  /** It was not written back when it should have been, and can only be removed. */
  readonly isBroken: boolean;
}

/** Where a job stands. `phase` is what the driver last heard; progress is in bytes as the hypervisor counts it. */
export interface JobSnapshot {
  readonly id: string;
  readonly phase: 'running' | 'ready' | 'concluded';
  /** Bytes. */
  readonly current: number;
  /** Bytes; may grow. */
  readonly total: number;
  /** What the hypervisor says; undefined where the dialect cannot say. */
  readonly ready: boolean | undefined;
  /** 0: unlimited. */
  readonly speedBytesPerSecond: number;
  /** Why a concluded job failed. */
  readonly error?: string;
}

/** Which images a disk really has open, active first: the truth after a crash. */
export interface DiskChain {
  readonly disk: string;
  readonly paths: readonly string[];
}

/** Why a machine is no longer there. */
export type GoneReason = 'destroyed' | 'shutdown' | 'crashed';

/** What a machine tells its owner. `ended` comes once per job, after the driver has cleaned up the job itself. */
export type DriverEvent =
  | { readonly type: 'job-ready'; readonly id: string }
  | {
      readonly type: 'job-ended';
      readonly id: string;
      readonly outcome: 'completed' | 'failed' | 'cancelled';
      readonly error?: string;
    }
  /**
   * How the hypervisor says that a job has ended, where it says so ahead of `job-ended`: it stands if the machine is
   * gone before that comes.
   */
  | { readonly type: 'job-verdict'; readonly id: string; readonly outcome: 'completed' | 'failed' }
  /** A job that the machine was left with is not there any more; the chains have to tell what became of it. */
  | { readonly type: 'job-lost'; readonly id: string }
  | { readonly type: 'paused'; readonly reason: 'user' | 'io-error' }
  | { readonly type: 'resumed' }
  | { readonly type: 'powerdown-requested' | 'guest-shutdown' | 'reset' }
  | {
      readonly type: 'threshold';
      /** Of the image that was written to. */
      readonly imageIndex: number;
      /** What was armed, bytes. */
      readonly thresholdBytes: number;
      /** How far beyond it the write went, bytes. */
      readonly excessBytes: number;
    }
  | { readonly type: 'disk-removed'; readonly disk: string }
  | {
      readonly type: 'io-error';
      readonly disk?: string;
      readonly action: 'none' | 'pause' | 'report';
      readonly reason: string;
    }
  | { readonly type: 'gone'; readonly reason: GoneReason; readonly detail?: string };

/** What a machine can do; probed once, then frozen. The only source of conformance skips. */
export interface Capabilities {
  /** e.g. `QEMU 7.2.22`. */
  readonly hypervisor: string;
  /** libvirt's number: major * 1,000,000 + minor * 1,000 + micro. */
  readonly version: number;
  readonly pull: boolean;
  readonly commit: boolean;
  readonly activeCommit: boolean;
  readonly copy: boolean;
  /** BLOCK_COPY_SYNCHRONOUS_WRITES. */
  readonly synchronousWrites: boolean;
  /** READY is announced: by an event of the hypervisor's, or by a driver that looks often enough (RHEL 6). */
  readonly readyEvent: boolean;
  /** Nothing says afterwards how a pivot ended, so the guest has to be paused around it (RHEL 6's reopen). */
  readonly pivotNeedsPause?: boolean;
  /** The granularity and the buffer of a copy can be chosen. */
  readonly copyTuning: boolean;
  /** false: a read-only disk cannot be copied, since what it would pivot to cannot be made read-only (before blockdev-reopen). */
  readonly copiesReadOnly?: false;
  /** A copy's progress never goes back (it did before QEMU 2.3, when the guest wrote to what had been copied). */
  readonly monotonicProgress: boolean;
}

/**
 * What a machine may offer besides block jobs. A driver leaves out what it cannot do; the call that needs it is then
 * refused with NO_SUPPORT, as libvirt does for a driver without the call.
 */
export interface MachineExtras {
  /** Changes a disk's capacity (QAPI: block_resize). */
  resizeDisk?(disk: string, image: ImageRef, sizeBytes: number | bigint): Promise<void>;
  /** Arms, or with 0 disarms, a one-shot `threshold` event on an open image (QAPI: block-set-write-threshold). */
  setWriteThreshold?(image: ImageRef, thresholdBytes: number | bigint): Promise<void>;
  /** Changes bitmaps, all at one instant or none (QAPI: transaction of block-dirty-bitmap-*). */
  changeBitmaps?(changes: readonly BitmapChange[]): Promise<void>;
  /** Every named bitmap of every open image. */
  bitmaps?(): Promise<readonly BitmapReport[]>;
  /** Puts an overlay on each disk at one instant, or on none (QAPI: transaction of blockdev-snapshot). */
  snapshot?(overlays: readonly OverlaySpec[]): Promise<void>;
  /** Limits how fast a disk with a medium may be (QAPI: block_set_io_throttle). */
  setDiskLimits?(disk: string, limits: DiskLimits): Promise<void>;
  /** The limits that are in force (QAPI: query-block). */
  diskLimits?(disk: string): Promise<DiskLimits>;
  /** Plugs a disk in (QAPI: blockdev-add, device_add). */
  attachDisk?(disk: DiskSpec): Promise<void>;
  /** Asks for a disk to be unplugged (QAPI: device_del); `disk-removed` says when the guest has let go of it. */
  detachDisk?(disk: string): Promise<void>;
  /** Puts a medium into a drive, or with an empty chain takes it out (QAPI: blockdev-{open,close}-tray, …-medium). */
  changeMedium?(disk: string, chain: readonly ImageRef[], force: boolean): Promise<void>;
  /** Asks the guest to power down; when it has, the machine is reset and runs on instead of ending. */
  reboot?(): Promise<void>;
  /** Keeps what is on the disks and in memory inside the images, under a name (HMP: savevm); the guest is stopped. */
  saveSnapshot?(name: string): Promise<void>;
  /** Drops what {@link saveSnapshot} has kept; no error if there is nothing (HMP: delvm). */
  deleteSnapshot?(name: string): Promise<void>;
  /** Resets the machine as its button would (QAPI: system_reset). */
  reset?(): Promise<void>;
  /**
   * Writes the state of the stopped machine to a file, behind `header` (QAPI: migrate). The machine stays stopped; on
   * failure there is no file.
   * @param header what {@link HypervisorDriver.savedHeader} will return: the caller's own notes
   */
  save?(path: string, header: string): Promise<void>;
}

/**
 * One running machine. Every call rejects with a VirtError; `outcome: 'unknown'` when the wire was lost after the
 * request was sent. A refused call leaves nothing behind.
 */
export interface Machine extends MachineExtras {
  readonly capabilities: Capabilities;
  /** Creates (unless reused) and opens a copy's destination; a no-op where the job itself does it. */
  prepareTarget(spec: TargetSpec): Promise<TargetRef>;
  /** Undoes {@link prepareTarget}: closes the destination and unlinks it if this driver made the file. */
  discardTarget(target: TargetRef): Promise<void>;
  /** Starts a job. Its events, even its end, may come before the promise settles. */
  startJob(request: JobRequest): Promise<void>;
  /**
   * Asks a job to end; resolves when the hypervisor has accepted, long before `job-ended`.
   * @param bitmapsOf of a pivot: images whose bitmaps go on in the image that the disk switches to; left out: none
   */
  concludeJob(id: string, how: 'pivot' | 'abort', bitmapsOf?: readonly ImageRef[]): Promise<void>;
  /** Bytes per second, 0 for unlimited. */
  setJobSpeed(id: string, bytesPerSecond: number | bigint): Promise<void>;
  /** All jobs the hypervisor has. */
  jobs(): Promise<readonly JobSnapshot[]>;
  /** What each disk really has open. */
  chains(): Promise<readonly DiskChain[]>;
  /** Closes images that no disk uses any more (after pivot, pull, commit, abort). Unknown ones are ignored. */
  releaseImages(images: readonly ImageRef[]): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Asks the guest to power down (ACPI). */
  powerdown(): Promise<void>;
  /** Ends the machine at once; resolves when nothing of it is left. Idempotent. */
  destroy(): Promise<void>;
  /** Sends one monitor command past the driver (libvirt: virDomainQemuMonitorCommand). `hmp`: human monitor. */
  monitorCommand(command: string, hmp: boolean): Promise<string>;
  /** Events in the order in which the hypervisor gave them, called synchronously as they arrive. */
  onEvent(listener: (event: DriverEvent) => void): Unsubscribe;
}

/** What is to be made of a new image file. */
export interface VolumeSpec {
  readonly path: string;
  readonly format: string;
  readonly capacityBytes: number;
  readonly backing?: { readonly path: string; readonly format: string };
}

/** What an image's header says. */
export interface VolumeInfo {
  readonly path: string;
  readonly format: string;
  readonly capacityBytes: number;
  /** As recorded in the header; `path` is resolved, `name` is verbatim. */
  readonly backing?: { readonly path: string; readonly name: string; readonly format?: string };
}

/** Image files on the host of the driver. All paths are absolute. */
export interface Volumes {
  /** Creates an image; fails if the path exists. */
  create(spec: VolumeSpec): Promise<void>;
  /** Reads a header without opening the image's backing file; also while a machine has it open. */
  inspect(path: string, format: string): Promise<VolumeInfo>;
  /** undefined if there is nothing at the path. */
  stat(path: string): Promise<{ readonly kind: 'file' | 'block'; readonly sizeBytes: number } | undefined>;
  /** Unlinks a file; no error if it is not there. */
  remove(path: string): Promise<void>;
  /**
   * Keeps what an image holds now under a name inside it, lets it hold that again, or drops it (qemu-img snapshot); no machine
   * has it open. Left out where images cannot be changed so.
   * @throws VirtError INTERNAL_ERROR
   */
  snapshot?(verb: 'create' | 'apply' | 'delete', path: string, format: string, name: string): Promise<void>;
}

/** A hypervisor driver: one per open connection. */
export interface HypervisorDriver {
  /** `qemu`, `memory`, ... */
  readonly name: string;
  readonly timers: Timers;
  readonly volumes: Volumes;
  /** Starts a machine with its CPUs running. On failure nothing is left: no process, socket, node or file. */
  start(spec: MachineSpec): Promise<Machine>;
  /**
   * The header of a file that {@link Machine.save} wrote; left out by drivers that cannot save.
   * @throws VirtError SYSTEM_ERROR for a file that cannot be read, OPERATION_FAILED for one that is no saved state
   */
  savedHeader?(path: string): Promise<string>;
  /**
   * Takes over a machine that an earlier process started with {@link MachineSpec.launched}; left out by drivers whose
   * machines end with their process. What has become of the known jobs comes as events: `job-ready`, `job-ended`,
   * `job-lost`; a job of which none comes is running.
   * @returns undefined if it is not there any more
   * @throws VirtError if it is there and cannot be talked to
   */
  attach?(handle: string, known: KnownMachine): Promise<AttachedMachine | undefined>;
  /** As {@link close}, but leaves running what outlives this process. */
  leave?(): Promise<void>;
  /** Destroys every machine that this driver started and frees all else. Idempotent. */
  close(): Promise<void>;
}
