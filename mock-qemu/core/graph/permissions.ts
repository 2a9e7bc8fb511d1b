/**
 * Who may do what with a node. Each holder of a node needs some rights and shares some; what a node's own holders want
 * decides what the node wants of those below it, down to the locks of the files.
 */
import { CommandError, refuse } from '../errors.ts';
import { ALL, NO_RIGHTS, namesOf, READ, RESIZE, type Rights, WRITE, WRITE_UNCHANGED } from '../rights.ts';
import type { BlockBackend } from './backend.ts';
import type { BlockNode, Edge } from './node.ts';

/** What all holders of a node together need, and what all of them share. */
export function rightsOn(node: BlockNode): Rights {
  let { needs, shares } = NO_RIGHTS;
  for (const edge of node.parents) {
    const rights = rightsOf(edge);
    needs |= rights.needs;
    shares &= rights.shares;
  }
  return { needs, shares };
}

/** What one holder of a node needs and shares. */
export function rightsOf(edge: Edge): Rights {
  const { parent, child } = edge;
  if (parent.kind !== 'node') return isDormant(edge) ? NO_RIGHTS : edge.rights;
  const rights = CHILD_RIGHTS[parent.node.driver.name]?.(edge, parent.node) ?? inGeneral(edge, parent.node);
  return child.forceShare ? { ...rights, shares: ALL } : rights;
}

/** A device or an export waits for an inactive node to come back; a job does not. */
const isDormant = ({ parent, child }: Edge): boolean =>
  !child.active && (parent.kind === 'backend' || parent.kind === 'export');

/** What a node wants of its child, unless its driver has wishes of its own. */
function inGeneral({ role }: Edge, parent: BlockNode): Rights {
  const above = rightsOn(parent);
  if (role === 'backing') return ofBacking(above);
  return role === 'file' ? ofStorage(above, parent) : above;
}

/** An overlay only reads what is below it; whoever bears writes above bears them here. */
const ofBacking = ({ needs, shares }: Rights): Rights => ({
  needs: needs & READ,
  shares: READ | WRITE_UNCHANGED | (shares & WRITE ? WRITE | RESIZE : 0),
});

/** A format writes its own tables even if nobody writes to it, and nobody else may. */
const ofStorage = ({ needs, shares }: Rights, parent: BlockNode): Rights => ({
  needs: needs | READ | (parent.readOnly || !parent.active ? 0 : WRITE | RESIZE),
  shares: parent.active ? shares & ~(WRITE | RESIZE) : shares | WRITE | RESIZE,
});

type ChildRights = (edge: Edge, parent: BlockNode) => Rights;

const CHILD_RIGHTS: Readonly<Record<string, ChildRights>> = {
  raw: (_, parent) => rightsOn(parent),
  mirror_top(_, parent) {
    if (parent.filterState === 'stopped') return NO_RIGHTS;
    const { needs, shares } = rightsOn(parent);
    // The images between a commit's source and its target are no longer consistent, and the target is written to.
    if (parent.filterState === 'commit') return { needs: needs & ~READ, shares: shares | WRITE };
    return { needs, shares };
  },
  commit_top: () => NO_RIGHTS,
  'copy-on-read'(_, parent) {
    if (parent.filterState === 'stopped') return NO_RIGHTS;
    const { needs, shares } = rightsOn(parent);
    return { needs: needs | WRITE_UNCHANGED, shares: shares | WRITE_UNCHANGED };
  },
  'copy-before-write'({ role }, parent) {
    // The guest may write to the target: it may lie on the source.
    if (role === 'target') return { needs: WRITE, shares: ALL & ~RESIZE };
    const { needs, shares } = rightsOn(parent);
    if (parent.parents.length === 0) return { needs, shares };
    const reads = parent.alwaysReads || needs & WRITE;
    return { needs: reads ? needs | READ : needs, shares: shares & ~(WRITE | RESIZE) };
  },
};

// QEMU's mirror and commit filters hold what they filter as backing file, the others as file.
const FILTERED_AS_BACKING = new Set(['mirror_top', 'commit_top']);

function roleName({ parent, role }: Edge): string {
  if (role !== 'filtered' || parent.kind !== 'node') return role;
  if (parent.node.driver.name === 'blkdebug') return 'image';
  return FILTERED_AS_BACKING.has(parent.node.driver.name) ? 'backing' : 'file';
}

/** What error texts call a backend. */
function describeBackend({ name, qdev }: BlockBackend): string {
  const called = name === '' ? qdev : name;
  return called === undefined ? 'an unnamed block device' : `block device '${called}'`;
}

function describeParent({ parent }: Edge): string {
  switch (parent.kind) {
    case 'node':
      return `node '${parent.node.name}'`;
    case 'backend':
      return describeBackend(parent.backend);
    case 'job':
      return `${parent.jobType} job '${parent.jobId}'`;
    case 'job-backend':
    case 'export':
    case 'resizer':
      return 'an unnamed block device';
  }
}

/** Refuses an active node above one that is not. */
export function checkAwake(edge: Edge): void {
  const { parent, child } = edge;
  if (child.active || parent.kind !== 'node' || !parent.node.active) return;
  refuse(`Inactive '${child.name}' can't be a ${roleName(edge)} child of active '${parent.node.name}'`);
}

/** A holder of a node, as error texts have it. */
const describe = (edge: Edge): string =>
  `${describeParent(edge)} (uses node '${edge.child.name}' as '${roleName(edge)}' child)`;

/** Refuses holders that do not go together; the newest one is looked at first. */
function checkHolders(node: BlockNode): void {
  // One alone goes together with all.
  if (node.parents.length < 2) return;
  const holders = node.parents.toReversed().map((edge) => ({ edge, rights: rightsOf(edge) }));
  for (const one of holders) {
    for (const other of holders) {
      const missing = one === other ? 0 : other.rights.needs & ~one.rights.shares;
      if (missing === 0) continue;
      refuse(
        `Permission conflict on node '${node.name}': permissions '${namesOf(missing)}' are both required by ` +
          `${describe(other.edge)} and unshared by ${describe(one.edge)}.`,
      );
    }
  }
}

/** The given nodes and all below them, no node before one that holds it. */
function downwards(roots: readonly BlockNode[]): BlockNode[] {
  const met = new Set<BlockNode>();
  const order: BlockNode[] = [];
  const visit = (node: BlockNode): void => {
    if (met.has(node)) return;
    met.add(node);
    for (const child of childrenOf(node)) visit(child);
    order.push(node);
  };
  for (const root of roots.toReversed()) visit(root);
  return order.reverse();
}

/** The nodes that a node holds, the one that it got last first. */
export function childrenOf({ target, backing, file, filtered }: BlockNode): BlockNode[] {
  const children: BlockNode[] = [];
  for (const edge of [target, backing, file, filtered]) if (edge) children.push(edge.child);
  return children;
}

/**
 * Works out anew what is held of the given nodes and of all below them, and takes the locks that follow from it. Refuses
 * what does not go together; the locks are then as they were.
 * @param toReadOnly nodes that have just become read-only
 */
export function takeRights(roots: readonly BlockNode[], toReadOnly?: ReadonlySet<BlockNode>): void {
  const before = new Map<BlockNode, Rights>();
  const nodes = downwards(roots);
  try {
    for (const node of nodes) {
      checkHolders(node);
      const rights = rightsOn(node);
      const missing = node.active ? 0 : rights.needs & ~READ;
      if (missing !== 0) refuse(`Permission '${namesOf(missing)}' unavailable on inactive node`);
      if (rights.needs & (WRITE | WRITE_UNCHANGED) && node.readOnly) {
        refuse(
          toReadOnly?.has(node)
            ? `Read-only block node '${node.name}' cannot support read-write users`
            : 'Block node is read-only',
        );
      }
      const held = prepareLocks(node, rights);
      if (held) before.set(node, held);
    }
  } catch (error) {
    for (const [node, rights] of before) node.image?.locks.set(node, rights);
    throw error;
  }
  settleLocks(nodes);
}

/** Locks a file for what its node has and for what it is to have; the answer is what it had, if that was less. */
function prepareLocks(node: BlockNode, rights: Rights): Rights | undefined {
  const held = locksOf(node);
  if (held === undefined || node.image === undefined) return undefined;
  const both = { needs: held.needs | rights.needs, shares: held.shares & rights.shares };
  if (both.needs === held.needs && both.shares === held.shares) return undefined;
  const conflict = node.image.locks.conflict(node, rights);
  if (conflict !== undefined) {
    const error = new CommandError(conflict);
    error.lockedFile = node.image.path;
    throw error;
  }
  node.image.locks.set(node, both);
  return held;
}

const locksOf = (node: BlockNode): Rights | undefined =>
  node.driver.kind === 'protocol' ? node.image?.locks.of(node) : undefined;

function settleLocks(nodes: readonly BlockNode[]): void {
  for (const node of nodes) {
    if (node.driver.kind === 'protocol') node.image?.locks.set(node, rightsOn(node));
  }
}

/** As {@link takeRights}, for a change that nobody can refuse: where it leads to a conflict, the locks stay. */
export function yieldRights(roots: readonly BlockNode[]): void {
  try {
    takeRights(roots);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
  }
}

/** Takes locks without asking: before images were locked against each other. */
export const forceRights = (roots: readonly BlockNode[]): void => settleLocks(downwards(roots));

/** Whether somebody relies on what a node reads as. */
export const isRead = (node: BlockNode): boolean => (rightsOn(node).needs & READ) !== 0;
