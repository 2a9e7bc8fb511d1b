/** What a mirror is asked to do. */
import type { BlockNode } from '../graph/node.ts';
import type { ErrorPolicy } from './policy.ts';

/** What is copied at the start. */
export type MirrorSync = 'full' | 'top' | 'none';

/** What becomes of the target's backing file on completion. */
export type MirrorBacking = 'leave' | 'source-chain' | 'open-from-header';

/** A mirror's parameters, defaults filled in. */
export interface MirrorOptions {
  /** Where the mirror's dirty bitmap is kept: the source or the filter. */
  readonly bitmapOn: BlockNode;
  readonly source: BlockNode;
  readonly target: BlockNode;
  /** The filter above the source. */
  readonly filter: BlockNode;
  readonly sync: MirrorSync;
  /** The image that an active commit merges into; undefined: a copy. */
  readonly commitBase: BlockNode | undefined;
  /** That image was read-only before, and is again unless the job succeeds. */
  readonly baseWasReadOnly?: boolean;
  readonly granularityBytes: number;
  readonly bufSizeBytes: number;
  readonly onSourceError: ErrorPolicy;
  readonly onTargetError: ErrorPolicy;
  readonly writeBlocking: boolean;
  /** The target reads as zeroes, or is made to first, so only what is allocated needs copying. */
  readonly targetIsZero: boolean | 'made';
  readonly backing: MirrorBacking;
  /** Zeroes may give back what they take the place of, where the target lets discards through. */
  readonly unmap: boolean;
  /** The node that completion replaces; undefined: the source. */
  readonly replaces: string | undefined;
}
