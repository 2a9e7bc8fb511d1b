/** Media, limits and snapshots before blockdev-open-tray and node names. */
import { expect, test } from 'vitest';
import { profileNamed } from '../../../../mock-qemu/profiles/index.ts';
import { Bench } from './bench.ts';

const ARGV = [
  ...[
    '-S',
    '-drive',
    'file=/img/base,if=none,id=cd,format=qcow2,readonly=on',
    '-device',
    'ide-cd,drive=cd,id=cd0',
  ],
  ...['-drive', 'file=/img/top,if=none,id=disk,format=qcow2', '-device', 'virtio-blk-pci,drive=disk,id=vd0'],
];
const NO_LIMITS = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };

const boot = (profile: string) => new Bench(ARGV, 1, profileNamed(profile));
const drives = (bench: Bench) =>
  bench.run('query-block') as readonly { tray_open?: boolean; inserted?: Record<string, unknown> }[];
const words = (bench: Bench, line: string) => bench.run('human-monitor-command', { 'command-line': line });

test.each(['qemu-1.3', 'rhel-6.3'])('%s ejects, changes and knows no passwords', (profile) => {
  const bench = boot(profile);
  bench.run('eject', { device: 'cd' });
  expect(drives(bench)[0]).toMatchObject({ tray_open: true });
  expect(drives(bench)[0]?.inserted).toBeUndefined();
  bench.run('change', { device: 'cd', target: '/img/mid', arg: 'qcow2' });
  expect(drives(bench)[0]).toMatchObject({ tray_open: false, inserted: { file: '/img/mid', ro: true } });
  for (const [command, args, text] of [
    ['eject', { device: 'disk' }, "Device 'disk' is not removable"],
    ['eject', { device: 'nope' }, "Device 'nope' not found"],
    ['block_passwd', { device: 'disk', password: 'x' }, "Device 'disk' is not encrypted"],
  ] as const) {
    expect(JSON.stringify(bench.run(command, args))).toContain(text);
  }
});

test('1.3 says that a tray has moved, and nothing of whose it is', () => {
  const bench = boot('qemu-1.3');
  bench.run('eject', { device: 'cd' });
  const moved = bench.heardBytes.join('').match(/"DEVICE_TRAY_MOVED", "data": (\{[^}]*\})/);
  expect(JSON.parse(moved?.[1] ?? '{}')).toEqual({ device: 'cd', 'tray-open': true });
});

test('1.3 shows limits, and refuses those of all and of one direction together', () => {
  const bench = boot('qemu-1.3');
  bench.run('block_set_io_throttle', { device: 'disk', ...NO_LIMITS, bps: 1000, iops_rd: 5 });
  expect(drives(bench)[1]?.inserted).toMatchObject({ bps: 1000, iops_rd: 5, iops: 0 });
  expect(drives(bench)[1]?.inserted).not.toHaveProperty('group');
  const both = bench.run('block_set_io_throttle', { device: 'disk', ...NO_LIMITS, bps: 1, bps_rd: 1 });
  expect(JSON.stringify(both)).toContain('Invalid parameter combination');
});

test('1.3 saves and loads by the human monitor', () => {
  const bench = boot('qemu-1.3');
  expect(words(bench, 'savevm s')).toBe('');
  expect(words(bench, 'info snapshots')).toContain('s ');
  expect(words(bench, 'loadvm s')).toBe('');
  expect(words(bench, 'delvm s')).toBe('');
  expect(words(bench, 'info mem')).toContain('not supported by the simulation');
});
