/** Drained sections in a row: how often other jobs are paused and let go. */
export interface Flaps {
  /** A backend that comes and goes for one command of the human monitor. */
  readonly borrow: number;
  /** A format opened over a node that is there already. */
  readonly open: number;
  /** A node made writable or read-only: jobs below it, too. */
  readonly reopen: number;
  readonly streamStart: number;
  /** A start that is refused after its filter was put in. */
  readonly streamUndo: number;
  readonly streamEnd: number;
  /** For jobs on what a stream leaves below its image. */
  readonly streamEndBelow: number;
  /** For jobs on what a commit merges, and above that. */
  readonly commitEnd: number;
  /** For jobs above what a mirror or a commit has written to, when it gives its backend up. */
  readonly targetEnd: number;
  /** For jobs above a mirror's target, when that takes the source's place. */
  readonly pivot: number;
  readonly streamAbort: number;
  readonly backupEnd: number;
  /** For all other jobs, before the last event of any block job. */
  readonly jobEnd: number;
}

/** What differs between generations of QEMU inside a machine, as data: a profile fills it in, nobody here knows which. */
export interface Traits {
  /** block-job-complete is accepted while the job is paused in READY (6.x and later). */
  readonly completeInStandby: boolean;
  /** What a force-cancelled READY job ends as [before 4.2: completed, force only meant paused]. */
  readonly forceCancelInReady: 'cancelled' | 'completed';
  /** When a pause shows [before 6.x: when the sleeping job wakes]. */
  readonly pauseShows: 'at-once' | 'when-woken';
  /** How a READY mirror ends at quit [before 6.0: completed]. */
  readonly quitReadyJobs: 'cancelled' | 'completed';
  /** A mirror onto a target of another size: the error text at start of the copy, an errno, or no check. */
  readonly mirrorSizeCheck: 'text' | 'einval' | 'eio' | 'none';
  /** A drained section ends the rate limit's sleep early (fixed in 8.x). */
  readonly drainCutsRateLimit: boolean;
  /** Starting or finishing one job flaps unrelated jobs (10.0). */
  readonly drainsAreGlobal: boolean;
  /** How many drained sections in a row a change of the graph takes, by what changes it. */
  readonly flaps: Flaps;
  /** A raw node is as long as its file; else as long as it was when it was opened or resized itself (10.0). */
  readonly rawFollowsFile: boolean;
  /** A blockdev-create that is refused is still running when its start is answered (10.0). */
  readonly idleJobsYield: boolean;
  /** A snapshot whose node cannot be flushed says which one and why (10.0). */
  readonly snapshotErrorSaysWhy: boolean;
  /** What becomes of a commit's read-only base when the commit of the active image fails [7.2: stays writable]. */
  readonly failedCommitBase: 'read-only' | 'writable';
  /** A backup's filter needs to read its source [7.2: only if somebody writes through it]. */
  readonly backupsAlwaysRead: boolean;
  /** Whose bitmaps those of mirrors and backups are in queries [7.2: the source's]. */
  readonly jobBitmapsOn: 'source' | 'filter';
  /**
   * How a speed is kept: `debt` sleeps off whatever one step overran; `slice` (before 2.12) lets one step of any size pass
   * in each slice of 100 ms.
   */
  readonly rateLimit: 'debt' | 'slice';
  /** In which order a transaction's actions are committed, and their jobs started [7.2: oldest first]. */
  readonly transactionsCommit: 'oldest-first' | 'newest-first';
  /** In which order an NBD server lets go of its exports when it is stopped. */
  readonly exportsStopNewestFirst: boolean;
  /** Images are locked against a second writer (2.10 and later). */
  readonly imageLocking: boolean;
}

/** Known bugs inside a machine, each on its own switch. */
export interface MachineBugs {
  /** 7.2: loadvm of a machine with a mirror ends the process with a segmentation fault. */
  readonly loadUnderMirrorCrashes: boolean;
  /** A write to an inactive node, as the human monitor's qemu-io can make one, ends the process with a failed assertion. */
  readonly inactiveWriteAborts: boolean;
  /** A discard that a blkdebug node with an alignment does not expect ends the process. */
  readonly debugDiscardKills: boolean;
  /**
   * 10.0: what goes through all disks (savevm and its like) leaves out the nodes without a user that are older than the
   * last one with a user.
   */
  readonly olderNodesLeftOut: boolean;
  /** A stream whose start is refused once it has a backend leaves that backend on its image, for good. */
  readonly refusedStreamStays: boolean;
}
