/** The block graph: which nodes there are and who holds them. */
import { assert } from '../../../src/util/assert.ts';
import { type Errno, strerror } from '../errno.ts';
import { CommandError, refuse } from '../errors.ts';
import { ABSENT, ExtentMap } from '../extents.ts';
import type { Random } from '../random.ts';
import { NO_RIGHTS, type Rights } from '../rights.ts';
import type { BlockBackend } from './backend.ts';
import { flushOrFail } from './blkdebug.ts';
import { flushNode, needsFlush, storageOf } from './data.ts';
import type { BlockDriver, BlockedOp, BlockNode, ChildRole, Edge, Parent } from './node.ts';
import { BlockNode as Node } from './node.ts';
import { checkAwake, childrenOf, forceRights, takeRights, yieldRights } from './permissions.ts';
import { storeBitmaps, takeBitmaps } from './stored-bitmaps.ts';

/** A new node's properties, before it has children. */
export interface NodeOptions {
  /** Left out: `#block` and a number. */
  readonly name?: string | undefined;
  readonly driver: BlockDriver;
  readonly readOnly: boolean;
  readonly active?: boolean;
  readonly monitorOwned?: boolean;
  readonly implicit?: boolean;
  readonly unmap?: boolean;
  readonly forceShare?: boolean;
  readonly detectZeroes?: 'off' | 'on' | 'unmap';
}

/** What becomes of a node that is open. */
export interface Reopening {
  readonly node: BlockNode;
  readonly readOnly: boolean;
}

/** Children that have been exchanged and not yet asked about. */
export interface Exchanged {
  /** Takes each exchange back, to be called in reverse. */
  readonly undo: (() => void)[];
  readonly dropped: BlockNode[];
}

const ID = /^[A-Za-z][A-Za-z0-9\-._]*$/;
const MAX_NODE_NAME = 31;

/** QEMU's rule for identifiers of jobs, nodes and backends. */
export const isIdentifier = (text: string): boolean => ID.test(text);

// The real ones have nothing below them any more when they are closed, and so flush nothing.
const LETS_GO_FIRST = new Set(['copy-on-read', 'copy-before-write']);

/** All nodes and backends of one machine. */
export class BlockGraph {
  /** Oldest first. */
  readonly nodes = new Map<string, BlockNode>();
  readonly backends: BlockBackend[] = [];
  readonly #random: Random;
  readonly #enforcesRights: boolean;
  #autoNames = 0;

  /** @param enforcesRights refuses what holders of nodes and files do not allow each other */
  constructor(random: Random, enforcesRights: boolean) {
    this.#random = random;
    this.#enforcesRights = enforcesRights;
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

  /** Lets a node hold another; refused where somebody has rights that do not go together with that. */
  adopt(parent: BlockNode, role: ChildRole, child: BlockNode): Edge {
    assert(parent[role] === undefined, `node ${parent.name} has its ${role} already`);
    const edge = this.#attach({ kind: 'node', node: parent }, role, child, NO_RIGHTS);
    this.#take([parent], () => this.#detach(edge));
    return edge;
  }

  /** Adds a reference to a node, by somebody who is no node; refused as above. */
  hold(parent: Parent, role: Edge['role'], child: BlockNode, rights: Rights = NO_RIGHTS): Edge {
    const edge = this.#attach(parent, role, child, rights);
    this.#take([child], () => this.#detach(edge));
    return edge;
  }

  /** Gives a holder other rights; refused as above. */
  setRights(edge: Edge, rights: Rights): void {
    const before = edge.rights;
    edge.rights = rights;
    this.#take([edge.child], () => {
      edge.rights = before;
    });
  }

  /** Drops a reference; the last one closes the node. */
  letGo(edge: Edge | undefined): void {
    if (edge === undefined || !edge.child.parents.includes(edge)) return;
    this.#detach(edge);
    this.yieldRights(edge.child);
    this.collect(edge.child);
  }

  /** Takes a node that is held anew: its holder is its newest one from now on. */
  renew({ parent, role, child, rights }: Edge): void {
    const edge = child.parents.find((each) => each.parent === parent && each.role === role);
    if (edge) this.#detach(edge);
    this.#attach(parent, role, child, rights);
  }

  /** Works out again what a node wants of those below it, after it has come to want less. */
  yieldRights(node: BlockNode): void {
    if (this.#enforcesRights) yieldRights([node]);
    else forceRights([node]);
  }

  /** Makes the parents of `from` hold `to` instead, but for those that `to` itself rests on; refused as above. */
  replace(from: BlockNode, to: BlockNode): void {
    const undo = this.#move(from, to);
    this.#take([from, to], undo);
  }

  /** As {@link replace}, where nobody can refuse. */
  forceReplace(from: BlockNode, to: BlockNode): void {
    this.#move(from, to);
    this.yieldRights(from);
    this.yieldRights(to);
  }

  /** Puts a node that nobody holds between another one and all its parents; refused as above. */
  insertAbove(node: BlockNode, role: 'filtered' | 'backing', below: BlockNode): void {
    const edge = this.#attach({ kind: 'node', node }, role, below, NO_RIGHTS);
    const undo = this.#move(below, node);
    this.#take([node], () => {
      undo();
      this.#detach(edge);
    });
  }

  /** Takes a filter out again; its parents hold `to`, else what it filtered. */
  removeFilter(filter: BlockNode, to?: BlockNode): void {
    const heir = to ?? filter.filtered?.child;
    filter.filterState = 'stopped';
    filter.hooks = undefined;
    if (heir) this.forceReplace(filter, heir);
    this.collect(filter);
  }

  /** Closes a node that nobody holds. */
  collect(node: BlockNode): void {
    if (node.monitorOwned || node.parents.length > 0 || this.nodes.get(node.name) !== node) return;
    this.nodes.delete(node.name);
    if (node.throttle) node.throttle.members--;
    node.remote?.close();
    if (!node.readOnly && node.active && !LETS_GO_FIRST.has(node.driver.name)) {
      const unflushed = flushOrFail(node);
      closeTables(node);
      // What accounts for its requests, or could not be flushed, is flushed once more.
      if (unflushed !== undefined || node.io) flushNode(node);
      storeBitmaps(node);
    }
    closeImage(node);
    if (node.file) keepFileLength(node.file.child);
    for (const edge of [node.filtered, node.target, node.backing, node.file]) this.letGo(edge);
  }

  /** Makes everything last that was written to any node; tells whether there was anything. */
  flushAll(): boolean {
    const writable = [...this.nodes.values()].filter(({ readOnly }) => !readOnly);
    const isNeeded = writable.some(needsFlush);
    for (const node of writable) if (node.monitorOwned || hasBackend(node)) flushOrFail(node);
    return isNeeded;
  }

  /** Changes a node between read-only and read-write, its file node with it; refused as above. */
  reopen(node: BlockNode, readOnly: boolean): void {
    if (node.readOnly === readOnly) return;
    if (readOnly) checkFlushed(flushOrFail(node));
    this.reopenAll([{ node, readOnly }]);
  }

  /**
   * Makes nodes, flushed before, read-only or not, and takes what they and their new children need: all of it or, where it
   * is refused as above, nothing but the exchanges, which are up to the caller.
   */
  reopenAll(changes: readonly Reopening[], { dropped }: Pick<Exchanged, 'dropped'> = { dropped: [] }): void {
    const undo: (() => void)[] = [];
    const toReadOnly = new Set<BlockNode>();
    const toReadWrite: BlockNode[] = [];
    for (const { node, readOnly } of changes) {
      for (const each of nodesOfFile(node)) {
        if (each.readOnly === readOnly) continue;
        each.readOnly = readOnly;
        if (readOnly) toReadOnly.add(each);
        else toReadWrite.push(each);
        undo.push(() => {
          each.readOnly = !readOnly;
        });
      }
    }
    const roots = [...changes.map(({ node }) => node), ...dropped];
    this.#take(
      roots,
      () => {
        for (const step of undo.reverse()) step();
      },
      toReadOnly,
    );
    for (const node of toReadOnly) storeBitmaps(node);
    for (const node of toReadWrite) takeBitmaps(node);
    for (const { node } of changes) startPending(node);
    for (const node of dropped) this.collect(node);
  }

  /** Gives a node another child, or none, without asking. */
  exchange(
    node: BlockNode,
    role: ChildRole,
    child: BlockNode | undefined,
    { undo, dropped }: Exchanged,
  ): void {
    const before = node[role];
    if (before) {
      this.#detach(before);
      dropped.push(before.child);
    }
    const after = child && this.#attach({ kind: 'node', node }, role, child, NO_RIGHTS);
    undo.push(() => {
      if (after) this.#detach(after);
      if (!before) return;
      before.child.parents.push(before);
      node[role] = before;
      block(before);
    });
  }

  /** As {@link reopen}; a node that cannot be reopened stays as it is. */
  tryReopen(node: BlockNode, readOnly: boolean): void {
    // What nobody held any more may be closed by now.
    if (this.nodes.get(node.name) !== node) return;
    try {
      this.reopen(node, readOnly);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
    }
  }

  /** Takes what a change of the graph needs, or takes the change back and refuses. */
  #take(roots: readonly BlockNode[], undo: () => void, toReadOnly?: ReadonlySet<BlockNode>): void {
    if (!this.#enforcesRights) {
      forceRights(roots);
      return;
    }
    try {
      takeRights(roots, toReadOnly);
    } catch (error) {
      undo();
      throw error;
    }
  }

  #attach(parent: Parent, role: Edge['role'], child: BlockNode, rights: Rights): Edge {
    const edge: Edge = { parent, role, child, rights };
    checkAwake(edge);
    child.parents.push(edge);
    if (parent.kind === 'node') parent.node[role as ChildRole] = edge;
    block(edge);
    return edge;
  }

  #detach(edge: Edge): void {
    const { child, parent, role } = edge;
    unblock(edge);
    child.parents.splice(child.parents.indexOf(edge), 1);
    if (parent.kind === 'node' && parent.node[role as ChildRole] === edge)
      parent.node[role as ChildRole] = undefined;
  }

  /** Moves parents without asking; the answer moves them back. */
  #move(from: BlockNode, to: BlockNode): () => void {
    const below = reachableFrom(to);
    const before = [from, to].map((node) => [...node.parents]);
    const moved = from.parents.filter(
      ({ parent }) => parent.kind !== 'job' && !(parent.kind === 'node' && below.has(parent.node)),
    );
    const put = (edge: Edge, node: BlockNode) => {
      unblock(edge);
      edge.child.parents.splice(edge.child.parents.indexOf(edge), 1);
      edge.child = node;
      node.parents.push(edge);
      block(edge);
    };
    // The newest one goes first, and so becomes the oldest one there.
    for (const edge of moved.toReversed()) put(edge, to);
    return () => {
      for (const edge of moved) put(edge, from);
      from.parents.splice(0, Number.POSITIVE_INFINITY, ...(before[0] ?? []));
      to.parents.splice(0, Number.POSITIVE_INFINITY, ...(before[1] ?? []));
    };
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

/** A node that could not be flushed is not reopened. */
export function checkFlushed(error: Errno | undefined): void {
  if (error !== undefined) refuse(`Error flushing drive: ${strerror(error)}`);
}

/** A file stays as long as the format that leaves it has made it. */
function keepFileLength(below: BlockNode): void {
  for (const node of storageOf(below))
    if (node.driver.kind === 'protocol') node.knownBytes = node.driver.lengthBytes(node);
}

/** Tables are written twice when a node is closed; clusters whose entries could not be written are lost. */
function closeTables({ io, image, pending }: BlockNode): void {
  if (!io || io.flush() === undefined || io.flush() === undefined || !io.hasUnwritten) return;
  pending?.truncate(0);
  if (!image) return;
  image.layout = undefined;
  const { clusterSizeBytes: cluster } = image.header;
  for (const each of io.dropped) dropContent(image.extents, each * cluster, (each + 1) * cluster);
}

/** What is there reads as zeroes; what is not is left to what lies below. */
function dropContent(extents: ExtentMap, start: number, end: number): void {
  for (let at = start; at < end; ) {
    const span = extents.at(at, end);
    if (span.tag !== ABSENT) extents.set(at, span.end, 0);
    at = span.end;
  }
}

/** How error texts call a node. */
export const displayName = (node: BlockNode): string => backendName(node) || node.name;

/** Whether a node is the root of its tree: only backends hold it. */
export const isRoot = (node: BlockNode): boolean => node.parents.every(({ parent }) => isBackend(parent));

/** Whether a backend (a guest device's, a -drive's, a job's own) has the node open. */
export const hasBackend = (node: BlockNode): boolean => node.parents.some(({ parent }) => isBackend(parent));

/** Why an operation on a node is refused; undefined: it is not. */
export function blockedReason(node: BlockNode, op: BlockedOp): string | undefined {
  const busy = (reason: string) => `Node '${displayName(node)}' is busy: ${reason}`;
  // The newest blocker speaks.
  for (const blocker of node.blockers.toReversed()) {
    if (!blocker.except.includes(op)) return busy(blocker.reason());
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

/** An overlay forbids most of what could be done with its backing image, in words that do not change later. */
function block(edge: Edge): void {
  const { parent, role, child } = edge;
  if (parent.kind !== 'node' || role !== 'backing') return;
  const reason = `node is used as backing hd of '${displayName(parent.node)}'`;
  edge.blocker = { reason: () => reason, except: ALLOWED_ON_BACKING };
  child.blockers.push(edge.blocker);
}

function unblock({ blocker, child }: Edge): void {
  const index = blocker ? child.blockers.indexOf(blocker) : -1;
  if (index >= 0) child.blockers.splice(index, 1);
}

/** A node and everything that it rests on. */
export function reachableFrom(node: BlockNode, into = new Set<BlockNode>()): Set<BlockNode> {
  into.add(node);
  for (const child of childrenOf(node)) if (!into.has(child)) reachableFrom(child, into);
  return into;
}

/** A node, and what its own storage was opened as along with it, which follows it. */
function nodesOfFile(node: BlockNode): BlockNode[] {
  const below = (node.file ?? node.filtered)?.child;
  return below?.inherits ? [node, ...nodesOfFile(below)] : [node];
}

/** Closes a node's file, if it has one, without writing anything. */
export function closeImage(node: BlockNode): void {
  node.image?.locks.set(node, NO_RIGHTS);
  node.image = undefined;
}

/** What a node that may be written to keeps in the process until a flush, empty. */
export function startPending(node: BlockNode): void {
  node.pending = !node.readOnly && node.active && node.driver.name === 'qcow2' ? new ExtentMap() : undefined;
}

/** Whether a holder is a backend, whoever has made it. */
const isBackend = ({ kind }: Parent): boolean =>
  kind === 'backend' || kind === 'job-backend' || kind === 'export';
