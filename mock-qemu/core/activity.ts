/** Nodes that are inactive: somebody else writes to their images, such as the other side of a migration. */
import { strerror } from './errno.ts';
import { refuse } from './errors.ts';
import { flushNode } from './graph/data.ts';
import { startPending } from './graph/graph.ts';
import type { BlockNode, Edge } from './graph/node.ts';
import { childrenOf, takeRights, yieldRights } from './graph/permissions.ts';
import { loadBitmaps, storeBitmaps } from './graph/stored-bitmaps.ts';
import { WRITE } from './rights.ts';
import { treesOf } from './snapshots.ts';
import type { Vm } from './vm.ts';

/** Takes a node and all below it back; refused where somebody still has a file. */
export function activate(node: BlockNode): void {
  for (const child of childrenOf(node)) activate(child);
  if (node.active) return;
  node.active = true;
  try {
    takeRights([node]);
  } catch (error) {
    node.active = false;
    throw error;
  }
  startPending(node);
  loadBitmaps(node);
}

/** Takes every node back. */
export function activateAll({ graph }: Vm): void {
  for (const node of graph.nodes.values()) activate(node);
}

const isHeldActive = (node: BlockNode): boolean =>
  node.parents.some(({ parent }) => parent.kind === 'node' && parent.node.active);

/** A client that writes does not let go, unless its export was made for that. */
const insists = ({ parent, rights }: Edge): boolean =>
  parent.kind === 'export' && !parent.allowsInactive && (rights.needs & WRITE) !== 0;

const maySleep = (node: BlockNode): boolean => !node.parents.some(insists);

/** Lets go of a node, and of those below it that no active node holds. */
export function inactivate(vm: Vm, node: BlockNode): void {
  if (isHeldActive(node)) refuse('Node has active parent node');
  if (!maySleep(node)) refuse(`Failed to inactivate node: ${strerror('EPERM')}`);
  sleep(vm, node);
}

/** Lets go of every tree whose top no active node holds. */
export function inactivateAll(vm: Vm): void {
  for (const node of treesOf(vm)) {
    if (isHeldActive(node)) continue;
    if (!maySleep(node)) refuse(`Failed to inactivate all nodes: ${strerror('EPERM')}`);
    sleep(vm, node);
  }
}

function sleep(vm: Vm, node: BlockNode): void {
  if (!node.active) return;
  vm.flapOver(node);
  if (!node.readOnly) {
    flushNode(node);
    storeBitmaps(node);
  }
  // What the image keeps is read again when the node comes back.
  const passing = node.bitmaps.filter(({ persistent }) => !persistent);
  node.bitmaps.splice(0, Number.POSITIVE_INFINITY, ...passing);
  node.pending = undefined;
  node.active = false;
  yieldRights([node]);
  for (const child of childrenOf(node)) if (!isHeldActive(child) && maySleep(child)) sleep(vm, child);
}
