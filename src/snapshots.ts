/** The snapshots and the checkpoints of one domain. Metadata only; images are elsewhere. */
import type { CheckpointDefinition } from './conf/checkpoint.ts';
import type { SnapshotDefinition } from './conf/snapshot.ts';
import { type Moment, MomentStore } from './moments.ts';

/** One snapshot as it is kept. */
export type SnapshotEntry = Moment<SnapshotDefinition>;
/** All snapshots of a domain. */
export class SnapshotStore extends MomentStore<SnapshotDefinition> {}

/** One checkpoint as it is kept. */
export type CheckpointEntry = Moment<CheckpointDefinition>;
/** All checkpoints of a domain. */
export class CheckpointStore extends MomentStore<CheckpointDefinition> {}
