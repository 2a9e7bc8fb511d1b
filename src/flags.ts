/** Flag and enum values of libvirt 9.0's public headers, under the names without their `VIR_DOMAIN_` prefix. */

/** virDomainBlockPullFlags. */
export const BlockPullFlags = { BANDWIDTH_BYTES: 0x40 } as const;

/** virDomainBlockRebaseFlags. */
export const BlockRebaseFlags = {
  SHALLOW: 0x1,
  REUSE_EXT: 0x2,
  COPY_RAW: 0x4,
  COPY: 0x8,
  RELATIVE: 0x10,
  COPY_DEV: 0x20,
  BANDWIDTH_BYTES: 0x40,
} as const;

/** virDomainBlockCopyFlags. */
export const BlockCopyFlags = {
  SHALLOW: 0x1,
  REUSE_EXT: 0x2,
  TRANSIENT_JOB: 0x4,
  SYNCHRONOUS_WRITES: 0x8,
} as const;

/** virDomainBlockCommitFlags. */
export const BlockCommitFlags = {
  SHALLOW: 0x1,
  DELETE: 0x2,
  ACTIVE: 0x4,
  RELATIVE: 0x8,
  BANDWIDTH_BYTES: 0x10,
} as const;

/** virDomainBlockResizeFlags. */
export const BlockResizeFlags = { BYTES: 0x1 } as const;

/** virDomainBlockJobAbortFlags. */
export const BlockJobAbortFlags = { ASYNC: 0x1, PIVOT: 0x2 } as const;

/** virDomainBlockJobInfoFlags. */
export const BlockJobInfoFlags = { BANDWIDTH_BYTES: 0x1 } as const;

/** virDomainBlockJobSetSpeedFlags. */
export const BlockJobSetSpeedFlags = { BANDWIDTH_BYTES: 0x1 } as const;

/** virDomainXMLFlags that are understood here. */
export const DomainXMLFlags = { SECURE: 0x1, INACTIVE: 0x2 } as const;

/** virDomainBlockJobType. */
export const BlockJobType = { UNKNOWN: 0, PULL: 1, COPY: 2, COMMIT: 3, ACTIVE_COMMIT: 4, BACKUP: 5 } as const;
/** One of {@link BlockJobType}. */
export type BlockJobType = (typeof BlockJobType)[keyof typeof BlockJobType];

/** virConnectDomainEventBlockJobStatus. */
export const BlockJobStatus = { COMPLETED: 0, FAILED: 1, CANCELED: 2, READY: 3 } as const;
/** One of {@link BlockJobStatus}. */
export type BlockJobStatus = (typeof BlockJobStatus)[keyof typeof BlockJobStatus];

/** virDomainState. */
export const DomainState = {
  NOSTATE: 0,
  RUNNING: 1,
  BLOCKED: 2,
  PAUSED: 3,
  SHUTDOWN: 4,
  SHUTOFF: 5,
  CRASHED: 6,
  PMSUSPENDED: 7,
} as const;
/** One of {@link DomainState}. */
export type DomainState = (typeof DomainState)[keyof typeof DomainState];

/** virDomainEventID: the events that can be registered for. */
export const EventId = {
  LIFECYCLE: 0,
  IO_ERROR: 4,
  IO_ERROR_REASON: 6,
  BLOCK_JOB: 8,
  DISK_CHANGE: 9,
  BLOCK_JOB_2: 16,
  BLOCK_THRESHOLD: 24,
} as const;
/** One of {@link EventId}. */
export type EventId = (typeof EventId)[keyof typeof EventId];

/** virDomainEventType, the `event` of a lifecycle event. */
export const LifecycleEvent = {
  DEFINED: 0,
  UNDEFINED: 1,
  STARTED: 2,
  SUSPENDED: 3,
  RESUMED: 4,
  STOPPED: 5,
  SHUTDOWN: 6,
  PMSUSPENDED: 7,
  CRASHED: 8,
} as const;
/** One of {@link LifecycleEvent}. */
export type LifecycleEvent = (typeof LifecycleEvent)[keyof typeof LifecycleEvent];

/** virDomainQemuMonitorCommandFlags. */
export const MonitorCommandFlags = { HMP: 0x1 } as const;
