/** Images on a host's disk, between the simulation and qemu-img: each reads what the other wrote. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ImageStore } from '../../mock-qemu/core/images.ts';
import { createDiskStore } from '../../mock-qemu/images/disk.ts';
import { imageArbitrary, plainSnapshot, writeImage } from '../image-specs.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'mockvirt-images-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const run = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const img = (...args: string[]): string => run('qemu-img', ...args);
const info = (name: string) => JSON.parse(img('info', '--output', 'json', name)) as Record<string, unknown>;

/** What qemu-img reads of an image, and what the simulation does. */
function bothRead(store: ImageStore, name: string): [Buffer, Buffer] {
  rmSync(join(directory, 'plain'), { force: true });
  img('convert', '-O', 'raw', name, 'plain');
  const runs = store.contents(join(directory, name));
  const theirs = readFileSync(join(directory, 'plain'));
  const ours = Buffer.alloc(theirs.length);
  for (const { offsetBytes, lengthBytes, byte } of runs) {
    ours.fill(byte, offsetBytes, offsetBytes + lengthBytes);
  }
  return [theirs, ours];
}

const IMAGES = [
  ['plain', []],
  ['512-byte clusters', ['-o', 'cluster_size=512']],
  ['2 MiB clusters', ['-o', 'cluster_size=2M']],
  ['of QEMU 0.10', ['-o', 'compat=0.10']],
  ['preallocated', ['-o', 'preallocation=metadata']],
  ['with lazy refcounts', ['-o', 'lazy_refcounts=on']],
] as const;

describe('what qemu-img wrote', () => {
  test.each(IMAGES)('%s', (_name, options) => {
    img('create', '-q', '-f', 'qcow2', ...options, 'image', '9M');
    const writes = ['write -P 17 0 70k', 'write -P 3 5M 64k', 'write -z 1M 128k', 'write -P 255 8900k 100k'];
    run('qemu-io', ...writes.flatMap((write) => ['-c', write]), 'image');
    const [theirs, ours] = bothRead(createDiskStore(), 'image');
    expect(ours.equals(theirs)).toBe(true);
  });

  test('compressed, over a backing file with a relative name', () => {
    run('sh', '-c', 'seq 1 100000 >data');
    img('create', '-q', '-f', 'raw', 'base', '4M');
    run('qemu-io', '-f', 'raw', '-c', 'write -P 9 0 4M', 'base');
    img('convert', '-c', '-O', 'qcow2', 'data', 'packed');
    img('rebase', '-u', '-b', 'base', '-F', 'raw', 'packed');
    const store = createDiskStore();
    const [theirs, ours] = bothRead(store, 'packed');
    expect(ours.equals(theirs)).toBe(true);
    expect(store.open(join(directory, 'packed')).header).toEqual({
      clusterSizeBytes: 65536,
      backingName: 'base',
      backingFormat: 'raw',
    });
  });

  test('internal snapshots', () => {
    img('create', '-q', '-f', 'qcow2', 'image', '4M');
    run('qemu-io', '-c', 'write -P 17 0 2M', 'image');
    img('snapshot', '-c', 'before', 'image');
    run('qemu-io', '-c', 'write -P 18 1M 64k', 'image');
    const store = createDiskStore();
    const image = store.open(join(directory, 'image'));
    expect(image.snapshots).toMatchObject([{ id: '1', name: 'before', virtualSizeBytes: 2 ** 22 }]);
    expect(
      [image.extents, image.snapshots[0]?.extents].map((each) => each?.at(2 ** 20, 2 ** 22).tag),
    ).toEqual([18, 17]);
    image.extents.set(0, 65536, 19);
    image.save();
    img('check', '-q', 'image');
    img('snapshot', '-a', 'before', 'image');
    expect(createDiskStore().contents(join(directory, 'image'))[0]).toMatchObject({ lengthBytes: 2 ** 21 });
  });

  test('a large raw file with holes', () => {
    img('create', '-q', '-f', 'raw', 'image', '256M');
    run('qemu-io', '-f', 'raw', '-c', 'write -P 9 1M 1M', 'image');
    const [, second, third] = createDiskStore().contents(join(directory, 'image'));
    expect([second, third?.byte]).toEqual([{ offsetBytes: 2 ** 20, lengthBytes: 2 ** 20, byte: 9 }, 0]);
  });
});

describe('what the simulation wrote', () => {
  test('is clean, holds what it should, and stays clean when qemu-io writes to it', () => {
    fc.assert(
      fc.property(imageArbitrary, (spec) => {
        rmSync(join(directory, 'image'), { force: true });
        const store = createDiskStore();
        const { virtualSizeBytes, digest, snapshots } = writeImage(store, join(directory, 'image'), spec);
        const [theirs, ours] = bothRead(store, 'image');
        expect(ours.equals(theirs)).toBe(true);
        expect(info('image')).toMatchObject({ format: spec.format, 'virtual-size': virtualSizeBytes });
        if (spec.format === 'raw') return;
        img('check', '-q', 'image');
        run('qemu-io', '-c', 'write -P 77 0 512', 'image');
        img('check', '-q', 'image');
        const after = createDiskStore();
        const kept = after.open(join(directory, 'image')).snapshots;
        expect(kept.map((each) => plainSnapshot(after, each))).toEqual(snapshots);
        expect(after.contents(join(directory, 'image'))[0]).toMatchObject({ offsetBytes: 0, byte: 77 });
        expect(after.digest(join(directory, 'image'))).not.toBe(digest);
      }),
      { numRuns: 25 },
    );
  });

  test('has snapshots that qemu-img lists, goes back to and deletes', () => {
    const store = createDiskStore();
    const writes = [
      { at: 0, sectors: 1000, byte: 5 },
      { at: 500, sectors: 3, byte: 256 },
      { at: 0, sectors: 400, byte: 6 },
    ];
    writeImage(store, join(directory, 'image'), {
      format: 'qcow2',
      clusterBits: 16,
      sectors: 2048,
      writes,
      snapshots: [1],
    });
    expect(img('snapshot', '-l', 'image')).toContain('after write 1');
    img('snapshot', '-a', 'after write 1', 'image');
    img('check', '-q', 'image');
    const back = createDiskStore();
    const [theirs, ours] = bothRead(back, 'image');
    expect(ours.equals(theirs)).toBe(true);
    expect([ours[0], ours[1024 * 512]]).toEqual([5, 0]);
    img('snapshot', '-d', 'after write 1', 'image');
    img('check', '-q', 'image');
    expect(createDiskStore().open(join(directory, 'image')).snapshots).toEqual([]);
  });

  test('more than 65,535 references to one cluster', () => {
    const store = createDiskStore();
    const path = join(directory, 'image');
    const spec = { format: 'qcow2', clusterBits: 16, sectors: 2 ** 24, writes: [] } as const;
    writeImage(store, path, { ...spec, writes: [{ at: 0, sectors: 2 ** 24, byte: 5 }] });
    img('check', '-q', 'image');
    expect(info('image')).toMatchObject({ 'virtual-size': 2 ** 33 });
  });
});
