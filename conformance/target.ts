/** What the suite needs of a backend: a place where images and domains can be made, and looked at. */
import type { Connection, ConnectionOptions } from '../src/index.ts';
import type { WireMessage, WireMutationFactory, WireValue } from './wire.ts';

/** One stretch of equal, non-zero bytes of an image. */
export interface Run {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly byte: number;
}

/** One write of a guest, or of whoever prepared an image. Offset and length are multiples of 512. */
export interface Write {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly byte: number;
}

/** An image that is to exist before a domain is started. */
export interface ImageSpec {
  /** Absolute, below {@link Session.directory}. */
  readonly path: string;
  readonly format: 'qcow2' | 'raw';
  readonly capacityBytes: number;
  readonly backing?: { readonly path: string; readonly format: 'qcow2' | 'raw' };
  /** What has been written to it, in order. */
  readonly writes: readonly Write[];
}

/** The guest's end of one disk. Both calls resolve when the disk has acknowledged. */
export interface Guest {
  write(write: Write): Promise<void>;
  flush(): Promise<void>;
}

/** What a target can do; the only source of skips. */
export interface TargetCapabilities {
  readonly pull: boolean;
  readonly commit: boolean;
  readonly activeCommit: boolean;
  readonly copy: boolean;
  readonly synchronousWrites: boolean;
  readonly readyEvent: boolean;
  /** What domains offer besides jobs: resize, thresholds, snapshots, disks that come and go, saved states. */
  readonly extras?: boolean;
  /** Domains can be saved and restored. */
  readonly saves?: boolean;
  /** A QMP server that speaks as today's do can be had without a domain: see {@link Session.startQmp}. */
  readonly qmp?: boolean;
  /** The QMP server is a case's own: it may be ended. */
  readonly qmpEndable?: boolean;
  /** The server's machine runs from the start: it was not started with `-S`. */
  readonly qmpRunning?: boolean;
  /** The server was started without `-name`. */
  readonly qmpUnnamed?: boolean;
  /** The server knows block-job-change. */
  readonly qmpJobChange?: boolean;
  /** The server can be one whose machine takes disks: see {@link QmpOptions.machine}. */
  readonly qmpDisks?: boolean;
  /** What one server exports by NBD, another one of the session can open. */
  readonly qmpNbd?: boolean;
  /** Nodes can be made inactive, as for a migration. */
  readonly qmpActive?: boolean;
  /** A server of before nodes and job-* commands can be had, with {@link QmpOptions.drives}. */
  readonly earlyQmp?: boolean;
  /** ... that mirrors and completes mirrors (1.3). */
  readonly earlyMirror?: boolean;
  /** ... that mirrors and reopens under Red Hat's names (RHEL 6.3). */
  readonly redHatMirror?: boolean;
  /** Faults can be planned, and guests asked for what they do: {@link OpenOptions.faults}, {@link Session.control}. */
  readonly faults?: boolean;
  /** Time passes as fast as the case can go, so that waiting for half a minute costs nothing. */
  readonly virtualTime?: boolean;
  /** A pivot is a verb of the job, with all its steps; the earliest QEMUs reopen the disk instead. */
  readonly pivotVerb?: boolean;
  /** Management processes can die and leave their domains to the next one: see {@link Session.manage}. */
  readonly restart?: boolean;
  readonly copyTuning: boolean;
  readonly monotonicProgress: boolean;
  /** Its machines are of the generations before block nodes: nothing can be reopened, and checkpoints have no bitmaps. */
  readonly early?: boolean;
  /** Its machines take any disk, on any bus: it has no devices for them. */
  readonly anyDisk?: boolean;
}

/** The name of one thing that a contract can need. */
export type Capability = keyof TargetCapabilities;

/** A stream of bytes to a QMP server and back. Nothing is delivered before a listener is set. */
export interface QmpStream {
  write(bytes: Uint8Array): void;
  onData(listener: (bytes: Uint8Array) => void): void;
  onClose(listener: (cause?: Error) => void): void;
  close(): void;
}

/** What goes wrong, and where: the list that mock-qemu takes, described in docs/fault-points.md. */
export type FaultPlan = readonly WireMessage[];

/**
 * Asks a machine for what only a simulation can be asked for: faults that are put in force or taken back, guests that
 * write. One request, one answer, as docs/fault-points.md has them. Rejects with a message of one line if the request
 * is wrong.
 */
export type Control = (request: WireMessage) => Promise<WireValue>;

/** How a QMP server of a case's own is started. */
export interface QmpOptions {
  /** In force before the first command; needs the capability `faults`. */
  readonly faults?: FaultPlan;
  /** `none` when left out; `pc` has a bus for virtio disks, stands still until `cont`, and needs the capability `qmpDisks`. */
  readonly machine?: 'none' | 'pc';
  /** An empty CD drive `cd0`, the device `ide0`; needs `pc`. */
  readonly cdrom?: boolean;
  /** Images that guest disks of these ids have open, as `-drive` does it; only where the capability is `earlyQmp`. */
  readonly drives?: readonly { readonly id: string; readonly path: string; readonly format: string }[];
}

/** A QMP server of a case's own, as `-nodefaults` makes one: no disks, no jobs, no guest. */
export interface QmpServer {
  /** Opens a connection; a server may serve only one at a time. The greeting comes on each. */
  connect(): Promise<QmpStream>;
  /** Left out where the capability `faults` is missing. */
  readonly control?: Control;
}

/** How a management process of a session's own works. */
export type ManagerOptions = Pick<ConnectionOptions, 'pauseGuestAroundPivot'>;

/** A management process: a connection on state that outlives it. */
export interface Manager {
  readonly connection: Connection;
  /** It has not died. */
  readonly alive: boolean;
  guest(domainName: string, disk: string): Guest;
  /** SIGKILL to the machine of a domain that it, or one before it, has started. */
  kill(domainName: string): void;
  /**
   * Has it die right before one of its next effects on the outside (something written down, bytes sent, bytes taken),
   * after so many more; resolves when it has.
   */
  dieAfter(effects: number): Promise<void>;
  /**
   * It dies from one moment to the next, and its calls never return: what it had not sent is not sent, and what it had
   * not written down is lost. Its domains run on. Idempotent.
   */
  die(): void;
}

/** What plans are fitted to where a backend cannot take them as they were made. */
export interface SessionLimits {
  /** Without it a copy's granularity and buffer are left to the hypervisor. */
  readonly copyTuning: boolean;
  /** How much more a job needs to be held back by a low speed; such disks are made larger by this. */
  readonly ballastBytes: number;
  /** To read an image takes a process: where calls are many, it is done only where something may have changed. */
  readonly dearContents?: boolean;
}

/** One case's backend: an open connection and a directory of its own. */
export interface Session {
  readonly connection: Connection;
  /** Where images may be put: absolute, empty, used by no other session. */
  readonly directory: string;
  createImage(spec: ImageSpec): Promise<void>;
  /** What a guest would read from the image and its backing files: sorted, merged, zeroes left out. */
  contents(path: string): Promise<readonly Run[]>;
  guest(domainName: string, disk: string): Guest;
  /** Starts a QMP server that ends with the session; left out by backends that have no QMP. */
  startQmp?(options?: QmpOptions): Promise<QmpServer>;
  /** The machine of a domain, as it was started last; left out where the capability `faults` is missing. */
  readonly control?: (domainName: string, request: WireMessage) => Promise<WireValue>;
  /**
   * Begins a management process on the session's state, which takes over what an earlier one has left; left out where
   * the capability `restart` is missing.
   * @throws VirtError OPERATION_INVALID while another one holds the state
   */
  manage?(options?: ManagerOptions): Promise<Manager>;
  /** None when left out. */
  readonly limits?: SessionLimits;
  /** All that crossed the wire so far, one line a message; only where {@link OpenOptions.trace} asked for it. */
  trace?(): string;
  /** How much copies still had to move, by the time of a trace; only where {@link OpenOptions.watch} asked for it. */
  dirty?(): readonly (readonly [ms: number, dirtyBytes: number])[];
  /** Ends all domains of the session and removes its directory. */
  dispose(): Promise<void>;
}

/** How a session is opened. */
export interface OpenOptions {
  /** Everything random in the backend comes from it. */
  readonly seed: number;
  /** Faults that every domain's machine has from its start; needs the capability `faults`. */
  readonly faults?: FaultPlan;
  /** Breaks the wire on purpose; a target without one ignores it. */
  readonly wire?: WireMutationFactory;
  readonly trace?: boolean;
  /** Looks at the progress of copies, see {@link Session.dirty}; that may move the times at which things happen. */
  readonly watch?: boolean;
}

/** Whether a target can be used here. */
export type Availability =
  | {
      readonly ok: true;
      readonly version: string;
      readonly capabilities: TargetCapabilities;
      /** What the target itself is asked for; all of it when left out. To lack anything else is due to how it is met. */
      readonly own?: readonly Capability[];
    }
  | { readonly ok: false; readonly reason: string };

/** What came of a contract on a target, as plain data. */
export interface Verdict {
  /** Cases that were run. */
  readonly runs: number;
  readonly failure?: {
    /** What broke, with the counterexample and the path that replays it. */
    readonly reason: string;
    /** What broke, alone. */
    readonly message: string;
    readonly counterexample?: string;
    readonly path?: string;
    /** The contract was broken, as opposed to the suite, a canary or the making of a domain. */
    readonly isBackendsFault: boolean;
  };
}

/** A contract to be run, by name. */
export interface RemoteTask {
  readonly contractId: string;
  readonly canaryId?: string;
  readonly seed: number;
  readonly runs: number;
  /** Stops at the first failure without making it smaller. */
  readonly quick?: boolean;
  readonly onCase?: () => void;
}

/** A backend under test. */
export interface Target {
  /** Short and stable: the column's name in the report, e.g. `sim`. */
  readonly id: string;
  readonly title: string;
  /** What `--target` has to be for this one, where that is not its id. */
  readonly choice?: string;
  /** Cases per property where nobody says otherwise; 100 when left out. */
  readonly runs?: number;
  /** How many further cases may be spent on making a counterexample smaller; 100 when left out. */
  readonly shrinks?: number;
  /** How long one case may take on the session's own clock, in ms; 60,000 when left out. */
  readonly caseDeadlineMs?: number;
  /** How many cases may run at once; 1 when left out. More than one makes sense where cases wait for processes. */
  readonly concurrency?: number;
  /** The wire is that of an early QEMU, which canaries that break the wire do not know: they are not planted here. */
  readonly hasEarlyWire?: boolean;
  /** No canaries are planted here: each that loses an event would wait for it on the wall's clock. */
  readonly isWithoutCanaries?: boolean;
  available(): Promise<Availability>;
  open(options: OpenOptions): Promise<Session>;
  /**
   * Runs a whole contract somewhere else, e.g. in another thread; undefined for one that can only be run here. Not
   * asked where a trace is kept.
   */
  elsewhere?(task: RemoteTask): Promise<Verdict> | undefined;
  /** Frees what sessions shared, once all are disposed of; the target may be used again afterwards. */
  close?(): Promise<void>;
}
