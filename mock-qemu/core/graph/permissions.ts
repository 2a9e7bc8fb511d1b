/** Who may write to a node, and who forbids it: QEMU's permission system as far as block work meets it. */
import { refuse } from '../errors.ts';
import type { BlockBackend } from './backend.ts';
import { lock } from './graph.ts';
import type { BlockNode, Edge } from './node.ts';

// QEMU's mirror and commit filters hold what they filter as backing file, the others as file.
const FILTERED_AS_BACKING = new Set(['mirror_top', 'commit_top']);

function roleName({ parent, role }: Edge): string {
  if (role !== 'filtered') return role;
  return parent.kind === 'node' && FILTERED_AS_BACKING.has(parent.node.driver.name) ? 'backing' : 'file';
}

/** What error texts call a backend. */
function describeBackend({ name, qdev }: BlockBackend): string {
  const called = name === '' ? qdev : name;
  return called === undefined ? 'an unnamed block device' : `block device '${called}'`;
}

/** A holder of a node, as error texts have it. */
function describe(edge: Edge): string {
  const { parent, child } = edge;
  const uses = `(uses node '${child.name}' as '${roleName(edge)}' child)`;
  if (parent.kind === 'node') return `node '${parent.node.name}' ${uses}`;
  return `${parent.kind === 'backend' ? describeBackend(parent.backend) : 'an unnamed block device'} ${uses}`;
}

type Permission = 'consistent read' | 'write' | 'resize';

const isPassThrough = ({ parent, role }: Edge): boolean =>
  parent.kind === 'node' && (role === 'filtered' || parent.node.driver.name === 'raw');

/** Whether a holder lets nobody else write. Filters and overlays pass on what their own holders want. */
function forbidsWrites(edge: Edge): boolean {
  const { parent, role } = edge;
  switch (parent.kind) {
    case 'backend':
      return parent.backend.qdev !== undefined && !parent.backend.sharesWriting;
    case 'job-backend':
      return true;
    case 'job':
      return false;
    case 'node':
      return isPassThrough(edge) || role === 'backing' ? parent.node.parents.some(forbidsWrites) : true;
  }
}

/** Which rights a holder needs. */
function needs(edge: Edge): readonly Permission[] {
  const { parent, role } = edge;
  switch (parent.kind) {
    case 'backend':
      if (parent.backend.qdev === undefined) return [];
      return parent.backend.readOnly ? ['consistent read'] : ['consistent read', 'write'];
    case 'job-backend':
      return ['write'];
    case 'job':
      return [];
    case 'node': {
      const above = parent.node.parents.flatMap(needs);
      if (role === 'backing') return above.includes('consistent read') ? ['consistent read'] : [];
      if (isPassThrough(edge)) return [...new Set(above)];
      return parent.node.readOnly ? ['consistent read'] : ['consistent read', 'write', 'resize'];
    }
  }
}

/** Whether somebody relies on what a node reads as. */
export const isRead = (node: BlockNode): boolean =>
  node.parents.some((edge) => needs(edge).includes('consistent read'));

/** Whether somebody who holds a node needs to write to it. */
export const isWrittenTo = (node: BlockNode): boolean =>
  node.parents.some((edge) => needs(edge).includes('write'));

/** A holder to be. */
interface Newcomer {
  /** As error texts have it, without the node. */
  readonly called: string;
  readonly role: string;
  readonly writes: boolean;
  /** What it lets nobody else have. */
  readonly forbids: readonly Permission[];
}

/** Refuses a newcomer whose rights do not go together with those of a node's holders. */
function checkNewcomer(
  node: BlockNode,
  { called, role, writes, forbids }: Newcomer,
  others: readonly Edge[] = node.parents,
): void {
  const newcomer = `${called} (uses node '${node.name}' as '${role}' child)`;
  const conflict = (permissions: readonly Permission[], needed: string, unshared: string): never =>
    refuse(
      `Permission conflict on node '${node.name}': permissions '${permissions.join(', ')}' are both required by ` +
        `${needed} and unshared by ${unshared}.`,
    );
  const holders = others.toReversed();
  for (const holder of holders) {
    const needed = needs(holder).filter((each) => forbids.includes(each));
    if (needed.length > 0) conflict(needed, describe(holder), newcomer);
  }
  const opponent = writes ? holders.find(forbidsWrites) : undefined;
  if (opponent) conflict(['write'], newcomer, describe(opponent));
  if (writes && node.readOnly) refuse('Block node is read-only');
  // Nobody has used the node until now: so it had no locks.
  if (writes && node.driver.name === 'raw' && !node.locked) lock(node, true);
}

const STRANGER = 'an unnamed block device';

/** Refuses a writer who is none of a node's holders and minds nobody else. */
export const checkStrangerMayWrite = (node: BlockNode): void =>
  checkNewcomer(node, { called: STRANGER, role: 'root', writes: true, forbids: [] });

/** Refuses a device whose rights do not go together with those of a node's holders; it writes unless the node forbids that. */
export const checkDeviceMayUse = (node: BlockNode, device: string, sharesWriting: boolean): void =>
  checkNewcomer(node, {
    called: `block device '${device}'`,
    role: 'root',
    writes: !node.readOnly,
    forbids: sharesWriting ? [] : ['write'],
  });

/** Refuses to let a read-only device's backend write for once. */
export function checkBackendMayWrite(node: BlockNode, backend: BlockBackend): void {
  const others = node.parents.filter(({ parent }) => parent.kind !== 'backend' || parent.backend !== backend);
  checkNewcomer(
    node,
    { called: describeBackend(backend), role: 'root', writes: true, forbids: ['write'] },
    others,
  );
}

/** Refuses to let a mirror write to a node, of which it keeps out all other readers and writers. */
export const checkMirrorMayOwn = (node: BlockNode): void =>
  checkNewcomer(node, {
    called: STRANGER,
    role: 'root',
    writes: true,
    forbids: ['consistent read', 'write', 'resize'],
  });

/** Refuses to let a backup's filter write to a node; others may write there too. */
export const checkBackupMayOwn = (node: BlockNode, filterName: string): void =>
  checkNewcomer(node, {
    called: `node '${filterName}'`,
    role: 'target',
    writes: true,
    forbids: ['resize'],
  });

/** Refuses to let somebody format a node that others use. */
export function checkCreatorMayUse(node: BlockNode): void {
  const creator = `${STRANGER} (uses node '${node.name}' as 'root' child)`;
  const rival = node.parents.toReversed().find(forbidsWrites);
  if (rival) {
    refuse(
      `Permission conflict on node '${node.name}': permissions 'write, resize' are both required by ${creator} ` +
        `and unshared by ${describe(rival)}.`,
    );
  }
  if (node.readOnly) refuse('Block node is read-only');
}

/** Refuses to put an image format on a node that another one writes to or forbids to write to. */
export function checkFormatMayUse(node: BlockNode, format: BlockNode, writes = !format.readOnly): void {
  const newcomer = `node '${format.name}' (uses node '${node.name}' as 'file' child)`;
  const text = `Permission conflict on node '${node.name}': permissions`;
  const holdersNeeds = (rival: Edge): void => {
    const needed = needs(rival).filter((each) => each !== 'consistent read');
    if (needed.length === 0) return;
    refuse(
      `${text} '${needed.join(', ')}' are both required by ${describe(rival)} and unshared by ${newcomer}.`,
    );
  };
  const newcomersNeeds = (rival: Edge): void => {
    if (!writes || !forbidsWrites(rival)) return;
    refuse(`${text} 'write, resize' are both required by ${newcomer} and unshared by ${describe(rival)}.`);
  };
  // A format that moves over from another file is looked at first.
  const moves = format.file !== undefined && format.file.child !== node;
  const checks = moves ? [newcomersNeeds, holdersNeeds] : [holdersNeeds, newcomersNeeds];
  const rivals = node.parents.filter(({ parent }) => parent.kind !== 'node' || parent.node !== format);
  for (const rival of rivals.toReversed()) for (const check of checks) check(rival);
}
