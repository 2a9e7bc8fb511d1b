/** Storage migration as libvirt does it: a mirror to an export of another machine. */
import { expect, test } from 'vitest';
import { format } from '../../../../mock-qemu/core/jobs/create.ts';
import { NbdNetwork } from '../../../../mock-qemu/core/nbd.ts';
import { createMemoryStore } from '../../../../mock-qemu/images/memory.ts';
import { profileNamed } from '../../../../mock-qemu/profiles/index.ts';
import { MockQemu } from '../../../../mock-qemu/qmp/machine.ts';

const MIB = 2 ** 20;
const ADDRESS = { type: 'unix', path: '/run/nbd.sock' } as const;

/** Two machines in one world, each with one disk, and one client each. */
class Pair {
  readonly store = createMemoryStore();
  readonly network = new NbdNetwork();
  readonly source: MockQemu;
  readonly destination: MockQemu;
  readonly heard: Record<string, unknown>[] = [];

  constructor() {
    for (const name of ['source', 'destination']) {
      const image = this.store.create(`/img/${name}`);
      format(image, { format: 'qcow2', sizeBytes: 8 * MIB, header: { clusterSizeBytes: 65536 } });
    }
    this.store.open('/img/source').extents.set(0, 2 * MIB, 7);
    this.source = this.#boot('source');
    this.destination = this.#boot('destination');
  }

  #boot(name: string): MockQemu {
    const file = { driver: 'file', filename: `/img/${name}` };
    const argv = ['-S', '-blockdev', JSON.stringify({ driver: 'qcow2', 'node-name': 'disk', file })];
    argv.push('-device', '{"driver":"virtio-blk-pci","drive":"disk","id":"vd0","share-rw":true}');
    const { store: images, network } = this;
    const qemu = new MockQemu({ profile: profileNamed('qemu-7.2'), argv, seed: 1, images, network });
    qemu.step({ type: 'connect', connection: 1 });
    this.run(qemu, 'qmp_capabilities');
    return qemu;
  }

  /** Executes a command and lets both machines come to rest; its reply. */
  run(qemu: MockQemu, execute: string, args?: object): Record<string, unknown> | undefined {
    const bytes = new TextEncoder().encode(JSON.stringify({ execute, arguments: args }));
    qemu.step({ type: 'data', connection: 1, bytes });
    qemu.advance(5e9);
    const mine: Record<string, unknown>[] = [];
    for (const output of qemu.takeOutputs()) {
      if (output.type !== 'data') continue;
      const lines = new TextDecoder().decode(output.bytes).split('\r\n');
      mine.push(...lines.filter((line) => line !== '').map((line) => JSON.parse(line)));
    }
    this.heard.push(...mine);
    return mine.find((message) => 'return' in message || 'error' in message);
  }
}

function mirroring(): Pair {
  const pair = new Pair();
  const { source, destination } = pair;
  pair.run(destination, 'nbd-server-start', { addr: { type: 'unix', data: { path: ADDRESS.path } } });
  const exported = { type: 'nbd', id: 'e', 'node-name': 'disk', name: 'vda', writable: true };
  expect(pair.run(destination, 'block-export-add', exported)).toEqual({ return: {} });
  const remote = { driver: 'nbd', 'node-name': 'remote', server: ADDRESS, export: 'vda' };
  expect(pair.run(source, 'blockdev-add', remote)).toEqual({ return: {} });
  pair.run(source, 'blockdev-mirror', { 'job-id': 'm', device: 'disk', target: 'remote', sync: 'full' });
  return pair;
}

test('a mirror to another machine fills its disk and can be cancelled there', () => {
  const pair = mirroring();
  const { source, destination, store } = pair;
  expect(pair.heard.map(({ event }) => event)).toContain('BLOCK_JOB_READY');
  pair.run(source, 'block-job-cancel', { device: 'm' });
  pair.run(source, 'blockdev-del', { 'node-name': 'remote' });
  expect(pair.run(destination, 'nbd-server-stop')).toEqual({ return: {} });
  pair.run(destination, 'quit');
  expect(store.digest('/img/destination')).toBe(store.digest('/img/source'));
  expect(store.exists(ADDRESS.path)).toBe(false);
});

test('clients keep an export from going softly', () => {
  const pair = mirroring();
  const gone = pair.run(pair.destination, 'block-export-del', { id: 'e' });
  expect(gone).toMatchObject({ error: { desc: expect.stringContaining('still in use') } });
  expect(pair.run(pair.destination, 'block-export-del', { id: 'e', mode: 'hard' })).toEqual({ return: {} });
});

test('a server that dies ends the mirror with an error', () => {
  const pair = mirroring();
  pair.destination.step({ type: 'signal', signal: 'SIGKILL' });
  const write = 'qemu-io -d vd0 "write -P 9 4M 64k"';
  pair.run(pair.source, 'cont');
  pair.source.control({
    control: 'guest-io',
    disk: 'vd0',
    op: 'write',
    offset: 4 * MIB,
    bytes: 65536,
    byte: 9,
  });
  pair.run(pair.source, 'human-monitor-command', { 'command-line': write });
  const ended = pair.heard.find(({ event }) => event === 'BLOCK_JOB_COMPLETED') as { data?: object };
  expect(ended?.data).toMatchObject({ error: 'Input/output error' });
});

test('an export is found by its name alone', () => {
  const pair = mirroring();
  const { source } = pair;
  const add = (name: string, more: object) =>
    pair.run(source, 'blockdev-add', { driver: 'nbd', 'node-name': name, server: ADDRESS, ...more });
  expect(add('x', {})).toMatchObject({ error: { desc: 'Requested export not available' } });
  const named = pair.run(source, 'query-named-block-nodes', { flat: true });
  expect(JSON.stringify(named)).toContain('nbd+unix:///vda?socket=/run/nbd.sock');
});
