import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { format } from '../../../../mock-qemu/core/jobs/create.ts';
import { createDiskStore } from '../../../../mock-qemu/images/disk.ts';
import { Bench, GUEST, MIB } from './bench.ts';

const TOP = 'libvirt-1-format';

/** What the disk holds at its beginning once every process is gone, as `bytes` runs. */
const firstByte = (bench: Bench): number | undefined => bench.store.contents('/img/top')[0]?.byte;

test('what a snapshot keeps outlives writes that were not flushed and a crash', () => {
  for (let seed = 1; seed <= 8; seed++) {
    const bench = new Bench(undefined, seed);
    bench.run('cont');
    bench.guest('write -P 7 0 64k');
    bench.run('blockdev-snapshot-internal-sync', { device: TOP, name: 's' });
    bench.guest('write -P 8 0 64k');
    bench.input({ type: 'signal', signal: 'SIGKILL' });
    const image = bench.store.open('/img/top');
    expect(image.snapshots.map(({ id, name }) => [id, name])).toEqual([['1', 's']]);
    expect(image.snapshots[0]?.extents.at(0, 65536).tag).toBe(7);
    // Either the new cluster is known or the old one is: never anything else.
    expect([7, 8]).toContain(firstByte(bench));
  }
});

test('a crash between two disks leaves a snapshot of one', () => {
  const bench = new Bench();
  bench.addTarget();
  bench.qemu.control({ control: 'add-faults', faults: [{ at: 'internal-snapshot.taken', do: 'crash' }] });
  bench.run('human-monitor-command', { 'command-line': 'savevm all' });
  expect(bench.signal).toBe('SIGKILL');
  expect(bench.store.open('/img/top').snapshots).toHaveLength(1);
  expect(bench.store.open('/img/t').snapshots).toHaveLength(0);
});

test('the guest goes back with its disk, and its clock with it', () => {
  const bench = new Bench();
  bench.run('cont');
  bench.guest('write -P 7 0 64k');
  bench.run('human-monitor-command', { 'command-line': 'savevm s' });
  const clockNs = bench.store.open('/img/top').snapshots[0]?.vmClockNs ?? 0;
  expect(clockNs).toBeGreaterThan(0);
  bench.guest('write -P 8 0 64k');
  bench.run('stop');
  bench.run('human-monitor-command', { 'command-line': 'loadvm s' });
  expect(bench.qemu.vm.guestClock.ns).toBe(clockNs);
  expect(firstByte(bench)).toBe(7);
  expect(bench.qemu.vm.graph.backends.some(({ qdev }) => qdev === GUEST)).toBe(true);
});

test('another process sees the snapshots of a file', () => {
  const directory = mkdtempSync(join(tmpdir(), 'mockvirt-snapshots-'));
  try {
    const path = join(directory, 'a');
    const store = createDiskStore();
    const image = store.create(path);
    format(image, { format: 'qcow2', sizeBytes: MIB, header: { clusterSizeBytes: 65536 } });
    image.extents.set(0, 65536, 7);
    const { extents } = image;
    const dates = { dateSec: 1, dateNsec: 2000, vmClockNs: 3, vmStateBytes: 0 };
    image.snapshots.push({ id: '1', name: 's', ...dates, virtualSizeBytes: MIB, extents: extents.copy() });
    image.extents.set(0, 65536, 8);
    image.save();
    const seen = createDiskStore().open(path);
    expect(seen.snapshots).toMatchObject([{ id: '1', name: 's', ...dates, virtualSizeBytes: MIB }]);
    expect(seen.snapshots[0]?.extents.at(0, MIB)).toEqual({ end: 65536, tag: 7 });
    expect(seen.extents.at(0, MIB)).toEqual({ end: 65536, tag: 8 });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
