/** The block graph: which nodes there are and who holds them. */
import { assert } from '../../../src/util/assert.ts';
import { refuse } from '../errors.ts';
import { ExtentMap } from '../extents.ts';
import type { ImageFile } from '../images.ts';
import type { Random } from '../random.ts';
import type { BlockBackend } from './backend.ts';
import { flushNode } from './data.ts';
import type { BlockDriver, BlockedOp, BlockNode, ChildRole, Edge, Parent } from './node.ts';
import { BlockNode as Node } from './node.ts';

/** A new node's properties, before it has children. */
export interface NodeOptions {
  /** Left out: `#block` and a number. */
  readonly name?: string | undefined;
  readonly driver: BlockDriver;
  readonly readOnly: boolean;
  readonly monitorOwned?: boolean;
  readonly implicit?: boolean;
  readonly unmap?: boolean;
  readonly forceShare?: boolean;
  readonly detectZeroes?: 'off' | 'on' | 'unmap';
}

const ID = /^[A-Za-z][A-Za-z0-9\-._]*$/;
const MAX_NODE_NAME = 31;

/** QEMU's rule for identifiers of jobs, nodes and backends. */
export const isIdentifier = (text: string): boolean => ID.test(text);

/** All nodes and backends of one machine. */
export class BlockGraph {
  /** Oldest first. */
  readonly nodes = new Map<string, BlockNode>();
  readonly backends: BlockBackend[] = [];
  readonly #random: Random;
  #autoNames = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** The name of a node that got none; the last two digits cannot be foreseen. */
  autoName(): string {
    const digits = this.#random.below(100).toString().padStart(2, '0');
    return `#block${this.#autoNames++}${digits}`;
  }

  /** Refuses a node name that cannot be used. */
  checkNewName(name: string): void {
    if (!isIdentifier(name)) refuse(`Invalid node-name: '${name}'`);
    if (this.backends.some((backend) => backend.name === name)) {
      refuse(`node-name=${name} is conflicting with a device id`);
    }
    if (this.nodes.has(name)) refuse(`Duplicate nodes with node-name='${name}'`);
    if (name.length > MAX_NODE_NAME) refuse('Node name too long');
  }

  /** Adds a node; refuses a bad name. */
  add(options: NodeOptions): BlockNode {
    if (options.name !== undefined) this.checkNewName(options.name);
    const node = new Node({ ...options, name: options.name ?? this.autoName() });
    this.nodes.set(node.name, node);
    return node;
  }

  /** Lets a node hold another. */
  adopt(parent: BlockNode, role: ChildRole, child: BlockNode): Edge {
    assert(parent[role] === undefined, `node ${parent.name} has its ${role} already`);
    const edge = this.hold({ kind: 'node', node: parent }, role, child);
    parent[role] = edge;
    return edge;
  }

  /** Adds a reference to a node. */
  hold(parent: Parent, role: Edge['role'], child: BlockNode): Edge {
    const edge: Edge = { parent, role, child };
    child.parents.push(edge);
    return edge;
  }

  /** Drops a reference; the last one closes the node. */
  letGo(edge: Edge | undefined): void {
    if (edge === undefined) return;
    const { child, parent, role } = edge;
    const index = child.parents.indexOf(edge);
    if (index < 0) return;
    child.parents.splice(index, 1);
    if (parent.kind === 'node' && role !== 'root' && parent.node[role] === edge)
      parent.node[role] = undefined;
    this.releaseUnused(child);
    this.collect(child);
  }

  /** Makes every parent of `from` (but those `keep` picks) hold `to` instead. */
  replace(from: BlockNode, to: BlockNode, keep: (edge: Edge) => boolean = () => false): void {
    // The newest moves first: of those who held the old node, the oldest is then the newest.
    for (const edge of from.parents.toReversed()) {
      if (keep(edge) || edge.parent.kind === 'job' || edge.parent.kind === 'job-backend') continue;
      from.parents.splice(from.parents.indexOf(edge), 1);
      edge.child = to;
      to.parents.push(edge);
    }
  }

  /** Puts a filter between a node and all its parents, but those that `keep` picks. */
  insertAbove(filter: BlockNode, node: BlockNode, keep?: (edge: Edge) => boolean): void {
    this.replace(node, filter, keep);
    this.adopt(filter, 'filtered', node);
  }

  /** Takes a filter out again; its parents hold `to`, else what it filtered. */
  removeFilter(filter: BlockNode, to?: BlockNode): void {
    const below = filter.filtered?.child;
    const heir = to ?? below;
    if (heir) this.replace(filter, heir);
    filter.hooks = undefined;
    this.collect(filter);
  }

  /** Gives back the locks of a raw node that nobody uses any more: it took them for its first user. */
  releaseUnused(node: BlockNode): void {
    if (node.driver.name === 'raw' && node.parents.length === 0) dropLocks(node);
  }

  /** Closes a node that nobody holds. */
  collect(node: BlockNode): void {
    if (node.monitorOwned || node.parents.length > 0 || this.nodes.get(node.name) !== node) return;
    this.nodes.delete(node.name);
    if (!node.readOnly) flushNode(node);
    unlock(node);
    for (const edge of [node.filtered, node.backing, node.file]) this.letGo(edge);
  }

  /** The node or backend's node that a `device` argument means. */
  find(name: string): BlockNode {
    const backend = this.backends.find((each) => each.name !== '' && each.name === name);
    if (backend) return backend.node ?? refuseNoMedium(name);
    return this.nodes.get(name) ?? refuseNoDevice(name, name);
  }

  /** The node that an argument means which may name a backend, too; says so in words of its own. */
  findNodeOrDevice(name: string): BlockNode {
    const backend = this.backends.find((each) => each.name !== '' && each.name === name);
    return backend?.node ?? this.findNodeReference(name);
  }

  /** The node that a reference in BlockdevOptions means. */
  findNodeReference(name: string): BlockNode {
    return this.nodes.get(name) ?? refuse(`Cannot find device='${name}' nor node-name='${name}'`);
  }

  /** The node that a `*-node` argument means. */
  findNode(name: string): BlockNode {
    return this.nodes.get(name) ?? refuse(`Cannot find device='' nor node-name='${name}'`);
  }
}

/** Refuses to work on a drive that is empty. */
export const refuseNoMedium = (device: string): never =>
  refuse(`Device '${device}' has no medium`, 'GenericError', { kind: 'no-medium', device });

/** Refuses a name that is neither a device's nor a node's. */
export const refuseNoDevice = (device: string, nodeName: string): never =>
  refuse(`Cannot find device='${device}' nor node-name='${nodeName}'`, 'GenericError', {
    kind: 'device-not-found',
    device,
  });

/** The name of the backend that has a node open; empty: none has a name. */
export function backendName(node: BlockNode): string {
  for (const { parent } of node.parents) {
    if (parent.kind === 'backend' && parent.backend.name !== '') return parent.backend.name;
  }
  return '';
}

/** How error texts call a node. */
export const displayName = (node: BlockNode): string => backendName(node) || node.name;

/** Whether a node is the root of its tree: only backends hold it. */
export const isRoot = (node: BlockNode): boolean =>
  node.parents.every(({ parent }) => parent.kind === 'backend');

/** Whether a backend (a guest device's, a -drive's, a job's own) has the node open. */
export const hasBackend = (node: BlockNode): boolean =>
  node.parents.some(({ parent }) => parent.kind === 'backend' || parent.kind === 'job-backend');

/** Why an operation on a node is refused; undefined: it is not. */
export function blockedReason(node: BlockNode, op: BlockedOp): string | undefined {
  const busy = (reason: string) => `Node '${displayName(node)}' is busy: ${reason}`;
  // The newest blocker speaks.
  for (const blocker of node.blockers.toReversed()) {
    if (!blocker.except.includes(op)) return busy(blocker.reason());
  }
  const overlay = node.parents.find(({ role }) => role === 'backing')?.parent;
  if (overlay?.kind === 'node' && !ALLOWED_ON_BACKING.includes(op)) {
    return busy(`node is used as backing hd of '${displayName(overlay.node)}'`);
  }
  return undefined;
}

// Or nothing below the top could ever be streamed, committed into or backed up.
const ALLOWED_ON_BACKING: readonly BlockedOp[] = [
  'commit-target',
  'stream',
  'backup-source',
  'backup-target',
];

/** Refuses an operation that is blocked on a node. */
export function checkNotBlocked(node: BlockNode, op: BlockedOp): void {
  const reason = blockedReason(node, op);
  if (reason !== undefined) refuse(reason, 'GenericError', { kind: 'in-use', device: displayName(node) });
}

/** The image whose locks a node takes: format nodes have them, and not those that share by force. */
const lockedImage = (node: BlockNode): ImageFile | undefined =>
  node.driver.kind === 'format' && !node.forceShare ? node.image : undefined;

/** Whether somebody has an image open in a way that forbids to overwrite it. */
export const isLocked = ({ locks }: ImageFile): boolean => locks.writers > 0 || locks.readers > 0;

/** Takes the locks of an image: one writer, or any number of readers. `refuses`: a conflict is an error. */
export function lock(node: BlockNode, refuses: boolean): void {
  const image = lockedImage(node);
  if (image === undefined) return;
  if (node.readOnly) {
    if (refuses && image.locks.writers > 0) refuse('Failed to get shared "write" lock');
    image.locks.readers++;
  } else {
    if (refuses && (image.locks.writers > 0 || image.locks.readers > 0)) refuse('Failed to get "write" lock');
    image.locks.writers++;
    node.pending = node.driver.name === 'qcow2' ? new ExtentMap() : undefined;
  }
  node.locked = true;
}

/** Gives the locks of an image back. */
export function unlock(node: BlockNode): void {
  dropLocks(node);
  node.image = undefined;
}

function dropLocks(node: BlockNode): void {
  const image = lockedImage(node);
  if (image === undefined || !node.locked) return;
  node.locked = false;
  if (node.readOnly) image.locks.readers--;
  else image.locks.writers--;
}

/** Changes a node between read-only and read-write, its file node with it. */
export function reopen(node: BlockNode, readOnly: boolean): void {
  if (node.readOnly === readOnly) return;
  if (readOnly) flushNode(node);
  const image = lockedImage(node);
  if (image && node.locked) {
    image.locks.writers += readOnly ? -1 : 1;
    image.locks.readers += readOnly ? 1 : -1;
  }
  node.readOnly = readOnly;
  // A file that was opened along with its format follows it.
  const below = node.file?.child;
  if (below && !below.monitorOwned) below.readOnly = readOnly;
  node.pending = !readOnly && node.driver.name === 'qcow2' ? new ExtentMap() : undefined;
}
