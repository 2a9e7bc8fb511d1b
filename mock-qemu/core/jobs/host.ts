/** What a job needs of the machine that it runs in. */
import type { Clock } from '../clock.ts';
import type { Data } from '../data.ts';
import type { Errno } from '../errno.ts';
import type { StepPoint } from '../faults/points.ts';
import type { BlockGraph } from '../graph/graph.ts';
import type { BlockNode } from '../graph/node.ts';
import type { OpenContext } from '../graph/open.ts';
import type { GuestLoad } from '../guest/load.ts';
import type { Traits } from '../traits.ts';
import type { Effect } from './effects.ts';
import type { Job } from './job.ts';

/** One request of a job. */
export type IoEffect = Extract<Effect, { readonly type: 'io' }>;

/** The job's side of a machine. */
export interface JobHost extends OpenContext {
  readonly clock: Clock;
  readonly graph: BlockGraph;
  readonly traits: Traits;
  /** Sends an event to every monitor. */
  emit(event: string, data?: Data): void;
  /** Drained sections in a row, none of which lasts: other jobs on the node or above it flap. Calls back when they are over. */
  flap(node: BlockNode, times: number, then?: () => void): void;
  /** As `flap`, but jobs on what the node rests on, alone or with those above it. */
  flapBelow(node: BlockNode, times: number, how?: 'alone' | 'with'): void;
  /** As `flap`, but jobs on a node below another one and on all that it rests on, and those above it that are not above that. */
  flapAroundChild(node: BlockNode, above: BlockNode, times: number): void;
  /** Holds all other jobs still, so many times in a row, then calls back. */
  flapAll(times: number, then: () => void): void;
  /** How many drained sections wait for some job. */
  readonly sections: number;
  /** Runs something when none of them does any more. */
  whenStill(run: () => void): void;
  /** Runs something in the main loop, before any reply and before time moves. */
  soon(run: () => void): void;
  /** How long a request takes. */
  costNs(effect: Pick<IoEffect, 'op' | 'bytes'>): number;
  /** How long limits hold it up; from now on it counts. */
  throttleNs(effect: IoEffect): number;
  /** How much longer it takes than it should, because a fault says so. */
  delayNs(effect: IoEffect): number;
  /** Which error a request meets, if any. */
  ioError(effect: IoEffect): Errno | undefined;
  /** Which error a request meets before anything is read or written, if any. */
  earlyError(effect: IoEffect): Errno | undefined;
  /** Which error a fault makes of a request, if any. */
  faultError(effect: IoEffect): Errno | undefined;
  /** Which error a request meets that has met no early one, if any. */
  lateError(effect: IoEffect): Errno | undefined;
  /** Which error it meets to find out what of a stretch is allocated above a base, if any. */
  statusError(top: BlockNode, base: BlockNode | undefined, offset: number, bytes: number): Errno | undefined;
  /** Whether a request between these nodes can fail at all: those who make many ask this first. */
  mayFail(source: BlockNode, target: BlockNode): boolean;
  /** Lets the guest have done what nobody has looked at yet. */
  catchUp(): void;
  /** What keeps writing to a node; undefined: nothing does. */
  loadOn(node: BlockNode): GuestLoad | undefined;
  /** A job passes a point where a fault may be; the answer is the error that it meets there. */
  reach(point: StepPoint): Errno | undefined;
  /** The job's generator has ended. */
  jobEnded(job: Job): void;
}
