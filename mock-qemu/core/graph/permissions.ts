/** Who may write to a node, and who forbids it: QEMU's permission system as far as block work meets it. */
import { refuse } from '../errors.ts';
import type { BlockBackend } from './backend.ts';
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

/** Whether a holder lets nobody else write. A filter passes on what its own holders want. */
function forbidsWrites({ parent, role }: Edge): boolean {
  switch (parent.kind) {
    case 'backend':
      return parent.backend.qdev !== undefined;
    case 'job-backend':
      return true;
    case 'job':
      return false;
    case 'node':
      if (role === 'filtered' || parent.node.driver.name === 'raw') {
        return parent.node.parents.some(forbidsWrites);
      }
      return role === 'backing' || !parent.node.readOnly;
  }
}

/** Which of a reader's and a writer's rights a holder needs. */
function needs({ parent, role }: Edge): readonly string[] {
  switch (parent.kind) {
    case 'backend':
      if (parent.backend.qdev === undefined) return [];
      return parent.backend.readOnly ? ['consistent read'] : ['consistent read', 'write'];
    case 'job-backend':
      return ['write'];
    case 'job':
      return [];
    case 'node':
      if (role === 'backing') return ['consistent read'];
      if (role === 'file' && parent.node.driver.name !== 'raw') {
        return parent.node.readOnly ? ['consistent read'] : ['consistent read', 'write', 'resize'];
      }
      return [...new Set(parent.node.parents.flatMap(needs))];
  }
}

const STRANGER = 'an unnamed block device';

const conflict = (node: BlockNode, permissions: readonly string[], needed: string, unshared: string): never =>
  refuse(
    `Permission conflict on node '${node.name}': permissions '${permissions.join(', ')}' are both required by ` +
      `${needed} and unshared by ${unshared}.`,
  );

/** Refuses a writer who is none of a node's holders. */
export function checkStrangerMayWrite(node: BlockNode): void {
  const opponent = node.parents.find(forbidsWrites);
  const stranger = `${STRANGER} (uses node '${node.name}' as 'root' child)`;
  if (opponent) conflict(node, ['write'], stranger, describe(opponent));
  if (node.readOnly) refuse('Block node is read-only');
}

/** Refuses to let a job write to a node of which it would keep out all other readers and writers. */
export function checkJobMayOwn(node: BlockNode): void {
  const stranger = `${STRANGER} (uses node '${node.name}' as 'root' child)`;
  for (const edge of node.parents) {
    const needed = needs(edge).filter((each) => each !== 'resize');
    if (needed.length > 0) conflict(node, needed, describe(edge), stranger);
  }
  if (node.readOnly) refuse('Block node is read-only');
}
