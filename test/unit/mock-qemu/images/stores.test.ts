import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HostError } from '../../../../mock-qemu/core/errno.ts';
import type { ImageStore } from '../../../../mock-qemu/core/images.ts';
import { format } from '../../../../mock-qemu/core/jobs/create.ts';
import { createDiskStore } from '../../../../mock-qemu/images/disk.ts';
import { createMemoryStore } from '../../../../mock-qemu/images/memory.ts';

const KIB = 1024;
let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'mockvirt-images-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function makeChain(store: ImageStore): void {
  const header = { clusterSizeBytes: 64 * KIB };
  const base = store.create(`${directory}/base`);
  format(base, { format: 'raw', sizeBytes: 256 * KIB, header });
  base.extents.set(0, 128 * KIB, 1);
  base.save();
  const top = store.create(`${directory}/top`);
  const backing = { backingName: 'base', backingFormat: 'raw' };
  format(top, { format: 'qcow2', sizeBytes: 256 * KIB, header: { ...header, ...backing } });
  top.extents.set(64 * KIB, 192 * KIB, 2);
  top.extents.set(192 * KIB, 256 * KIB, 0);
  top.save();
}

const errorOf = (call: () => void): string => {
  try {
    call();
  } catch (error) {
    if (error instanceof HostError) return error.code;
    throw error;
  }
  return 'none';
};

describe.each([
  ['memory', () => createMemoryStore()],
  ['disk', () => createDiskStore()],
] as const)('%s store', (_name, create) => {
  test('reads a chain through relative backing names', () => {
    const store = create();
    makeChain(store);
    expect(store.contents(`${directory}/top`)).toEqual([
      { offsetBytes: 0, lengthBytes: 64 * KIB, byte: 1 },
      { offsetBytes: 64 * KIB, lengthBytes: 128 * KIB, byte: 2 },
      { offsetBytes: 192 * KIB, lengthBytes: 64 * KIB, byte: 0 },
    ]);
  });

  test('a digest follows the content, not how it is stored', () => {
    const store = create();
    makeChain(store);
    const before = store.digest(`${directory}/top`);
    const top = store.open(`${directory}/top`);
    top.extents.set(0, 64 * KIB, 1);
    top.save();
    expect(store.digest(`${directory}/top`)).toBe(before);
    top.extents.set(0, 1, 9);
    top.save();
    expect(store.digest(`${directory}/top`)).not.toBe(before);
  });

  test('file operations fail as on a host', () => {
    const store = create();
    expect(errorOf(() => store.open(`${directory}/none`))).toBe('ENOENT');
    expect(errorOf(() => store.createEmpty('/nonexistent/x'))).toBe('ENOENT');
    store.createEmpty(`${directory}/x`);
    expect(store.stat(`${directory}/x`)).toEqual({ kind: 'file', sizeBytes: 0 });
    expect(errorOf(() => store.createEmpty(`${directory}/x`))).toBe('EEXIST');
    store.remove(`${directory}/x`);
    store.remove(`${directory}/x`);
    expect(store.exists(`${directory}/x`)).toBe(false);
    expect(store.stat(`${directory}/x`)).toBeUndefined();
  });
});

describe('disk store', () => {
  test('another process sees what was saved', () => {
    makeChain(createDiskStore());
    const digest = createDiskStore().digest(`${directory}/top`);
    expect(digest).toBe(createDiskStore().digest(`${directory}/top`));
    expect(createDiskStore().open(`${directory}/top`).header.backingName).toBe('base');
    expect(readdirSync(directory).sort()).toEqual(['base', 'top']);
    // Header, table and counts of references, two tables of the map, and two clusters of data.
    expect(statSync(`${directory}/top`).size).toBe(7 * 64 * KIB);
  });

  test('a repeated byte costs a cluster, however long it is', () => {
    const store = createDiskStore();
    const image = store.create(`${directory}/large`);
    const sizeBytes = 2 ** 40;
    format(image, { format: 'qcow2', sizeBytes, header: { clusterSizeBytes: 64 * KIB } });
    image.extents.set(0, sizeBytes, 7);
    image.save();
    expect(statSync(`${directory}/large`).size).toBeLessThan(2 ** 20);
    const [run, ...others] = createDiskStore().contents(`${directory}/large`);
    expect([run, others]).toEqual([{ offsetBytes: 0, lengthBytes: sizeBytes, byte: 7 }, []]);
  });

  test('keeps who may read a file, and the link that leads to it', () => {
    makeChain(createDiskStore());
    chmodSync(`${directory}/top`, 0o640);
    symlinkSync(`${directory}/top`, `${directory}/link`);
    const store = createDiskStore();
    const top = store.open(`${directory}/link`);
    top.extents.set(0, 64 * KIB, 9);
    top.save();
    expect(statSync(`${directory}/top`).mode & 0o777).toBe(0o640);
    expect(lstatSync(`${directory}/link`).isSymbolicLink()).toBe(true);
    expect(createDiskStore().contents(`${directory}/top`)[0]).toMatchObject({ byte: 9 });
  });

  test('a pipe, a directory and a device of characters are no images', () => {
    const store = createDiskStore();
    expect(errorOf(() => store.open(directory))).toBe('EISDIR');
    expect(errorOf(() => store.open('/dev/null'))).toBe('EINVAL');
  });

  test('a removed file is not written again', () => {
    const store = createDiskStore();
    makeChain(store);
    const top = store.open(`${directory}/top`);
    unlinkSync(`${directory}/top`);
    top.extents.set(0, 10, 5);
    top.save();
    expect(readdirSync(directory)).toEqual(['base']);
  });

  test('a foreign file is a raw image of its bytes', () => {
    writeFileSync(`${directory}/foreign`, Uint8Array.of(1, 1, 2));
    expect(createDiskStore().contents(`${directory}/foreign`)).toEqual([
      { offsetBytes: 0, lengthBytes: 2, byte: 1 },
      { offsetBytes: 2, lengthBytes: 1, byte: 2 },
    ]);
  });
});

describe('memory store', () => {
  test('only the directories that were given exist', () => {
    const store = createMemoryStore({ directories: ['/img', '/ro'], readOnlyDirectories: ['/ro'] });
    store.createEmpty('/img/a');
    expect(errorOf(() => store.createEmpty('/other/a'))).toBe('ENOENT');
    expect(errorOf(() => store.createEmpty('/ro/a'))).toBe('EACCES');
  });
});
