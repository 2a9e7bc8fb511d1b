/** The simulation's image files and QEMU's own tools: each reads what the other has written. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ExtentMap } from '../../mock-qemu/core/extents.ts';
import type { ImageFile } from '../../mock-qemu/core/images.ts';
import { format } from '../../mock-qemu/core/jobs/create.ts';
import { createDiskStore } from '../../mock-qemu/images/disk.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'mockvirt-images-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const img = (...words: string[]): string => execFileSync('qemu-img', words, { encoding: 'utf8' });
const check = (path: string) => JSON.parse(img('check', '--output=json', path)) as Record<string, unknown>;
const at = (name: string): string => join(directory, name);

function keep(image: ImageFile, id: string, name: string): void {
  const extents = image.extents.copy();
  const dates = { dateSec: 1_700_000_000, dateNsec: 5000, vmClockNs: 61_000_000_000, vmStateBytes: 1024 };
  image.snapshots.push({ id, name, ...dates, virtualSizeBytes: image.virtualSizeBytes, extents });
}

test('qemu-img finds our images whole, with chain and snapshots', () => {
  const store = createDiskStore();
  const base = store.create(at('base'));
  format(base, { format: 'raw', sizeBytes: 4 * MIB, header: { clusterSizeBytes: 64 * KIB } });
  base.extents.set(0, 4 * MIB, 5);
  base.save();
  const top = store.create(at('top'));
  const header = { clusterSizeBytes: 64 * KIB, backingName: 'base', backingFormat: 'raw' };
  format(top, { format: 'qcow2', sizeBytes: 4 * MIB, header });
  top.extents.set(0, MIB, 7);
  top.extents.set(MIB, 2 * MIB, 0);
  // Not whole clusters: the rest shines through from below.
  top.extents.set(3 * MIB + 100, 3 * MIB + 200, 9);
  keep(top, '1', 'first');
  top.extents.set(0, 64 * KIB, 8);
  keep(top, '7', 'second');
  top.save();

  expect(check(at('top'))).toMatchObject({ 'check-errors': 0, 'image-end-offset': expect.any(Number) });
  expect(check(at('top')).leaks).toBeUndefined();
  const info = JSON.parse(img('info', '--output=json', at('top'))) as Record<string, unknown>;
  expect(info).toMatchObject({
    format: 'qcow2',
    'virtual-size': 4 * MIB,
    'backing-filename': 'base',
    'backing-filename-format': 'raw',
    snapshots: [
      { id: '1', name: 'first', 'date-sec': 1_700_000_000, 'vm-clock-sec': 61, 'vm-state-size': 1024 },
      { id: '7', name: 'second', 'date-nsec': 5000 },
    ],
  });
  expect(img('snapshot', '-l', at('top'))).toMatch(/1 +first +1 KiB 2023-11-1\d .* 00:01:01.000/);
  img('convert', '-O', 'raw', at('top'), at('flat'));
  expect(store.contents(at('flat'))).toEqual(store.contents(at('top')));
  img('snapshot', '-a', 'first', at('top'));
  img('snapshot', '-d', 'second', at('top'));
  const after = createDiskStore();
  expect(after.contents(at('top')).slice(0, 1)).toEqual([{ offsetBytes: 0, lengthBytes: MIB, byte: 7 }]);
  expect(after.open(at('top')).snapshots.map(({ name }) => name)).toEqual(['first']);
  expect(check(at('top'))).toMatchObject({ 'check-errors': 0 });
});

test('a large disk of one byte is a small file that counts right', () => {
  const store = createDiskStore();
  const image = store.create(at('large'));
  format(image, { format: 'qcow2', sizeBytes: 6 * 1024 * MIB, header: { clusterSizeBytes: 64 * KIB } });
  image.extents.set(0, 6 * 1024 * MIB, 7);
  image.save();
  expect(check(at('large'))).toMatchObject({ 'check-errors': 0, 'allocated-clusters': 98_304 });
  expect(store.stat(at('large'))?.kind).toBe('file');
  expect(createDiskStore().digest(at('large'))).toBe(store.digest(at('large')));
});

test('images of qemu-img are read as they are', () => {
  img('create', '-q', '-f', 'qcow2', at('base'), '8M');
  execFileSync('qemu-io', ['-c', 'write -q -P 3 0 1M', '-c', 'write -q -P 4 4097 5', at('base')]);
  img('snapshot', '-c', 'kept', at('base'));
  execFileSync('qemu-io', ['-c', 'write -q -P 5 0 64k', '-c', 'write -q -z 2M 1M', at('base')]);
  img('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', '-b', 'base', '-F', 'qcow2', at('top'), '16M');
  execFileSync('qemu-io', ['-c', 'write -q -P 6 512k 4k', at('top')]);
  img('convert', '-c', '-O', 'qcow2', at('top'), at('small'));
  img('convert', '-O', 'raw', at('top'), at('flat'));
  const store = createDiskStore();
  const flat = store.contents(at('flat'));
  expect(store.contents(at('top'))).toEqual(flat);
  expect(store.contents(at('small'))).toEqual(flat);
  const [kept] = store.open(at('base')).snapshots;
  expect(kept).toMatchObject({ id: '1', name: 'kept', virtualSizeBytes: 8 * MIB });
  expect(kept?.extents.at(0, 100).tag).toBe(3);
});

/** Runs commands on a real QEMU that ends with the last one. */
function onRealQemu(commands: readonly (readonly [string, object?])[]): string {
  const lines = [['qmp_capabilities'] as const, ...commands, ['quit'] as const].map(([execute, args]) =>
    JSON.stringify({ execute, arguments: args ?? {} }),
  );
  const argv = ['-S', '-machine', 'none', '-nodefaults', '-display', 'none', '-qmp', 'stdio'];
  return execFileSync('qemu-system-x86_64', argv, { input: lines.join('\n'), encoding: 'utf8' });
}

test('persistent bitmaps go from QEMU to us and back', () => {
  img('create', '-q', '-f', 'qcow2', at('image'), '64M');
  const open = { driver: 'qcow2', 'node-name': 'n', file: { driver: 'file', filename: at('image') } };
  const write = (what: string) => ({ 'command-line': `qemu-io n "${what}"` });
  onRealQemu([
    ['blockdev-add', open],
    ['block-dirty-bitmap-add', { node: 'n', name: 'first', persistent: true }],
    [
      'block-dirty-bitmap-add',
      { node: 'n', name: 'off', persistent: true, disabled: true, granularity: 512 },
    ],
    ['human-monitor-command', write('write -P 5 1M 2M')],
  ]);
  const store = createDiskStore();
  const image = store.open(at('image'));
  expect(image.bitmaps.map(({ ranges, ...rest }) => ({ ...rest, ranges: ranges.extents }))).toEqual([
    { name: 'off', granularityBytes: 512, auto: false, inUse: false, ranges: [] },
    {
      name: 'first',
      granularityBytes: 65536,
      auto: true,
      inUse: false,
      ranges: [{ start: MIB, end: 3 * MIB, tag: 1 }],
    },
  ]);
  const ranges = new ExtentMap([{ start: 1024, end: 3 * MIB + 512, tag: 1 }]);
  image.bitmaps.push({ name: 'ours', granularityBytes: 512, auto: true, inUse: false, ranges });
  image.extents.set(0, 65536, 9);
  image.save();
  expect(check(at('image'))).toMatchObject({ 'check-errors': 0 });
  const seen = onRealQemu([
    ['blockdev-add', open],
    ['query-named-block-nodes', { flat: true }],
  ]);
  expect(seen).toMatch(/"count": 3145216[^}]*"name": "ours"|"name": "ours"[^}]*"count": 3145216/);
  expect(seen).toMatch(/"count": 2097152[^}]*"name": "first"|"name": "first"[^}]*"count": 2097152/);
});
