import { existsSync, statSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { CopyRequest, ImageRef, TargetSpec } from '../../src/driver.ts';
import { ErrorCode } from '../../src/errors.ts';
import {
  CAPACITY_BYTES,
  createWorld,
  guestIo,
  listen,
  openNodes,
  startWithChain,
  type World,
} from './driver-world.ts';

const ID = 'copy-vda-libvirt-3-format';
const SLOW = { speedBytesPerSecond: 64 * 1024, bufSizeBytes: 64 * 1024 } as const;

const copyImage = ({ path }: World): ImageRef => ({ index: 6, path: path('copy.qcow2'), format: 'qcow2' });

function copyOf(source: ImageRef, image: ImageRef, changes: Partial<CopyRequest> = {}): CopyRequest {
  return {
    kind: 'copy',
    id: ID,
    disk: 'vda',
    source,
    target: { image },
    shallow: false,
    speedBytesPerSecond: 0,
    granularityBytes: 0,
    bufSizeBytes: 0,
    synchronousWrites: false,
    ...changes,
  };
}

const targetOf = (source: ImageRef, image: ImageRef, changes: Partial<TargetSpec> = {}): TargetSpec => ({
  disk: 'vda',
  source,
  image,
  backing: [],
  reuse: false,
  ...changes,
});

test('a machine starts, tells its chains, pauses, resumes and is destroyed', async () => {
  const world = createWorld();
  const { machine, top, base } = await startWithChain(world);
  const { events } = listen(machine);
  expect(machine.capabilities.hypervisor).toMatch(/^QEMU \d+\.\d+\.\d+$/);
  expect(machine.capabilities).toMatchObject({ copy: true, synchronousWrites: true, readyEvent: true });
  expect(await machine.chains()).toEqual([
    { disk: 'vda', paths: [top.path, base.path] },
    { disk: 'hdc', paths: [] },
  ]);
  await machine.pause();
  await machine.resume();
  await machine.powerdown();
  await machine.destroy();
  await machine.destroy();
  expect(events).toEqual([
    { type: 'paused', reason: 'user' },
    { type: 'resumed' },
    { type: 'powerdown-requested' },
    { type: 'gone', reason: 'destroyed' },
  ]);
});

test('a full copy pivots', async () => {
  const world = createWorld();
  const { machine, top, base } = await startWithChain(world);
  const { events, until } = listen(machine);
  await guestIo(machine, 'virtio-disk0', 'write -P 7 0 1M');
  const image = copyImage(world);
  const target = await machine.prepareTarget(targetOf(top, image));
  expect(statSync(image.path).mode & 0o777).toBe(0o600);
  await machine.startJob(copyOf(top, image, { target }));
  await until('job-ready');
  expect(await machine.jobs()).toMatchObject([{ id: ID, phase: 'ready', ready: true }]);
  await machine.concludeJob(ID, 'pivot');
  await until('job-ended');
  expect((await machine.chains())[0]).toEqual({ disk: 'vda', paths: [image.path] });
  await machine.releaseImages([top, base]);
  await machine.releaseImages([top, base]);
  expect(await openNodes(machine)).toEqual(['libvirt-6-format', 'libvirt-6-storage']);
  expect(await machine.jobs()).toEqual([]);
  expect(events).toEqual([
    { type: 'job-ready', id: ID },
    { type: 'job-verdict', id: ID, outcome: 'completed' },
    { type: 'job-ended', id: ID, outcome: 'completed' },
  ]);
});

test.each([
  ['running', SLOW],
  ['ready', {}],
])(
  'a copy is aborted while %s; the source stays, the destination is closed and kept',
  async (phase, pace) => {
    const world = createWorld();
    const { machine, top, base } = await startWithChain(world);
    const { events, until } = listen(machine);
    await guestIo(machine, 'virtio-disk0', 'write -P 7 0 8M');
    const image = copyImage(world);
    await machine.prepareTarget(targetOf(top, image));
    await machine.startJob(copyOf(top, image, pace));
    if (phase === 'ready') await until('job-ready');
    await machine.concludeJob(ID, 'abort');
    await until('job-ended');
    await machine.releaseImages([image]);
    expect((await machine.chains())[0]?.paths).toEqual([top.path, base.path]);
    expect(await openNodes(machine)).toHaveLength(4);
    expect(existsSync(image.path)).toBe(true);
    expect(events.at(-1)).toEqual({ type: 'job-ended', id: ID, outcome: 'cancelled' });
  },
);

test('a reused shallow chain is put below the destination at the pivot', async () => {
  const world = createWorld();
  const { machine, top, base } = await startWithChain(world);
  const { until } = listen(machine);
  const below: ImageRef = { index: 7, path: world.path('below.qcow2'), format: 'qcow2' };
  const image = copyImage(world);
  await world.driver.volumes.create({ ...below, capacityBytes: CAPACITY_BYTES });
  await world.driver.volumes.create({ ...image, capacityBytes: CAPACITY_BYTES, backing: below });
  await machine.prepareTarget(targetOf(top, image, { backing: [below], reuse: true }));
  await machine.startJob(copyOf(top, image, { shallow: true }));
  await until('job-ready');
  await machine.concludeJob(ID, 'pivot');
  expect(await until('job-ended')).toMatchObject({ outcome: 'completed' });
  expect((await machine.chains())[0]?.paths).toEqual([image.path, below.path]);
  await machine.releaseImages([top, base]);
  expect(await openNodes(machine)).toHaveLength(4);
});

test('a raw destination', async () => {
  const world = createWorld();
  const { machine, top } = await startWithChain(world);
  const { until } = listen(machine);
  const image: ImageRef = { index: 6, path: world.path('copy.raw'), format: 'raw' };
  await machine.prepareTarget(targetOf(top, image));
  expect(statSync(image.path).size).toBe(CAPACITY_BYTES);
  await machine.startJob(copyOf(top, image, { synchronousWrites: true }));
  await until('job-ready');
  await machine.concludeJob(ID, 'pivot');
  expect(await until('job-ended')).toMatchObject({ outcome: 'completed' });
});

test('a discarded target leaves no node and no file', async () => {
  const world = createWorld();
  const { machine, top } = await startWithChain(world);
  const image = copyImage(world);
  const target = await machine.prepareTarget(targetOf(top, image));
  await expect(machine.startJob(copyOf(top, image, { granularityBytes: 3 }))).rejects.toMatchObject({
    code: ErrorCode.INTERNAL_ERROR,
    message: expect.stringContaining("unable to execute QEMU command 'blockdev-mirror'"),
  });
  await machine.discardTarget(target);
  expect(await openNodes(machine)).toHaveLength(4);
  expect(existsSync(image.path)).toBe(false);
});

test('a target that cannot be written leaves no node', async () => {
  const world = createWorld();
  const { machine, top } = await startWithChain(world);
  const image: ImageRef = { index: 6, path: world.path('no/such/dir.qcow2'), format: 'qcow2' };
  await expect(machine.prepareTarget(targetOf(top, image))).rejects.toMatchObject({
    code: ErrorCode.SYSTEM_ERROR,
    message: 'failed to create copy target: No such file or directory',
  });
  const bogus: ImageRef = { ...copyImage(world), format: 'nonsense' };
  await expect(machine.prepareTarget(targetOf(top, bogus))).rejects.toMatchObject({
    code: ErrorCode.INTERNAL_ERROR,
  });
  expect(await openNodes(machine)).toHaveLength(4);
  expect(existsSync(bogus.path)).toBe(false);
});

test('a pull drops the backing file', async () => {
  const world = createWorld();
  const { machine, top, base } = await startWithChain(world);
  const { until } = listen(machine);
  await machine.startJob({ kind: 'pull', id: 'pull-vda-x', disk: 'vda', top, speedBytesPerSecond: 0 });
  expect(await until('job-ended')).toEqual({ type: 'job-ended', id: 'pull-vda-x', outcome: 'completed' });
  await machine.releaseImages([base]);
  expect(await openNodes(machine)).toEqual(['libvirt-3-format', 'libvirt-3-storage']);
  expect(await world.driver.volumes.inspect(top.path, 'qcow2')).toEqual({
    path: top.path,
    format: 'qcow2',
    capacityBytes: CAPACITY_BYTES,
  });
});

test('an active commit pivots to the base', async () => {
  const world = createWorld();
  const { machine, top, base } = await startWithChain(world);
  const { until } = listen(machine);
  await guestIo(machine, 'virtio-disk0', 'write -P 9 64k 64k');
  const id = 'commit-vda-libvirt-3-format';
  const job = { disk: 'vda', active: top, top, base, speedBytesPerSecond: 0 };
  await machine.startJob({ kind: 'active-commit', id, ...job });
  await until('job-ready');
  await machine.concludeJob(id, 'pivot');
  expect(await until('job-ended')).toMatchObject({ outcome: 'completed' });
  await machine.releaseImages([top]);
  expect((await machine.chains())[0]?.paths).toEqual([base.path]);
  expect(await openNodes(machine)).toEqual(['libvirt-4-format', 'libvirt-4-storage']);
});

test('a header is read while a machine writes to the image', async () => {
  const world = createWorld();
  const { top, base } = await startWithChain(world);
  expect(await world.driver.volumes.inspect(top.path, 'qcow2')).toEqual({
    path: top.path,
    format: 'qcow2',
    capacityBytes: CAPACITY_BYTES,
    backing: { path: base.path, name: base.path, format: 'qcow2' },
  });
  expect(await world.driver.volumes.inspect(base.path, 'raw')).toMatchObject({ format: 'raw' });
});

test('what is wrong with an image is said, and nothing is made', async () => {
  const { driver, path } = createWorld();
  await driver.volumes.create({ path: path('a.raw'), format: 'raw', capacityBytes: 4096 });
  await expect(driver.volumes.inspect(path('a.raw'), 'qcow2')).rejects.toThrow(
    'Image is not in qcow2 format',
  );
  await expect(driver.volumes.inspect(path('none'), 'qcow2')).rejects.toMatchObject({
    code: ErrorCode.SYSTEM_ERROR,
    message: `Cannot access storage file '${path('none')}': No such file or directory`,
  });
  const again = { path: path('a.raw'), format: 'raw', capacityBytes: 1 };
  await expect(driver.volumes.create(again)).rejects.toThrow('File exists');
  await expect(
    driver.volumes.create({ ...again, path: path('b'), format: 'nonsense' }),
  ).rejects.toMatchObject({
    code: ErrorCode.INTERNAL_ERROR,
  });
  expect(await driver.volumes.stat(path('a.raw'))).toEqual({ kind: 'file', sizeBytes: 4096 });
  expect(await driver.volumes.stat(path('b'))).toBeUndefined();
  await driver.volumes.remove(path('a.raw'));
  await driver.volumes.remove(path('a.raw'));
  expect(await driver.volumes.stat(path('a.raw'))).toBeUndefined();
});

test('a disk that is not there stops the start, in QEMU’s words', async () => {
  const { driver, path, host } = createWorld();
  const missing: ImageRef = { index: 1, path: path('missing.qcow2'), format: 'qcow2' };
  const disk = { target: 'vda', alias: 'd', bus: 'scsi', device: 'disk', readonly: false } as const;
  const spec = { name: 'x', uuid: '11111111-2222-4333-8444-555555555555', memoryBytes: 1 };
  await expect(driver.start({ ...spec, disks: [{ ...disk, chain: [missing] }] })).rejects.toMatchObject({
    code: ErrorCode.INTERNAL_ERROR,
    message: expect.stringContaining(`Could not open '${missing.path}': No such file or directory`),
  });
  await expect(driver.start({ ...spec, disks: [{ ...disk, bus: 'sd', chain: [] }] })).rejects.toMatchObject({
    code: ErrorCode.CONFIG_UNSUPPORTED,
  });
  // Only the helper, which answers questions about images, is running.
  expect(host.pids.size).toBe(1);
});

test.each(['scsi', 'sata', 'ide'])('disks on the %s bus', async (bus) => {
  const { driver, path } = createWorld();
  const disks = await Promise.all(
    [1, 2].map(async (index) => {
      const image: ImageRef = { index, path: path(`${index}.raw`), format: 'raw' };
      await driver.volumes.create({ ...image, capacityBytes: CAPACITY_BYTES });
      const disk = {
        target: `sd${index}`,
        alias: `${bus}${index}`,
        bus,
        device: 'disk',
        readonly: false,
      } as const;
      return { ...disk, chain: [image] };
    }),
  );
  const spec = { name: 'x', uuid: '11111111-2222-4333-8444-555555555555', memoryBytes: 16 * 1024 * 1024 };
  const machine = await driver.start({ ...spec, disks });
  expect(await machine.chains()).toEqual(
    disks.map(({ target, chain }) => ({ disk: target, paths: chain.map((image) => image.path) })),
  );
});

test('SIGKILL in the middle of a command leaves its outcome open', async () => {
  const world = createWorld();
  const { machine, top } = await startWithChain(world);
  const { events, until } = listen(machine);
  const pids = [...world.host.pids];
  const [victim] = pids.slice(-1);
  expect(pids).toHaveLength(2);
  const image = copyImage(world);
  await machine.prepareTarget(targetOf(top, image));
  process.kill(Number(victim), 'SIGSTOP');
  const starting = machine.startJob(copyOf(top, image));
  process.kill(Number(victim), 'SIGKILL');
  await expect(starting).rejects.toMatchObject({ code: ErrorCode.INTERNAL_ERROR, outcome: 'unknown' });
  expect(await until('gone')).toMatchObject({
    reason: 'crashed',
    detail: expect.stringContaining('SIGKILL'),
  });
  await expect(machine.jobs()).rejects.toMatchObject({ outcome: 'none' });
  expect(events).toHaveLength(1);
});

test('a helper that dies is replaced', async () => {
  const { driver, path, host } = createWorld();
  const spec = { path: path('a'), format: 'qcow2', capacityBytes: CAPACITY_BYTES };
  await driver.volumes.create(spec);
  const [helper] = host.pids;
  process.kill(Number(helper), 'SIGSTOP');
  const inspecting = driver.volumes.inspect(spec.path, 'qcow2');
  await new Promise(setImmediate);
  process.kill(Number(helper), 'SIGKILL');
  await expect(inspecting).rejects.toMatchObject({ outcome: 'unknown' });
  expect(await driver.volumes.inspect(spec.path, 'qcow2')).toMatchObject({ capacityBytes: CAPACITY_BYTES });
});

test('quit, typed past the driver, is a shutdown', async () => {
  const world = createWorld();
  const { machine } = await startWithChain(world);
  const { until } = listen(machine);
  await machine.monitorCommand('{"execute":"quit"}', false).catch(() => undefined);
  expect(await until('gone')).toEqual({ type: 'gone', reason: 'shutdown' });
});

test('a driver that is closed starts nothing', async () => {
  const { driver } = createWorld();
  await driver.close();
  const spec = { name: 'x', uuid: '11111111-2222-4333-8444-555555555555', memoryBytes: 1, disks: [] };
  await expect(driver.start(spec)).rejects.toMatchObject({ code: ErrorCode.OPERATION_INVALID });
  const volume = { path: '/none', format: 'raw', capacityBytes: 1 };
  await expect(driver.volumes.create(volume)).rejects.toMatchObject({ code: ErrorCode.OPERATION_INVALID });
});
