import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openFileState } from '../../../entry/file-state.ts';
import { open } from '../../../entry/index.ts';
import { ErrorCode, VirtError } from '../../../src/index.ts';

const UUID = '00000000-0000-4000-8000-000000000001';
let root = '';

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mockvirt-state-'));
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

test('a text is there for the next one who opens, and replaced whole', () => {
  const directory = join(root, 'state');
  const first = openFileState(directory);
  first.write(UUID, 'one');
  first.write(UUID, 'two');
  first.close();
  const second = openFileState(directory);
  expect(second.load()).toEqual([{ key: UUID, place: join(directory, `${UUID}.json`), text: 'two' }]);
  second.remove(UUID);
  second.remove(UUID);
  expect(second.load()).toEqual([]);
  second.close();
  expect(readdirSync(directory)).toEqual([]);
});

test('a second holder is refused and told by whom', () => {
  const directory = join(root, 'state');
  const first = openFileState(directory);
  expect(() => openFileState(directory)).toThrow(`in use by process ${process.pid}`);
  first.close();
  openFileState(directory).close();
});

test('the lock of a process that is gone, or whose number somebody else has by now, is taken over', () => {
  for (const dead of ['999999999 1\n', `${process.pid} 1\n`, 'rubbish', '']) {
    writeFileSync(join(root, 'lock'), dead);
    openFileState(root).close();
  }
});

test('a broken file is an error that names it, and leaves the lock to the next', async () => {
  openFileState(join(root, 'state')).close();
  const place = join(root, 'state', `${UUID}.json`);
  writeFileSync(place, '{"format":');
  for (const _ of [1, 2]) {
    const refusal: unknown = await open(`qemu:///embed?root=${root}`).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(VirtError);
    expect((refusal as VirtError).code).toBe(ErrorCode.XML_DETAIL);
    expect((refusal as VirtError).message).toContain(place);
  }
});

test('a directory that cannot be made is a SYSTEM_ERROR', () => {
  expect(() => openFileState(join(root, 'a', 'b'))).toThrow(/cannot create state directory/);
});

test('pause-around-pivot is yes or no', async () => {
  await expect(open('mock:///embed?pause-around-pivot=1')).rejects.toThrow(/must be yes or no/);
});

test('a named world outlives its connections', async () => {
  const first = await open('mock:///embed?world=file-state');
  await first.defineXML(
    `<domain type='qemu'><name>vm</name><uuid>${UUID}</uuid><memory unit='MiB'>16</memory><os><type>hvm</type></os></domain>`,
  );
  await (await first.lookupByName('vm')).create();
  await expect(open('mock:///embed?world=file-state')).rejects.toThrow(/in use/);
  await first.disconnect();
  const second = await open('mock:///embed?world=file-state');
  const domain = await second.lookupByName('vm');
  expect(await domain.isActive()).toBe(true);
  await second.close();
  const third = await open('mock:///embed?world=file-state');
  expect(await (await third.lookupByName('vm')).isActive()).toBe(false);
  await third.close();
});
