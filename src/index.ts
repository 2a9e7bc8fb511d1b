/** The public surface of mockvirt, without a driver: see `open` of the package for the ready-made ones. */
export type { BlockCopyParams } from './calls/block-copy.ts';
export type { BlockIoTune, BlockIoTuneParams } from './calls/block-iotune.ts';
export type { BlockJobInfo } from './calls/block-job.ts';
export { Connection, type ConnectionOptions, openConnection, recoverConnection } from './connection.ts';
export { Domain } from './domain.ts';
export { DomainCheckpoint } from './domain-checkpoint.ts';
export { DomainSnapshot } from './domain-snapshot.ts';
export type * from './driver.ts';
export { ErrorCode, ErrorDomain, type ErrorOutcome, isVirtError, VirtError } from './errors.ts';
export type {
  BlockJobEvent,
  BlockThresholdEvent,
  DeviceEvent,
  DiskChangeEvent,
  EventPayloads,
  IoErrorEvent,
  LifecycleEventInfo,
  RebootEvent,
  SubscribableEvent,
  TunableEvent,
} from './events.ts';
export * from './flags.ts';
export type { BlockJobOutcome } from './outcomes.ts';
export type { StateAndReason } from './running.ts';
export { MemoryState } from './state/memory.ts';
export type { StateStore, StoredText } from './state/store.ts';
export type { Timers } from './util/timers.ts';
