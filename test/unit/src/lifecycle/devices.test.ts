/** Disks that come and go above a driver that does what it is told; values as a live libvirt 9.0 gives them. */
import { describe, expect, test } from 'vitest';
import { DeviceModifyFlags, DomainXMLFlags } from '../../../../src/index.ts';
import { boot, cdromXml, diskXml, refusal } from '../lab.ts';

const { LIVE, CONFIG } = DeviceModifyFlags;
const TWO = `${diskXml('vda', '/img/top')}${diskXml('vdb', '/img/other')}${cdromXml('/img/cd')}`;
const STATE = 'Requested operation is not valid: ';
const CONFIG_TEXT = 'unsupported configuration: ';

describe('disks that come and go', () => {
  test('attached and detached, live and in the definition', async () => {
    const { domain, machine, seen } = await boot({ persistent: true, disks: TWO });
    const more = diskXml('vdx', '/img/more');
    await domain.attachDeviceFlags(more, LIVE | CONFIG);
    expect(seen.at(-1)).toBe('added virtio-disk23');
    expect(await domain.getXMLDesc(DomainXMLFlags.INACTIVE)).toContain('/img/more');
    machine.on.detachDisk = () => machine.emit({ type: 'disk-removed', disk: 'vdx' });
    await domain.detachDeviceFlags(more, LIVE);
    expect(seen.at(-1)).toBe('removed virtio-disk23');
    expect(await domain.getXMLDesc()).not.toContain('/img/more');
    expect(await refusal(domain.detachDeviceFlags(more, LIVE | CONFIG))).toEqual([
      99,
      10,
      'device not found: disk vdx not found',
    ]);
    await domain.detachDeviceFlags(more, CONFIG);
    expect(await refusal(domain.detachDeviceFlags(more, CONFIG))).toEqual([
      99,
      10,
      'device not found: no target device vdx',
    ]);
  });

  test('a guest that does not let go keeps its disk for now', async () => {
    const { domain, driver, machine, seen } = await boot({ disks: TWO });
    const detached = domain.detachDeviceFlags(diskXml('vdb', '/x'), LIVE);
    while (driver.timers.pending === 0) await Promise.resolve();
    driver.timers.advance(5_000);
    await detached;
    expect(await domain.getXMLDesc()).toContain('/img/other');
    machine.emit({ type: 'disk-removed', disk: 'vdb' });
    while (seen.at(-1) !== 'removed virtio-disk1') await Promise.resolve();
    expect(await domain.getXMLDesc()).not.toContain('/img/other');
  });

  test('media change, and an emptied drive shows its number', async () => {
    const { domain, machine } = await boot({ disks: TWO });
    await domain.updateDeviceFlags(cdromXml('/img/cd2'), LIVE);
    expect(await domain.getXMLDesc()).toContain("<source file='/img/cd2' index='6'/>");
    await domain.updateDeviceFlags(cdromXml(''), LIVE);
    expect(await domain.getXMLDesc()).toContain("<source index='7'/>");
    await domain.updateDeviceFlags(cdromXml(''), LIVE);
    expect(machine.calls.filter(({ name }) => name === 'changeMedium')).toHaveLength(2);
  });

  const refusals: readonly [
    string,
    'attachDeviceFlags' | 'detachDeviceFlags' | 'updateDeviceFlags',
    string,
    number,
    readonly [number, number, string],
  ][] = [
    [
      'another kind',
      'attachDeviceFlags',
      '<foo/>',
      LIVE,
      [67, 20, `${CONFIG_TEXT}unknown device type 'foo'`],
    ],
    [
      'a twin',
      'attachDeviceFlags',
      diskXml('vda', '/img/more'),
      LIVE,
      [27, 20, "XML error: target 'vda' duplicated for disk sources '/img/top' and '/img/more'"],
    ],
    [
      'a transient config',
      'attachDeviceFlags',
      diskXml('vdx', '/img/more'),
      CONFIG,
      [55, 20, `${STATE}transient domains do not have any persistent config`],
    ],
    [
      'a cdrom',
      'detachDeviceFlags',
      cdromXml(''),
      LIVE,
      [84, 10, "Operation not supported: disk device type 'cdrom' cannot be detached"],
    ],
    [
      'an unknown disk',
      'detachDeviceFlags',
      diskXml('vdq', '/x'),
      LIVE,
      [99, 10, 'device not found: disk vdq not found'],
    ],
    [
      'an unknown drive',
      'updateDeviceFlags',
      cdromXml('/img/cd2', 'hdd'),
      LIVE,
      [1, 10, "internal error: disk 'hdd' not found"],
    ],
    [
      'a fixed source',
      'updateDeviceFlags',
      diskXml('vda', '/img/more'),
      LIVE,
      [67, 10, `${CONFIG_TEXT}disk source can be changed only in removable drives`],
    ],
    [
      'another bus',
      'updateDeviceFlags',
      diskXml('vda', '/img/top', { bus: 'scsi' }),
      LIVE,
      [84, 10, "Operation not supported: cannot modify field 'bus' of the disk"],
    ],
    [
      'read-only',
      'updateDeviceFlags',
      diskXml('vda', '/img/top', { extra: '<readonly/>' }),
      LIVE,
      [84, 10, "Operation not supported: cannot modify field 'readonly' of the disk"],
    ],
    [
      'another device',
      'updateDeviceFlags',
      diskXml('hda', '/img/cd', { format: 'raw', bus: 'ide' }),
      LIVE,
      [84, 10, "Operation not supported: cannot modify field 'device' of the disk"],
    ],
  ];
  test.each(refusals)('%s is refused', async (_what, call, text, flags, expected) => {
    const { domain, machine } = await boot({ disks: TWO });
    expect(await refusal(domain[call](text, flags))).toEqual(expected);
    expect(machine.calls).toEqual([]);
  });

  test('of a domain that is shut off only the definition can be changed', async () => {
    const { domain } = await boot({ persistent: true, disks: TWO });
    await domain.destroy();
    const more = diskXml('vdx', '/img/more');
    expect(await refusal(domain.attachDeviceFlags(more, LIVE))).toEqual([
      55,
      20,
      `${STATE}domain is not running`,
    ]);
    await domain.attachDeviceFlags(more);
    expect(await refusal(domain.attachDeviceFlags(more))).toEqual([
      55,
      10,
      `${STATE}target vdx already exists`,
    ]);
    await domain.updateDeviceFlags(cdromXml('/img/cd2'), CONFIG);
    expect(await domain.getXMLDesc()).toContain('/img/cd2');
  });
});
