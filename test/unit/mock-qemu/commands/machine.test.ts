import { describe, expect, test } from 'vitest';
import { Bench, chainArgv, MIB } from './bench.ts';

describe('launch', () => {
  test.each([
    [['-foo'], 'qemu-system-x86_64: -foo: invalid option\n'],
    [
      ['-blockdev', 'driver=file,filename=/none,node-name=a'],
      "qemu-system-x86_64: -blockdev driver=file,filename=/none,node-name=a: Could not open '/none': No such file or directory\n",
    ],
    [
      ['-device', 'virtio-blk-pci,drive=nope'],
      "qemu-system-x86_64: -device virtio-blk-pci,drive=nope: Property 'virtio-blk-device.drive' can't find value 'nope'\n",
    ],
  ])('%j is refused', (argv, text) => {
    const bench = new Bench(argv);
    expect(bench.exit).toBe(1);
    expect(bench.printed).toBe(text);
  });

  test('a second machine cannot have the same disk', () => {
    const bench = new Bench();
    const file = { driver: 'file', filename: '/img/top' };
    const open = { driver: 'qcow2', 'node-name': 'again', file };
    expect(bench.run('blockdev-add', open)).toBe('Failed to get "write" lock');
    expect(bench.run('blockdev-add', { ...open, 'read-only': true })).toBe(
      'Failed to get shared "write" lock',
    );
    expect(bench.run('blockdev-add', { ...open, 'read-only': true, 'force-share': true })).toEqual({});
  });
});

describe('life', () => {
  test('stop, cont, reset and quit say what they do', () => {
    const bench = new Bench();
    bench.run('cont');
    bench.run('cont');
    bench.run('stop');
    bench.run('system_reset');
    bench.run('quit');
    bench.idle();
    expect(bench.heard()).toEqual([
      'RESUME',
      '{}',
      '{}',
      'STOP',
      '{}',
      'RESET',
      '{}',
      'SHUTDOWN',
      '{}',
      'closed',
    ]);
    expect(bench.exit).toBe(0);
  });

  test('quit ends a ready mirror without pivoting', () => {
    const bench = new Bench();
    bench.addTarget();
    bench.run('blockdev-mirror', { 'job-id': 'm', device: 'libvirt-1-format', target: 't', sync: 'full' });
    bench.idle();
    bench.heard();
    bench.run('quit');
    expect(bench.heard()).toEqual([
      'SHUTDOWN',
      'm:standby',
      'm:ready',
      'm:aborting',
      'BLOCK_JOB_CANCELLED',
      'm:concluded',
      'm:null',
      '{}',
    ]);
  });

  test('a kill keeps what was flushed and frees the locks', () => {
    const bench = new Bench();
    bench.guest('write -P 9 5M 64k');
    bench.guest('flush');
    bench.guest('write -P 8 6M 64k');
    bench.qemu.step({ type: 'signal', signal: 'SIGKILL' });
    const image = bench.store.open('/img/top');
    expect(image.extents.at(5 * MIB, 8 * MIB).tag).toBe(9);
    expect([8, -1]).toContain(image.extents.at(6 * MIB, 8 * MIB).tag);
    expect(image.locks.counts).toEqual({ writers: 0, readers: 0 });
  });

  test('equal seeds and inputs give equal traces', () => {
    const run = (seed: number) => {
      const bench = new Bench(chainArgv(), seed);
      bench.addTarget();
      bench.run('blockdev-mirror', { 'job-id': 'm', device: 'libvirt-1-format', target: 't', sync: 'full' });
      bench.run('query-named-block-nodes');
      bench.idle();
      return bench.trace.join('\n');
    };
    expect(run(7)).toBe(run(7));
    expect(run(7)).not.toBe(run(8));
  });
});

describe('refusals', () => {
  const cases: readonly (readonly [string, Record<string, string | number>, string])[] = [
    ['block-stream', { device: 'nope' }, "Cannot find device='nope' nor node-name='nope'"],
    ['block-stream', { device: 'libvirt-1-format' }, "Invalid job ID ''"],
    [
      'block-stream',
      { device: 'libvirt-1-format', 'job-id': 'x', base: 'nope' },
      "Can't find 'nope' in the backing chain",
    ],
    ['block-commit', { device: 'libvirt-2-format', 'job-id': 'x' }, 'Need a root block node'],
    ['block-commit', { device: 'nope' }, "Device 'nope' not found"],
    ['blockdev-del', { 'node-name': 'libvirt-1-format' }, 'Node libvirt-1-format is in use'],
    ['blockdev-del', { 'node-name': 'libvirt-1-storage' }, 'Block device libvirt-1-storage is in use'],
    [
      'blockdev-del',
      { 'node-name': 'libvirt-3-format' },
      "Node 'libvirt-3-format' is busy: node is used as backing hd of 'libvirt-2-format'",
    ],
    ['block-job-cancel', { device: 'x' }, "Block job 'x' not found"],
    ['job-cancel', { id: 'x' }, 'Job not found'],
    ['block-set-write-threshold', { 'node-name': 'zz', 'write-threshold': 1 }, "Device 'zz' not found"],
  ];
  test.each(cases)('%s %j', (command, args, text) => {
    const bench = new Bench();
    const nodes = [...bench.qemu.vm.graph.nodes.keys()];
    expect(bench.run(command, args)).toBe(text);
    expect([...bench.qemu.vm.graph.nodes.keys()]).toEqual(nodes);
  });

  test('a bad speed is found out when the job exists already', () => {
    const bench = new Bench();
    const args = { device: 'libvirt-1-format', 'job-id': 'x', speed: -1 };
    expect(bench.run('block-stream', args)).toBe("Parameter 'speed' expects a non-negative value");
    expect(bench.heard()).toEqual(['x:created', 'x:null', 'error']);
    expect(bench.qemu.vm.graph.nodes.size).toBe(6);
  });
});

test('a snapshot puts an overlay on top; a running job flaps and refuses it', () => {
  const bench = new Bench();
  const overlay = {
    'node-name': 'libvirt-1-format',
    'snapshot-file': '/img/snap',
    'snapshot-node-name': 'snap',
  };
  bench.run('blockdev-snapshot-sync', overlay);
  expect(bench.chain()).toEqual(['/img/snap', '/img/top', '/img/mid', '/img/base']);
  bench.addTarget();
  bench.run('blockdev-mirror', { 'job-id': 'm', device: 'snap', target: 't', sync: 'top' });
  bench.idle();
  bench.heard();
  const again = { 'node-name': 'snap', 'snapshot-file': '/img/snap2', 'snapshot-node-name': 'snap2' };
  expect(bench.run('blockdev-snapshot-sync', again)).toBe(
    "Node 'snap' is busy: block device is in use by block job: mirror",
  );
  expect(bench.heard()).toEqual(['m:standby', 'm:ready', 'm:standby', 'm:ready', 'error']);
});
