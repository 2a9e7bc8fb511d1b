/** For every fault point the shortest way there. */
import type { FaultPoint } from '../../../../mock-qemu/core/faults/points.ts';
import { type Bench, MIB } from '../commands/bench.ts';

/** Drives a machine past a point; a fault may end it at any moment. */
export type Scenario = (bench: Bench) => void;

const TOP = 'libvirt-1-format';
const DISK = 'virtio-disk0';

const mirror = (bench: Bench): void => {
  bench.addTarget();
  bench.run('blockdev-mirror', { 'job-id': 'm', device: TOP, target: 't', sync: 'full' });
  bench.idle();
};

const pivot = (bench: Bench): void => {
  mirror(bench);
  bench.run('job-complete', { id: 'm' });
  bench.idle();
};

const abort = (bench: Bench): void => {
  mirror(bench);
  bench.run('block-job-cancel', { device: 'm' });
  bench.idle();
};

const tail = (bench: Bench): void => {
  mirror(bench);
  bench.guest('write -P 9 5M 64k');
  bench.idle();
};

const stream = (bench: Bench): void => {
  bench.run('block-stream', { device: TOP, 'job-id': 's' });
  bench.idle();
};

const commit = (bench: Bench): void => {
  const nodes = { 'top-node': 'libvirt-2-format', 'base-node': 'libvirt-3-format' };
  bench.run('block-commit', { device: TOP, 'job-id': 'c', ...nodes });
  bench.idle();
};

const backup = (bench: Bench): void => {
  bench.addTarget();
  bench.run('blockdev-backup', { 'job-id': 'b', device: TOP, target: 't', sync: 'full' });
  bench.idle();
};

const create = (bench: Bench): void => {
  bench.store.create('/img/new');
  bench.run('blockdev-add', { driver: 'file', filename: '/img/new', 'node-name': 'new' });
  bench.run('blockdev-create', { 'job-id': 'n', options: { driver: 'qcow2', file: 'new', size: MIB } });
  bench.idle();
};

const snapshot = (bench: Bench): void => {
  const names = { 'node-name': TOP, 'snapshot-file': '/img/s', 'snapshot-node-name': 'snap' };
  bench.run('blockdev-snapshot-sync', names);
};

/** The test's machine has a raw disk, too, which cannot take part in what is kept of all. */
const internal = (bench: Bench): void => {
  bench.addTarget();
  const disk = { vmstate: 't', devices: ['t'] };
  for (const verb of ['save', 'load'] as const) {
    bench.run(`snapshot-${verb}`, { 'job-id': verb, tag: 'kept', ...disk });
    bench.idle();
  }
  bench.run('snapshot-delete', { 'job-id': 'delete', tag: 'kept', devices: ['t'] });
  bench.idle();
};

const guest =
  (op: 'read' | 'write' | 'flush'): Scenario =>
  (bench) => {
    bench.run('cont');
    bench.qemu.control({
      control: 'guest-io',
      disk: DISK,
      op,
      ...(op !== 'flush' && { bytes: 512, byte: 7 }),
    });
    bench.idle();
  };

const query = (bench: Bench): void => {
  bench.run('query-status');
};

/** The table; a point that is missing here does not compile. */
export const SCENARIOS: Readonly<Record<FaultPoint, Scenario>> = {
  'mirror.target-created': mirror,
  'mirror.source-read': mirror,
  'mirror.target-write': mirror,
  'mirror.target-flush': mirror,
  'mirror.before-ready': mirror,
  'mirror.after-ready': mirror,
  'mirror.tail-copied': tail,
  'mirror.before-event': abort,
  'mirror.after-event': abort,
  'pivot.accepted': pivot,
  'pivot.before-reply': pivot,
  'pivot.after-reply': pivot,
  'pivot.drained': pivot,
  'pivot.final-sync': pivot,
  'pivot.before-graph-change': pivot,
  'pivot.after-graph-change': pivot,
  'pivot.before-event': pivot,
  'pivot.after-event': pivot,
  'stream.read': stream,
  'stream.write': stream,
  'stream.copied': stream,
  'stream.before-graph-change': stream,
  'stream.after-graph-change': stream,
  'stream.header-write': stream,
  'stream.after-header': stream,
  'stream.before-event': stream,
  'stream.after-event': stream,
  'commit.read': commit,
  'commit.write': commit,
  'commit.copied': commit,
  'commit.before-graph-change': commit,
  'commit.after-graph-change': commit,
  'commit.header-write': commit,
  'commit.after-header': commit,
  'commit.before-event': commit,
  'commit.after-event': commit,
  'backup.source-read': backup,
  'backup.target-write': backup,
  'backup.copied': backup,
  'backup.before-event': backup,
  'backup.after-event': backup,
  'create.write': create,
  'create.formatted': create,
  'snapshot.created': snapshot,
  'snapshot.before-graph-change': snapshot,
  'snapshot.after-graph-change': snapshot,
  'internal-snapshot.taken': internal,
  'internal-snapshot.restored': internal,
  'internal-snapshot.dropped': internal,
  'guest.read': guest('read'),
  'guest.write': guest('write'),
  'guest.flush': guest('flush'),
  'node.read': guest('read'),
  'node.write': guest('write'),
  'node.flush': guest('flush'),
  'monitor.greeting': (bench) => bench.input({ type: 'connect', connection: 2 }),
  'monitor.command': query,
  'monitor.reply': query,
  'monitor.event': (bench) => void bench.run('cont'),
  'at-time': (bench) => bench.idle(),
};
