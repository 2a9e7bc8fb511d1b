/** The calls of issue and reference on a real QEMU: what only a real one can confirm about the driver's extras. */
import { existsSync, mkdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  BlockCommitFlags,
  BlockJobAbortFlags,
  BlockRebaseFlags,
  BlockResizeFlags,
  type Connection,
  DeviceModifyFlags,
  type Domain,
  DomainCreateFlags,
  DomainXMLFlags,
  EventId,
  MonitorCommandFlags,
  openConnection,
  SnapshotCreateFlags,
} from '../../src/index.ts';
import { createWorld, MIB, type World } from './driver-world.ts';

const UUID = '00000000-0000-4000-8000-0000000000aa';
const disk = (target: string, bus: string, path: string, format = 'qcow2'): string =>
  `<disk type='file' device='disk'><driver name='qemu' type='${format}'/><source file='${path}'/><target dev='${target}' bus='${bus}'/></disk>`;
const cdrom = (path?: string): string =>
  `<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>${path ? `<source file='${path}'/>` : ''}<target dev='hda' bus='ide'/><readonly/></disk>`;

interface Lab {
  readonly world: World;
  readonly connection: Connection;
  readonly domain: Domain;
  readonly xml: string;
  readonly seen: string[];
}

/** A domain with a chain of four images that name each other relatively, a second disk, and an empty cdrom drive. */
async function lab({ persistent = false, createFlags = 0 } = {}): Promise<Lab> {
  const world = createWorld();
  const { path, driver } = world;
  const volumes = driver.volumes;
  const chain = ['base', 'low', 'mid', 'top'];
  for (const [depth, name] of chain.entries()) {
    const below = chain[depth - 1];
    const backing = below === undefined ? undefined : { path: below, format: 'qcow2' };
    const image = { path: path(name), format: 'qcow2', capacityBytes: 4 * MIB };
    await volumes.create(backing ? { ...image, backing } : image);
  }
  await volumes.create({ path: path('other'), format: 'qcow2', capacityBytes: 4 * MIB });
  await volumes.create({ path: path('one.iso'), format: 'raw', capacityBytes: 65_536 });
  await volumes.create({ path: path('two.iso'), format: 'raw', capacityBytes: 65_536 });
  mkdirSync(path('save'));
  const connection = openConnection({ uri: 'test:///', driver, saveDirectory: path('save') });
  const xml = `<domain type='qemu'><name>vm</name><uuid>${UUID}</uuid><memory unit='MiB'>16</memory><os><type>hvm</type></os>
<devices>${disk('vda', 'virtio', path('top'))}${disk('sda', 'scsi', path('other'))}${cdrom()}</devices></domain>`;
  const seen: string[] = [];
  const tell = (text: string): void => void seen.push(text);
  connection.domainEventRegister(EventId.BLOCK_JOB_2, null, (e) =>
    tell(`job ${e.disk} ${e.type} ${e.status}`),
  );
  connection.domainEventRegister(EventId.LIFECYCLE, null, (e) => tell(`life ${e.event} ${e.detail}`));
  connection.domainEventRegister(EventId.BLOCK_THRESHOLD, null, (e) => tell(`threshold ${e.device}`));
  connection.domainEventRegister(EventId.DEVICE_ADDED, null, (e) => tell(`added ${e.deviceAlias}`));
  connection.domainEventRegister(EventId.DEVICE_REMOVED, null, (e) => tell(`removed ${e.deviceAlias}`));
  if (persistent) await connection.defineXML(xml);
  const domain = persistent
    ? await connection.lookupByName('vm')
    : await connection.createXML(xml, createFlags);
  if (persistent) await domain.create(createFlags);
  return { world, connection, domain, xml, seen };
}

const guestIo = (domain: Domain, alias: string, command: string): Promise<string> =>
  domain.qemuMonitorCommand(`qemu-io -d ${alias} "${command}"`, MonitorCommandFlags.HMP);

/** Waits until what the events told satisfies a condition. */
async function until(fact: () => boolean | Promise<boolean>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = async (): Promise<void> => {
    if (await fact()) resolve();
    else setTimeout(look, 5);
  };
  await look();
  await promise;
}

const idle = (domain: Domain, target: string) => async (): Promise<boolean> =>
  (await domain.getBlockJobInfo(target)) === null;

describe('names, sizes and thresholds on a real QEMU', () => {
  test('RELATIVE keeps the names relative in the headers, an absolute rebase does not', async () => {
    const { domain, world } = await lab();
    const backingName = async (name: string) =>
      (await world.driver.volumes.inspect(world.path(name), 'qcow2')).backing?.name;
    await domain.blockCommit('vda', world.path('base'), 'low', 0, BlockCommitFlags.RELATIVE);
    await until(idle(domain, 'vda'));
    expect(await backingName('mid')).toBe('base');
    await domain.blockRebase('vda', 'base', 0, BlockRebaseFlags.RELATIVE);
    await until(idle(domain, 'vda'));
    expect(await backingName('top')).toBe('base');
    await domain.blockRebase('vda', world.path('base'));
    await until(idle(domain, 'vda'));
    expect(await backingName('top')).toBe(world.path('base'));
    expect(await domain.getXMLDesc()).not.toContain('mid');
  });

  test('DELETE unlinks what was committed, after the pivot and not before', async () => {
    const { domain, world, seen } = await lab();
    const present = () => ['top', 'mid', 'low', 'base'].filter((name) => existsSync(world.path(name)));
    await domain.blockCommit('vda', null, 'low', 0, BlockCommitFlags.DELETE);
    await until(idle(domain, 'vda'));
    expect(present()).toEqual(['top', 'mid', 'base']);
    await domain.blockCommit('vda', null, null, 0, BlockCommitFlags.DELETE | BlockCommitFlags.ACTIVE);
    await until(() => seen.includes('job vda 4 3'));
    expect(present()).toEqual(['top', 'mid', 'base']);
    await domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT);
    expect(present()).toEqual(['base']);
    expect(await domain.getXMLDesc()).toContain(world.path('base'));
  });

  test('a rebase copies to a path, raw if it is told to', async () => {
    const { domain, world, seen } = await lab();
    const { COPY, COPY_RAW } = BlockRebaseFlags;
    await domain.blockRebase('vda', world.path('copy'), 0, COPY | COPY_RAW);
    await until(() => seen.includes('job vda 2 3'));
    await domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT);
    expect(await domain.getXMLDesc()).toMatch(/type='raw'\/>\s+<source file='[^']+copy'/);
  });

  test('a resize rounds qcow2 up, and QEMU refuses what a job uses', async () => {
    const { domain, world } = await lab();
    await domain.blockResize('vda', 5 * MIB + 1, BlockResizeFlags.BYTES);
    const { capacityBytes } = await world.driver.volumes.inspect(world.path('top'), 'qcow2');
    expect(capacityBytes).toBe(5 * MIB + 512);
    await expect(domain.blockResize('vda', 2n ** 64n - 1n, BlockResizeFlags.BYTES)).rejects.toMatchObject({
      code: 82,
    });
    await domain.suspend();
    await domain.blockRebase('vda', world.path('copy'), 1, BlockRebaseFlags.COPY);
    await expect(domain.blockResize('vda', 8192)).rejects.toMatchObject({
      code: 1,
      message: "internal error: unable to execute QEMU command 'block_resize': Device '(null)' is in use",
    });
  });

  test('a threshold armed as vda tells twice, armed as vda[N] once', async () => {
    const { domain, seen } = await lab();
    await domain.setBlockThreshold('vda', MIB);
    await guestIo(domain, 'virtio-disk0/virtio-backend', 'write 0 2M');
    await until(() => seen.length >= 4);
    const index = /top' index='(\d+)'/.exec(await domain.getXMLDesc())?.[1];
    expect(seen.filter((line) => line.startsWith('threshold'))).toEqual([
      'threshold vda',
      `threshold vda[${index}]`,
    ]);
    await domain.setBlockThreshold(`vda[${index}]`, MIB);
    await guestIo(domain, 'virtio-disk0/virtio-backend', 'write 2M 2M');
    await until(() => seen.length >= 5);
    expect(seen.slice(4)).toEqual([`threshold vda[${index}]`]);
  });
});

describe('lifecycle on a real QEMU', () => {
  test('starts paused, resumes, resets, ends', async () => {
    const { domain, seen } = await lab({ createFlags: DomainCreateFlags.START_PAUSED });
    expect(await domain.getState()).toEqual({ state: 3, reason: 1 });
    await domain.resume();
    expect(await domain.getState()).toEqual({ state: 1, reason: 5 });
    await domain.reset();
    await domain.destroy();
    expect(seen).toEqual(['life 2 0', 'life 3 0', 'life 4 0', 'life 6 2', 'life 5 1']);
    await expect(domain.getState()).rejects.toMatchObject({ code: 42 });
  });

  test('a saved state goes on where it was, in a file or managed', async () => {
    const { domain, connection, world, seen, xml } = await lab();
    await guestIo(domain, 'virtio-disk0/virtio-backend', 'write -P 7 0 64k');
    const file = world.path("it's saved");
    await domain.save(file);
    expect(seen.slice(2)).toEqual(['life 3 0', 'life 5 4']);
    expect(world.host.pids.size).toBeLessThanOrEqual(1);
    const again = await connection.restore(file);
    expect(await again.getState()).toEqual({ state: 1, reason: 3 });
    expect(seen.slice(4)).toEqual(['life 2 2', 'life 4 2']);
    expect(await guestIo(again, 'virtio-disk0/virtio-backend', 'read -P 7 0 64k')).not.toContain('failed');
    await expect(connection.restore(file)).rejects.toMatchObject({ code: 55 });
    await expect(connection.restore(world.path('top'))).rejects.toMatchObject({ code: 9 });
    await expect(again.save(world.path('no/where'))).rejects.toMatchObject({ code: 38 });
    expect(await again.getState()).toMatchObject({ state: 1 });
    await connection.defineXML(xml);
    await again.managedSave();
    expect(await again.hasManagedSaveImage()).toBe(true);
    expect(await again.getState()).toEqual({ state: 5, reason: 5 });
    await again.create();
    expect(await again.getState()).toEqual({ state: 1, reason: 3 });
    expect(await again.hasManagedSaveImage()).toBe(false);
  });
});

describe('disks on a real QEMU', () => {
  test('a snapshot grows every chain at once, and its deletion merges it again', async () => {
    const { domain, world, seen } = await lab({ persistent: true });
    const xml = (name: string) =>
      `<domainsnapshot><name>${name}</name><disks><disk name='sda' snapshot='no'/></disks></domainsnapshot>`;
    const first = await domain.snapshotCreateXML(xml('one'), SnapshotCreateFlags.DISK_ONLY);
    await domain.snapshotCreateXML(xml('two'), SnapshotCreateFlags.DISK_ONLY);
    expect(await domain.getXMLDesc(DomainXMLFlags.INACTIVE)).toMatch(/top\.two'(?:.|\n)*top\.one'/);
    await guestIo(domain, 'virtio-disk0/virtio-backend', 'write -P 9 0 64k');
    await first.delete();
    expect(existsSync(world.path('top.one'))).toBe(false);
    const second = await domain.snapshotLookupByName('two');
    await second.delete();
    expect(seen.slice(-2)).toEqual(['job vda 4 3', 'job vda 4 0']);
    expect(await domain.snapshotNum()).toBe(0);
    expect(await guestIo(domain, 'virtio-disk0/virtio-backend', 'read -P 9 0 64k')).not.toContain('failed');
    const { backing } = await world.driver.volumes.inspect(world.path('top'), 'qcow2');
    expect(backing?.name).toBe('mid');
  });

  test('a snapshot that fails on one disk leaves nothing of the others', async () => {
    const { domain, world } = await lab();
    const before = await domain.getXMLDesc();
    const disks = `<disk name='vda' snapshot='external'><source file='${world.path('s1')}'/></disk><disk name='sda' snapshot='external'><source file='${world.path('no/s2')}'/></disk>`;
    await expect(
      domain.snapshotCreateXML(
        `<domainsnapshot><disks>${disks}</disks></domainsnapshot>`,
        SnapshotCreateFlags.DISK_ONLY,
      ),
    ).rejects.toMatchObject({
      code: 38,
      message: `failed to create image file '${world.path('no/s2')}': No such file or directory`,
    });
    expect(existsSync(world.path('s1'))).toBe(false);
    expect(await domain.getXMLDesc()).toBe(before);
  });

  test('a disk is plugged in and out, a medium put in, changed and taken out', async () => {
    const { domain, world, seen } = await lab({ persistent: true });
    await world.driver.volumes.create({ path: world.path('more'), format: 'qcow2', capacityBytes: MIB });
    const more = disk('sdb', 'scsi', world.path('more'));
    const { LIVE, CONFIG } = DeviceModifyFlags;
    await domain.attachDeviceFlags(more, LIVE | CONFIG);
    expect(await domain.getXMLDesc(DomainXMLFlags.INACTIVE)).toContain(world.path('more'));
    await guestIo(domain, 'scsi0-0-0-1', 'write 0 64k');
    await domain.detachDeviceFlags(more, LIVE);
    expect(seen.slice(3)).toEqual(['added scsi0-0-0-1', 'removed scsi0-0-0-1']);
    expect(await domain.getXMLDesc()).not.toContain(world.path('more'));
    const nodes = await domain.qemuMonitorCommand('{"execute":"query-named-block-nodes"}');
    expect(nodes).not.toContain(world.path('more'));
    // A firmware that is still looking for something to boot closes trays.
    await domain.suspend();
    for (const medium of [world.path('one.iso'), world.path('two.iso'), undefined]) {
      await domain.updateDeviceFlags(cdrom(medium), LIVE);
      const xml = await domain.getXMLDesc();
      expect(xml.includes('.iso')).toBe(medium !== undefined);
      if (medium) expect(xml).toContain(medium);
    }
    expect(await domain.qemuMonitorCommand('{"execute":"query-named-block-nodes"}')).not.toContain('.iso');
  });
});
