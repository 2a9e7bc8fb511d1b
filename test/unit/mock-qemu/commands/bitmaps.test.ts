import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ExtentMap } from '../../../../mock-qemu/core/extents.ts';
import { format } from '../../../../mock-qemu/core/jobs/create.ts';
import { createDiskStore } from '../../../../mock-qemu/images/disk.ts';
import type { JsonObject } from '../../../../src/qmp/messages.ts';
import { Bench, MIB } from './bench.ts';

const TOP = 'libvirt-1-format';
const node = { node: TOP, name: 'b' };

/** What a query shows of the bitmaps of the disk. */
function shown(bench: Bench): readonly JsonObject[] {
  const nodes = bench.run('query-named-block-nodes', { flat: true }) as readonly JsonObject[];
  const top = nodes.find((each) => each['node-name'] === TOP);
  return (top?.['dirty-bitmaps'] ?? []) as readonly JsonObject[];
}

test('a bitmap that a crash has kept from being put back is inconsistent: it can be removed and nothing else', () => {
  const first = new Bench();
  first.run('block-dirty-bitmap-add', { ...node, persistent: true });
  first.guest('write -P 7 0 64k');
  first.run('quit');
  expect(first.store.open('/img/top').bitmaps).toMatchObject([{ name: 'b', inUse: false }]);

  const second = new Bench(undefined, 1, undefined, first.store);
  expect(shown(second)).toMatchObject([{ name: 'b', recording: true, count: 65536 }]);
  second.input({ type: 'signal', signal: 'SIGKILL' });

  const third = new Bench(undefined, 1, undefined, first.store);
  expect(shown(third)).toMatchObject([{ name: 'b', recording: false, inconsistent: true, count: 0 }]);
  const refusal = "Bitmap 'b' is inconsistent and cannot be used";
  for (const verb of ['clear', 'enable', 'disable']) {
    expect(third.run(`block-dirty-bitmap-${verb}`, node)).toBe(refusal);
  }
  expect(third.run('block_resize', { 'node-name': TOP, size: 16 * MIB })).toBe(refusal);
  expect(third.run('block-dirty-bitmap-remove', node)).toEqual({});
  expect(third.run('block_resize', { 'node-name': TOP, size: 16 * MIB })).toEqual({});
  expect(shown(third)).toEqual([]);
});

test('a bitmap outlives the process in a file', () => {
  const directory = mkdtempSync(join(tmpdir(), 'mockvirt-bitmaps-'));
  try {
    const path = join(directory, 'image');
    const image = createDiskStore().create(path);
    format(image, { format: 'qcow2', sizeBytes: 64 * MIB, header: { clusterSizeBytes: 512 } });
    const ranges = new ExtentMap([
      { start: 512, end: 2048, tag: 1 },
      { start: 40 * MIB, end: 64 * MIB, tag: 1 },
    ]);
    image.bitmaps.push({ name: 'b', granularityBytes: 512, auto: true, inUse: false, ranges });
    image.save();
    expect(createDiskStore().open(path).bitmaps).toEqual(image.bitmaps);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
