import { expect, test } from 'vitest';
import { Bench, chainArgv, MIB } from './bench.ts';

const DISK = 'virtio-disk0';
const NS = 1e9;

/** Seconds until the machine has nothing left to do. */
function secondsOf(bench: Bench): number {
  const startedNs = bench.qemu.vm.clock.now();
  bench.idle();
  return (bench.qemu.vm.clock.now() - startedNs) / NS;
}

const limited = (limits: Record<string, number>): Bench => {
  const bench = new Bench();
  const none = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };
  const backend = '/machine/peripheral/virtio-disk0/virtio-backend';
  bench.run('block_set_io_throttle', { id: backend, ...none, ...limits });
  bench.run('cont');
  return bench;
};

const write = (bench: Bench, times: number, bytes: number): void => {
  for (let each = 0; each < times; each++)
    bench.qemu.control({ control: 'guest-io', disk: DISK, op: 'write', offset: 0, bytes, byte: 7 });
};

test('bytes per second slow a guest down to what the arithmetic says', () => {
  const bench = limited({ bps: MIB });
  write(bench, 21, MIB / 4);
  // The first passes, the others wait for what is above a tenth of a second's worth.
  const seconds = secondsOf(bench);
  expect(seconds).toBeGreaterThan(20 / 4 - 0.15);
  expect(seconds).toBeLessThan(20 / 4 + 0.05);
});

test('requests per second count requests, or pieces of them', () => {
  const plain = limited({ iops: 10 });
  write(plain, 21, 512);
  expect(secondsOf(plain)).toBeCloseTo(1.9, 1);
  const sized = limited({ iops: 10, iops_size: 4096 });
  write(sized, 21, 8192);
  expect(secondsOf(sized)).toBeCloseTo(3.9, 1);
});

test('reads are not held up by a limit on writes', () => {
  const bench = limited({ bps_wr: 4096 });
  const io = { control: 'guest-io', disk: DISK, op: 'read', offset: 0, bytes: MIB };
  for (let each = 0; each < 10; each++) bench.qemu.control(io);
  expect(secondsOf(bench)).toBeLessThan(0.1);
});

test('a guest that keeps writing keeps to its limit', () => {
  const bench = limited({ bps: MIB });
  bench.qemu.control({ control: 'guest-load', disk: DISK, bytesPerSecond: 100 * MIB });
  bench.qemu.advance(10 * NS);
  const { writtenBytes } = bench.qemu.control({ control: 'query-guest-load', disk: DISK }) as {
    writtenBytes: number;
  };
  expect(writtenBytes / MIB).toBeCloseTo(10, 0);
});

test('a job through a throttle node keeps to its limit', () => {
  const group = JSON.stringify({ 'qom-type': 'throttle-group', id: 'g', limits: { 'bps-total': MIB } });
  const bench = new Bench([...chainArgv(), '-object', group]);
  bench.addTarget();
  bench.run('blockdev-add', { driver: 'throttle', 'node-name': 'slow', 'throttle-group': 'g', file: 't' });
  const job = { 'job-id': 'm', device: 'libvirt-1-format', target: 'slow', sync: 'full' };
  bench.run('blockdev-mirror', job);
  // The whole disk, less the last piece and what passes at once.
  expect(secondsOf(bench)).toBeCloseTo(8 - 1 - 0.1, 1);
  expect(bench.log).toContain('m:ready');
});

test('a drained section does not wait for a limit', () => {
  const group = JSON.stringify({ 'qom-type': 'throttle-group', id: 'g', limits: { 'bps-total': 1024 } });
  const bench = new Bench([...chainArgv(), '-object', group]);
  bench.addTarget();
  bench.run('blockdev-add', { driver: 'throttle', 'node-name': 'slow', 'throttle-group': 'g', file: 't' });
  const job = { 'job-id': 'm', device: 'libvirt-1-format', target: 'slow', sync: 'full' };
  bench.run('blockdev-mirror', job);
  const startedNs = bench.qemu.vm.clock.now();
  // A transaction holds every job still, this one for hours if it waited.
  bench.run('transaction', { actions: [] });
  expect((bench.qemu.vm.clock.now() - startedNs) / NS).toBeLessThan(1);
});

test('-drive takes limits, in the short and in the long notation', () => {
  const short = 'file=/img/top,if=none,id=d0,format=qcow2,bps=1000,iops_rd=5';
  const long =
    'file=/img/base,if=none,id=d1,format=qcow2,read-only=on,throttling.bps-write=77,throttling.group=g';
  const bench = new Bench(['-S', '-drive', short, '-drive', long]);
  const [first, second] = bench.run('query-block') as readonly { inserted: object }[];
  expect(first?.inserted).toMatchObject({ bps: 1000, iops_rd: 5, group: 'd0' });
  expect(second?.inserted).toMatchObject({ bps: 0, bps_wr: 77, group: 'g' });
});
