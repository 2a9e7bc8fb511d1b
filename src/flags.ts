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
export const DomainXMLFlags = { SECURE: 0x1, INACTIVE: 0x2, UPDATE_CPU: 0x4, MIGRATABLE: 0x8 } as const;

/** virDomainCreateFlags that are understood here. */
export const DomainCreateFlags = { START_PAUSED: 0x1, START_FORCE_BOOT: 0x8, START_VALIDATE: 0x10 } as const;

/** virDomainDefineFlags. */
export const DomainDefineFlags = { VALIDATE: 0x1 } as const;

/** virDomainDestroyFlagsValues. */
export const DomainDestroyFlags = { GRACEFUL: 0x1 } as const;

/** virDomainShutdownFlagValues that are understood here. */
export const DomainShutdownFlags = { ACPI_POWER_BTN: 0x1 } as const;

/** virDomainRebootFlagValues that are understood here. */
export const DomainRebootFlags = { ACPI_POWER_BTN: 0x1 } as const;

/** virDomainUndefineFlagsValues; those about NVRAM are accepted and mean nothing here. */
export const DomainUndefineFlags = {
  MANAGED_SAVE: 0x1,
  SNAPSHOTS_METADATA: 0x2,
  NVRAM: 0x4,
  KEEP_NVRAM: 0x8,
  CHECKPOINTS_METADATA: 0x10,
} as const;

/** virConnectListAllDomainsFlags: one of a pair narrows the list, both or none do not. */
export const ListDomainsFlags = {
  ACTIVE: 0x1,
  INACTIVE: 0x2,
  PERSISTENT: 0x4,
  TRANSIENT: 0x8,
  RUNNING: 0x10,
  PAUSED: 0x20,
  SHUTOFF: 0x40,
  OTHER: 0x80,
  MANAGEDSAVE: 0x100,
  NO_MANAGEDSAVE: 0x200,
  AUTOSTART: 0x400,
  NO_AUTOSTART: 0x800,
  HAS_SNAPSHOT: 0x1000,
  NO_SNAPSHOT: 0x2000,
  HAS_CHECKPOINT: 0x4000,
  NO_CHECKPOINT: 0x8000,
} as const;

/** virDomainSaveRestoreFlags that are understood here. */
export const DomainSaveRestoreFlags = { RUNNING: 0x2, PAUSED: 0x4 } as const;

/** virDomainDeviceModifyFlags. */
export const DeviceModifyFlags = { CURRENT: 0x0, LIVE: 0x1, CONFIG: 0x2, FORCE: 0x4 } as const;

/** virDomainModificationImpact: neither means what the domain is now. */
export const DomainModificationImpact = { LIVE: 0x1, CONFIG: 0x2 } as const;

/** virDomainSnapshotCreateFlags that libvirt's QEMU driver knows. */
export const SnapshotCreateFlags = {
  REDEFINE: 0x1,
  CURRENT: 0x2,
  NO_METADATA: 0x4,
  HALT: 0x8,
  DISK_ONLY: 0x10,
  REUSE_EXT: 0x20,
  QUIESCE: 0x40,
  ATOMIC: 0x80,
  LIVE: 0x100,
  VALIDATE: 0x200,
} as const;

/** virDomainSnapshotListFlags that libvirt's QEMU driver knows. */
export const SnapshotListFlags = {
  ROOTS: 0x1,
  METADATA: 0x2,
  LEAVES: 0x4,
  NO_LEAVES: 0x8,
  NO_METADATA: 0x10,
  INACTIVE: 0x20,
  ACTIVE: 0x40,
  DISK_ONLY: 0x80,
  INTERNAL: 0x100,
  EXTERNAL: 0x200,
  TOPOLOGICAL: 0x400,
} as const;

/** virDomainSnapshotDeleteFlags. */
export const SnapshotDeleteFlags = { CHILDREN: 0x1, METADATA_ONLY: 0x2, CHILDREN_ONLY: 0x4 } as const;

/** virDomainSnapshotRevertFlags. */
export const SnapshotRevertFlags = { RUNNING: 0x1, PAUSED: 0x2, FORCE: 0x4, RESET_NVRAM: 0x8 } as const;

/** virDomainCheckpointCreateFlags; libvirt's QEMU driver knows all but QUIESCE. */
export const CheckpointCreateFlags = { REDEFINE: 0x1, QUIESCE: 0x2, REDEFINE_VALIDATE: 0x4 } as const;

/** virDomainCheckpointXMLFlags. */
export const CheckpointXMLFlags = { SECURE: 0x1, NO_DOMAIN: 0x2, SIZE: 0x4 } as const;

/** virDomainCheckpointListFlags; of children, ROOTS is called DESCENDANTS and means theirs as well. */
export const CheckpointListFlags = { ROOTS: 0x1, TOPOLOGICAL: 0x2, LEAVES: 0x4, NO_LEAVES: 0x8 } as const;

/** virDomainCheckpointDeleteFlags. */
export const CheckpointDeleteFlags = { CHILDREN: 0x1, METADATA_ONLY: 0x2, CHILDREN_ONLY: 0x4 } as const;

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
  REBOOT: 1,
  IO_ERROR: 4,
  IO_ERROR_REASON: 6,
  BLOCK_JOB: 8,
  DISK_CHANGE: 9,
  DEVICE_REMOVED: 15,
  BLOCK_JOB_2: 16,
  TUNABLE: 17,
  DEVICE_ADDED: 19,
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
