/** What a QEMU of one generation accepts, answers and emits: data only. Nothing else knows a version. */
import type { MachineBugs, Traits } from '../core/traits.ts';
import type { Introspection } from './introspection.ts';

/** How errors look on the wire. Each member is one difference that a client can see. */
export interface ErrorStyle {
  /** Errors carry a `data` member, with classes of their own for nearly everything (before 1.2, RHEL 6). */
  readonly data: boolean;
  /**
   * Words of protocol and argument errors: `qapi` names the member (2.11 and later), `generic` does not yet, `rich` is
   * the class-per-error generation.
   */
  readonly wording: 'rich' | 'generic' | 'qapi';
  /** What any command gives before `qmp_capabilities`. */
  readonly beforeNegotiation: 'not-found' | 'expecting-for-command' | 'expecting';
  /** What a second `qmp_capabilities` gives. */
  readonly repeatedNegotiation: 'not-found' | 'command-ignored';
  /** A bad enum value: 6.0 and later name member and value, earlier ones only the value. */
  readonly enumValue: 'member-and-value' | 'value';
  /** JSON errors say what is wrong (3.0 and later) or only `Invalid JSON syntax`. */
  readonly json: 'detailed' | 'plain';
  /** The reply to a request with a wrong member carries the request's id. */
  readonly idOnBadRequest: boolean;
  /** `Cannot find device='x' nor node-name='x'` is quoted (6.0 and later), bare (2.7 to 5.2) or `device-not-found`. */
  readonly lookup: 'quoted' | 'bare' | 'device-not-found';
}

/** How block jobs and the machine around them behave. The words in brackets are the generations that differ. */
export interface Behaviour extends Traits {
  /** Queries give `format-specific` of a file (8.2 and later). */
  readonly fileDetails: boolean;
  /** Statistics count appends to zones (8.1 and later). */
  readonly zoneStatistics: boolean;
  /** How a mirror ends with the guest on the target [RHEL 6.3: drive-reopen]. */
  readonly pivot: 'none' | 'drive-reopen' | 'complete';
  /** BLOCK_JOB_READY [RHEL 6: not, managers poll offset == len]. */
  readonly readyEvent: boolean;
  /** BLOCK_JOB_CANCELLED [RHEL 6.2: not]. */
  readonly cancelledEvent: boolean;
  /** block-job-pause and -resume, BLOCK_JOB_ERROR, on-error policies, io-status (1.3 and later). */
  readonly errorPolicies: boolean;
  /**
   * JOB_STATUS_CHANGE, job-* commands, verbs that depend on the job's state, and the fields ready, status, auto-finalize,
   * auto-dismiss (3.0 and later; `ready` since 2.2).
   */
  readonly jobStatusEvents: boolean;
  /** Order of the reply to `quit` and the SHUTDOWN and job events [before 6.0: reply first]. */
  readonly quitReply: 'last' | 'first';
  /** What a mirror's len and offset count [before 2.3 and RHEL 6: the disk, offset = size - dirty]. */
  readonly mirrorProgress: 'dirty-bytes' | 'disk-size';
  /** `actively-synced` in query-block-jobs and block-job-change (8.2 and later). */
  readonly activelySynced: boolean;
  /** What block_resize says of a disk with a job. */
  readonly resizeBusyText: 'device-in-use' | 'node-busy';
  /** First letter of the grouped-transaction refusal: `Transaction property` or `transaction property`. */
  /** When a grouped transaction is refused for an action that cannot be grouped: in its turn, or first of all (10.0). */
  readonly groupChecked: 'in-turn' | 'first';
  readonly transactionPropertyText: 'Transaction property' | 'transaction property';
  /** query-status has `singlestep` (gone in 9.x). */
  readonly singlestep: boolean;
  /** query-block has `active` (10.0). */
  readonly inactiveNodes: boolean;
  /** BLOCK_IO_ERROR: has `node-name` (2.8), `qom-path` (9.2); is throttled (10.0). */
  readonly ioErrorNodeName: boolean;
  readonly ioErrorQomPath: boolean;
  readonly ioErrorThrottled: boolean;
  /**
   * Why BLOCK_IO_ERROR says it happened: nospace and reason (2.2 and later), nothing, or a vendor's members of these names:
   * a short word, and errno with its message.
   */
  readonly ioErrorDetail: 'reason' | 'none' | { readonly reason: string; readonly debugInfo: string };
  /** SHUTDOWN and RESET carry guest (2.10) and reason (4.0). */
  readonly shutdownData: 'none' | 'guest' | 'guest-and-reason';
  /** How the human monitor's table of snapshots looks: with underscores from 9.0 on. */
  readonly snapshotTable: 'wide' | 'underscored';
  /** Node names exist in queries and arguments (2.0 and later). */
  readonly nodeNames: boolean;
}

/** Known bugs of a generation, each on its own switch. */
export interface KnownBugs extends MachineBugs {
  /** RHEL 6.3: a drive-mirror whose target cannot be opened leaves a dead job behind, and the device stays in use. */
  readonly zombieJobAfterFailedOpen: boolean;
  /** RHEL 6.3: drive-reopen of a device with such a dead job never answers, nor does anything after it. */
  readonly reopenHangsOnZombieJob: boolean;
  /** RHEL 6.3: offset == len shows up to one slice before the job regards itself as synced. */
  readonly offsetReachesLenEarly: boolean;
  /** RHEL 6.2: unknown arguments and top-level members are ignored. */
  readonly ignoresUnknownMembers: boolean;
  /** 8.2 and later: block-job-change does not compare its type with the job's. */
  readonly jobChangeIgnoresType: boolean;
  /** A grouped transaction that fails when it has created several jobs never ends, nor does anything after it. */
  readonly groupAbortHangs: boolean;
  /** 7.2: query-named-block-nodes while a qcow2 image is being formatted ends the process with a failed assertion. */
  readonly listingWhileFormattingAborts: boolean;
  /** 6.1 and later: blockdev-reopen with an empty list ends the process with a failed assertion. */
  readonly emptyReopenAborts: boolean;
  /** 10.0: a node that blockdev-reopen names twice stays held for good, with all jobs and guests above it. */
  readonly reopenTwiceStaysHeld: boolean;
}

/** One generation of QEMU. */
export interface Profile {
  /** `qemu-7.2`, `rhel-6.3`, ... */
  readonly name: string;
  /** Greeting version, package string, command names, schema. */
  readonly introspection: Introspection;
  readonly errors: ErrorStyle;
  readonly behaviour: Behaviour;
  /** Commands and transaction actions that others know by another name: their name on the wire to the handler's. */
  readonly aliases: Readonly<Record<string, string>>;
  /** Options of QEMU's command line that came later; refused. */
  readonly laterOptions: readonly string[];
  readonly bugs: KnownBugs;
}
