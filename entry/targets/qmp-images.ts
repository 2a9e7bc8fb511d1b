/** Images and order on a QMP server that somebody else started, by QMP commands alone. */
import type { ImageSpec, Run } from '../../conformance/index.ts';
import { isObjectList, type WireMessage } from '../../conformance/wire.ts';
import { createDiskStore } from '../../mock-qemu/images/disk.ts';
import { hostContents } from './host-images.ts';
import { pause, type SharedStream } from './shared-stream.ts';
import { storeContents } from './store-images.ts';

const NODE = 'mockvirt-suite';
const CLEARING_MS = 20_000;

/** Makes an image with its writes: `blockdev-create`, and `qemu-io` on the human monitor. */
export async function createQmpImage(
  stream: SharedStream,
  { path, format, capacityBytes, backing, writes }: ImageSpec,
): Promise<void> {
  const file = { driver: 'file', filename: path };
  const size = format === 'raw' ? capacityBytes : 0;
  await stream.runJob('blockdev-create', { options: { ...file, size } });
  if (format === 'qcow2') {
    const below: WireMessage = backing ? { 'backing-file': backing.path, 'backing-fmt': backing.format } : {};
    await stream.execute('blockdev-add', { ...file, 'node-name': NODE });
    const options = { driver: format, file: NODE, size: capacityBytes, ...below };
    await stream.runJob('blockdev-create', { options });
    await stream.execute('blockdev-del', { 'node-name': NODE });
  }
  if (writes.length === 0) return;
  await stream.execute('blockdev-add', { driver: format, 'node-name': NODE, file });
  for (const { offsetBytes, lengthBytes, byte } of writes)
    await stream.execute('human-monitor-command', {
      'command-line': `qemu-io ${NODE} "write -P ${byte} ${offsetBytes} ${lengthBytes}"`,
    });
  await stream.execute('blockdev-del', { 'node-name': NODE });
}

/** What a guest would read from an image that a server on this machine has made. */
export async function qmpContents(path: string): Promise<readonly Run[]> {
  try {
    return await hostContents(path);
  } catch (error) {
    // Without qemu-img the simulation's own reader does.
    if ((error as { readonly code?: unknown }).code !== 'ENOENT') throw error;
    return storeContents(createDiskStore(), path);
  }
}

/** What a server has of its own: the ids of its jobs and the names of its nodes. */
export async function belongings(
  stream: SharedStream,
): Promise<{ readonly jobs: readonly WireMessage[]; readonly nodes: readonly string[] }> {
  const [jobs, nodes] = [
    await stream.execute('query-jobs'),
    await stream.execute('query-named-block-nodes', { flat: true }),
  ];
  return {
    jobs: isObjectList(jobs) ? jobs : [],
    nodes: isObjectList(nodes) ? nodes.map((node) => String(node['node-name'])) : [],
  };
}

/** Ends all jobs, removes all nodes and lets the machine run. @throws Error if something stays for long */
export async function clearServer(stream: SharedStream): Promise<void> {
  const refused = () => {};
  for (const startedMs = performance.now(); ; await pause()) {
    const { jobs, nodes } = await belongings(stream);
    if (jobs.length === 0 && nodes.length === 0) break;
    if (performance.now() - startedMs > CLEARING_MS)
      throw new Error(`the server keeps ${JSON.stringify({ jobs, nodes })}`);
    for (const { id = null, status } of jobs)
      await stream.execute(status === 'concluded' ? 'job-dismiss' : 'job-cancel', { id }).catch(refused);
    // A node goes only after those that stand on it, so some are refused in the first rounds.
    for (const name of nodes) await stream.execute('blockdev-del', { 'node-name': name }).catch(refused);
  }
  await stream.execute('nbd-server-stop').catch(refused);
  for (const name of await throttleGroups(stream)) await stream.execute('object-del', { id: name });
  await stream.execute('cont');
}

async function throttleGroups(stream: SharedStream): Promise<readonly string[]> {
  // A server that never had an object has no place for them.
  const objects = await stream.execute('qom-list', { path: '/objects' }).catch(() => []);
  if (!isObjectList(objects)) return [];
  return objects.flatMap(({ name, type }) => (type === 'child<throttle-group>' ? [String(name)] : []));
}
