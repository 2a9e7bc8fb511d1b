/**
 * What a job asks of its surroundings. A job is a generator that yields these, one at a time; each is a named place
 * where a fault can be put.
 */
import type { Errno } from '../errno.ts';
import type { IoPoint } from '../faults/points.ts';
import type { BlockNode } from '../graph/node.ts';

/** One effect of a job. */
export type Effect =
  /** Waits; a pause point. Cut short when somebody wants the job's attention. */
  | { readonly type: 'sleep'; readonly ns: number }
  /** Waits until poked, then until the next multiple of `tickNs` since the wait began; a pause point. */
  | {
      readonly type: 'idle';
      readonly tickNs: number;
      /** Somebody is known to be poking all the time: it wakes at the next tick. */
      readonly armed?: boolean;
    }
  /** A chance to be paused. */
  | { readonly type: 'pause-point' }
  /** Lets requests in flight settle; no pause point. */
  | { readonly type: 'settle' }
  /** Lets the main loop go round once, before any reply; no pause point. */
  | { readonly type: 'turn' }
  /** A drained section of the job's own, on which no other one waits; no pause point. */
  | { readonly type: 'drain' }
  /** One request; resumes with the error it met, or undefined. The data is moved by the job itself, afterwards. */
  | {
      readonly type: 'io';
      readonly at: IoPoint;
      readonly op: 'read' | 'write' | 'zero' | 'discard' | 'flush';
      readonly node: BlockNode;
      readonly offset: number;
      readonly bytes: number;
      /** Zeroes may give back what they take the place of. */
      readonly unmap?: boolean;
      /** Only takes its time: what becomes of it the job asks for itself. */
      readonly unchecked?: boolean;
    };

/** A job's course: yields effects, is resumed with an I/O error or nothing, returns why it failed or nothing. */
export type JobRun = Generator<Effect, JobFailure | undefined, Errno | undefined>;

/** Why a job failed: a system error, and its text where it is not strerror's. */
export interface JobFailure {
  readonly code: Errno;
  readonly text?: string;
}

/** Device speeds of the simulation. */
export interface DeviceSpeed {
  /** Cost of any request. */
  readonly requestNs: number;
  /** Cost of its bytes on top. */
  readonly bytesPerSecond: number;
}
