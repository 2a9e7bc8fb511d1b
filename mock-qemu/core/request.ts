/** Requests to nodes, as faults see them. */
import type { Errno } from './errno.ts';
import type { Passing } from './faults/faults.ts';
import type { FaultPoint, IoPoint } from './faults/points.ts';
import { noteFailedWrite, storageOf } from './graph/data.ts';
import type { BlockNode } from './graph/node.ts';
import type { IoEffect } from './jobs/host.ts';

/** A request to a node, whoever makes it. */
export type Request = Omit<IoEffect, 'type'>;

const NODE_POINTS = {
  read: 'node.read',
  write: 'node.write',
  zero: 'node.write',
  discard: 'node.write',
  flush: 'node.flush',
} as const satisfies Record<Request['op'], FaultPoint>;

/** The points that a request passes. */
export const pointsOf = ({ at, op }: Request): readonly IoPoint[] =>
  at === NODE_POINTS[op] ? [at] : [at, NODE_POINTS[op]];

/** A request as faults look at it. */
export const passingOf = ({ node, offset, bytes }: Request): Passing => ({
  offset,
  bytes,
  nodes: Array.from(storageOf(node), ({ name }) => name),
});

/** Why a filter on a request's way does not let it pass. */
export function filterError({ op, node, offset, bytes }: Request): Errno | undefined {
  // Discards that a node does not pass on reach no filter.
  if (op !== 'write' && op !== 'zero' && !(op === 'discard' && node.unmap)) return undefined;
  for (let at: BlockNode | undefined = node; at; at = at.filtered?.child) {
    const error = at.hooks?.refusesWrite?.(offset, offset + bytes);
    if (error !== undefined) return error;
  }
  return undefined;
}

/**
 * A request has failed on its way: if it was to change something, what it reached counts as written to.
 * @param stopsAtDebug a blkdebug node has refused it before it went further down
 */
export function noteFailure({ op, node, offset, bytes }: Request, stopsAtDebug: boolean): void {
  if (op === 'write' || op === 'zero' || op === 'discard')
    noteFailedWrite(node, offset, offset + bytes, stopsAtDebug);
}
