/** Requests to nodes, as faults see them. */
import type { Passing } from './faults/faults.ts';
import type { FaultPoint, IoPoint } from './faults/points.ts';
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
  nodes: nodesBelow(node),
});

/** The names of all nodes that a request to a node reaches: those that store its bytes, not its backing files. */
function nodesBelow(node: BlockNode): string[] {
  const names: string[] = [];
  for (let at: BlockNode | undefined = node; at; at = (at.filtered ?? at.file)?.child) names.push(at.name);
  return names;
}
