import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createDiskStore } from '../../../../mock-qemu/images/disk.ts';
import { profileNamed, withoutBugs } from '../../../../mock-qemu/profiles/index.ts';
import { Bench, MIB } from '../commands/bench.ts';

/** What the first 64 KiB hold after the end, by how the process ended. */
function firstByteAfter(action: 'crash' | 'power-loss', seed: number, flushed: boolean): number | undefined {
  const bench = new Bench(undefined, seed);
  bench.run('cont');
  // Over an image without clusters of its own, so that nothing waits in the process.
  bench.store.create('/img/plain');
  const file = { driver: 'file', filename: '/img/plain', 'node-name': 'plain-file' };
  bench.run('blockdev-create', {
    'job-id': 'n',
    options: { driver: 'file', filename: '/img/plain', size: MIB },
  });
  bench.idle();
  bench.run('blockdev-add', { driver: 'raw', 'node-name': 'plain', file });
  // A device has a write cache; who writes to a node by its name has none.
  bench.run('device_add', { driver: 'virtio-blk-pci', drive: 'plain', id: 'p' });
  const io = (line: string) =>
    bench.run('human-monitor-command', {
      'command-line': `qemu-io -d /machine/peripheral/p/virtio-backend "${line}"`,
    });
  io('write -P 7 0 64k');
  io('flush');
  io('write -P 8 0 64k');
  if (flushed) io('flush');
  bench.qemu.control({ control: 'add-faults', faults: [{ at: 'monitor.command', do: action }] });
  bench.run('query-status');
  expect(bench.signal).toBe('SIGKILL');
  return bench.store.contents('/img/plain')[0]?.byte;
}

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
const outcomes = (...args: [action: 'crash' | 'power-loss', flushed: boolean]) =>
  new Set(SEEDS.map((seed) => firstByteAfter(args[0], seed, args[1])));

test('a process that dies leaves its writes to the host; a host that dies may lose them', () => {
  expect(outcomes('crash', false)).toEqual(new Set([8]));
  expect(outcomes('power-loss', false)).toEqual(new Set([7, 8]));
});

test('what was flushed outlives the host', () => {
  expect(outcomes('power-loss', true)).toEqual(new Set([8]));
});

test('on real files, too, what was not flushed is lost', () => {
  const directory = mkdtempSync(join(tmpdir(), 'mockvirt-power-'));
  try {
    const image = createDiskStore().create(join(directory, 'a'));
    image.virtualSizeBytes = MIB;
    image.extents.set(0, MIB, 7);
    image.save();
    image.extents.set(0, MIB, 8);
    image.losePageCache(() => false);
    expect(image.extents.at(0, MIB).tag).toBe(7);
    image.extents.set(0, MIB, 8);
    image.losePageCache(() => true);
    expect(createDiskStore().contents(join(directory, 'a'))[0]?.byte).toBe(8);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('listing nodes while an image is formatted ends a 7.2, unless the bug is off', () => {
  const run = (fixed: readonly string[]): Bench => {
    const bench = new Bench(undefined, 1, withoutBugs(profileNamed('qemu-7.2'), fixed));
    bench.store.create('/img/new');
    bench.run('blockdev-add', { driver: 'file', filename: '/img/new', 'node-name': 'new' });
    bench.qemu.vm.addFault({ at: 'create.write', do: 'delay', delayNs: 1e9 });
    bench.run('blockdev-create', { 'job-id': 'n', options: { driver: 'qcow2', file: 'new', size: MIB } });
    bench.run('query-named-block-nodes');
    return bench;
  };
  expect(run([]).signal).toBe('SIGABRT');
  expect(run(['listingWhileFormattingAborts']).signal).toBeUndefined();
});
