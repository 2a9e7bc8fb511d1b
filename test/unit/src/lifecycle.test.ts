/** Lifecycle, snapshots, devices and events above a driver that does what it is told; values as a live libvirt 9.0 gives them. */
import { describe, expect, test } from 'vitest';
import {
  DeviceModifyFlags,
  DomainCreateFlags,
  DomainXMLFlags,
  ErrorCode,
  EventId,
  LifecycleEvent,
  ListDomainsFlags,
  SnapshotCreateFlags,
  SnapshotListFlags,
  VirtError,
} from '../../../src/index.ts';
import { boot, cdromXml, DISKS, diskXml, domainXml, machineOf, refusal, startJob, UUID } from './lab.ts';

const { DISK_ONLY, NO_METADATA, REUSE_EXT, HALT, QUIESCE } = SnapshotCreateFlags;
const { LIVE, CONFIG } = DeviceModifyFlags;
const TWO = `${diskXml('vda', '/img/top')}${diskXml('vdb', '/img/other')}${cdromXml('/img/cd')}`;
const STATE = 'Requested operation is not valid: ';
const CONFIG_TEXT = 'unsupported configuration: ';

describe('a life', () => {
  test('each step has its state, reason and events', async () => {
    const { domain, driver, machine, seen, connection } = await boot({ persistent: true });
    const step = async (does: Promise<unknown>) => {
      await does;
      const { state, reason } = await domain.getState();
      return [state, reason, ...seen.splice(0)];
    };
    expect(await step(Promise.resolve())).toEqual([1, 1, 'life 0 0', 'life 4 0', 'life 2 0']);
    expect(await step(domain.suspend())).toEqual([3, 1, 'life 3 0']);
    expect(await step(domain.suspend())).toEqual([3, 1]);
    expect(await step(domain.resume())).toEqual([1, 5, 'life 4 0']);
    expect(await step(domain.reset())).toEqual([1, 5, 'reboot']);
    expect(await step(connection.defineXML(domainXml()))).toEqual([1, 5, 'life 0 1']);
    expect(await step(domain.undefine())).toEqual([1, 5, 'life 1 0']);
    expect(await step(connection.defineXML(domainXml()))).toEqual([1, 5, 'life 0 1']);
    expect(await step(domain.destroy())).toEqual([5, 2, 'life 6 2', 'life 5 1']);
    expect(await step(domain.create(DomainCreateFlags.START_PAUSED))).toEqual([3, 1, 'life 2 0', 'life 3 0']);
    expect(machineOf(driver).spec.startPaused).toBe(true);
    expect(machine.spec.startPaused).toBeUndefined();
  });

  test.each([
    ['shutdown', 'life 5 0', 1],
    ['crashed', 'life 5 5', 3],
  ] as const)('a guest that ends by %s', async (reason, event, offReason) => {
    const { domain, machine, seen } = await boot({ persistent: true });
    machine.emit({ type: 'gone', reason });
    expect(seen.at(-1)).toBe(event);
    expect(await domain.getState()).toEqual({ state: 5, reason: offReason });
  });

  test('an I/O error that pauses tells both events and the state', async () => {
    const { domain, machine, seen } = await boot();
    seen.length = 0;
    machine.emit({ type: 'io-error', disk: 'vda', action: 'pause', reason: 'enospc' });
    machine.emit({ type: 'paused', reason: 'io-error' });
    expect(seen).toEqual(['io /img/top virtio-disk0 1', 'io-reason enospc', 'life 3 2']);
    expect(await domain.getState()).toEqual({ state: 3, reason: 5 });
    machine.emit({ type: 'io-error', action: 'report', reason: '' });
    expect(seen.slice(3)).toEqual(['io   2', 'io-reason ']);
  });

  test('look-ups and lists', async () => {
    const { connection, domain } = await boot();
    await connection.defineXML(domainXml('', 'off', '00000000-0000-4000-8000-000000000002'));
    const names = async (flags: number) => (await connection.listAllDomains(flags)).map(({ name }) => name);
    const L = ListDomainsFlags;
    expect(await names(0)).toEqual(['vm', 'off']);
    expect(await names(L.ACTIVE)).toEqual(['vm']);
    expect(await names(L.ACTIVE | L.INACTIVE)).toEqual(['vm', 'off']);
    expect(await names(L.PERSISTENT)).toEqual(['off']);
    expect(await names(L.PAUSED)).toEqual([]);
    expect(await names(L.RUNNING | L.SHUTOFF)).toEqual(['vm', 'off']);
    expect(await names(L.MANAGEDSAVE)).toEqual([]);
    expect((await connection.lookupByID(domain.getID())).name).toBe('vm');
    const missing = 'Domain not found: no domain with matching';
    expect(await refusal(connection.lookupByID(4711))).toEqual([42, 10, `${missing} id 4711`]);
    expect(await refusal(connection.lookupByName('nope'))).toEqual([42, 10, `${missing} name 'nope'`]);
    expect(await refusal(connection.lookupByUUID('zzz'))).toEqual([8, 20, 'Invalid UUID']);
    expect((await connection.lookupByUUID(UUID.replaceAll('-', ''))).name).toBe('vm');
    const L_BAD = await refusal(connection.listAllDomains(0x1000000));
    expect(L_BAD).toEqual([8, 10, 'unsupported flags (0x1000000) in function qemuConnectListAllDomains']);
  });

  test('definitions that collide, and starts that come twice', async () => {
    const { connection, domain } = await boot({ persistent: true });
    const other = '00000000-0000-4000-8000-000000000002';
    expect(await refusal(connection.defineXML(domainXml(DISKS, 'vm', other)))).toEqual([
      9,
      20,
      `operation failed: domain 'vm' already exists with uuid ${UUID}`,
    ]);
    expect(await refusal(connection.defineXML(domainXml(DISKS, 'other')))).toEqual([
      9,
      20,
      `operation failed: domain 'vm' is already defined with uuid ${UUID}`,
    ]);
    expect(await refusal(domain.create())).toEqual([55, 10, `${STATE}domain is already running`]);
    expect(await refusal(connection.createXML(domainXml()))).toEqual([
      55,
      20,
      `${STATE}domain 'vm' is already active`,
    ]);
    expect(await refusal(domain.resume())).toEqual([55, 10, `${STATE}domain is already running`]);
  });

  test('every call refuses flags that it does not know, in the name of its driver function', async () => {
    const { domain, connection } = await boot({ persistent: true });
    const BAD = 0x4000_0000;
    const calls: readonly [string, Promise<unknown>][] = [
      ['qemuDomainDefineXMLFlags', connection.defineXML(domainXml(), BAD)],
      ['qemuDomainCreateXML', connection.createXML(domainXml(), BAD)],
      ['qemuDomainRestoreInternal', connection.restore('/x', BAD)],
      ['qemuDomainCreateWithFlags', domain.create(BAD)],
      ['qemuDomainDestroyFlags', domain.destroy(BAD)],
      ['qemuDomainShutdownFlags', domain.shutdown(BAD)],
      ['qemuDomainReboot', domain.reboot(BAD)],
      ['qemuDomainReset', domain.reset(BAD)],
      ['qemuDomainUndefineFlags', domain.undefine(BAD)],
      ['qemuDomainGetState', domain.getState(BAD)],
      ['qemuDomainGetXMLDesc', domain.getXMLDesc(BAD)],
      ['qemuDomainSaveFlags', domain.save('/x', BAD)],
      ['qemuDomainManagedSave', domain.managedSave(BAD)],
      ['qemuDomainHasManagedSaveImage', domain.hasManagedSaveImage(BAD)],
      ['qemuDomainManagedSaveRemove', domain.managedSaveRemove(BAD)],
      ['qemuDomainAttachDeviceLiveAndConfig', domain.attachDeviceFlags('<disk/>', BAD)],
      ['qemuDomainDetachDeviceLiveAndConfig', domain.detachDeviceFlags('<disk/>', BAD)],
      ['qemuDomainUpdateDeviceFlags', domain.updateDeviceFlags('<disk/>', BAD)],
      ['qemuSnapshotCreateXML', domain.snapshotCreateXML('<domainsnapshot/>', BAD)],
      ['qemuDomainListAllSnapshots', domain.listAllSnapshots(BAD)],
      ['qemuDomainSnapshotNum', domain.snapshotNum(BAD)],
      ['qemuDomainSnapshotLookupByName', domain.snapshotLookupByName('x', BAD)],
    ];
    for (const [name, call] of calls) {
      expect(await refusal(call)).toEqual([8, 10, `unsupported flags (0x40000000) in function ${name}`]);
    }
  });

  test("a source with startupPolicy='optional' that is missing is left out, and says so", async () => {
    const disks = `${diskXml('vda', '/img/top')}${diskXml('vdb', '/img/gone')}${cdromXml('/img/gone')}`;
    const optional = disks.replaceAll("'/img/gone'", "'/img/gone' startupPolicy='optional'");
    const { machine, seen } = await boot({ disks: optional });
    expect(seen.filter((line) => line.startsWith('change'))).toEqual([
      'change /img/gone null virtio-disk1 1',
      'change /img/gone null ide0-0-0 0',
    ]);
    expect(machine.spec.disks.map(({ target, chain }) => [target, chain.length])).toEqual([
      ['vda', 3],
      ['hda', 0],
    ]);
  });
});

describe('saved states', () => {
  test('save ends the run, restore goes on with it', async () => {
    const { domain, connection, driver, machine, seen } = await boot();
    seen.length = 0;
    await domain.save('/x');
    expect(seen.splice(0)).toEqual(['life 3 0', 'life 5 4']);
    expect(machine.calls.map(({ name }) => name)).toEqual(['pause', 'save', 'destroy']);
    const again = await connection.restore('/x');
    expect(seen.splice(0)).toEqual(['life 2 2', 'life 4 2']);
    expect(machineOf(driver).spec.restoreFrom).toBe('/x');
    expect(await again.getState()).toEqual({ state: 1, reason: 3 });
    expect(again.isPersistent()).toBe(false);
    await again.suspend();
    await again.save('/y');
    await connection.restore('/y');
    expect(seen.splice(0)).toEqual(['life 3 0', 'life 5 4', 'life 2 2', 'life 3 4']);
    expect(await refusal(connection.restore('/nope'))).toEqual([
      38,
      10,
      "Failed to open file '/nope': No such file or directory",
    ]);
    expect(await refusal(connection.restore('/x', 6))).toEqual([
      8,
      20,
      "Flags 'VIR_DOMAIN_SAVE_RUNNING' and 'VIR_DOMAIN_SAVE_PAUSED' are mutually exclusive",
    ]);
  });

  test('a save that fails lets the guest go on', async () => {
    const { domain, machine, seen } = await boot();
    seen.length = 0;
    machine.on.save = () => {
      throw new VirtError(ErrorCode.SYSTEM_ERROR, "Failed to create file '/x': No such file or directory");
    };
    expect((await refusal(domain.save('/x')))?.[0]).toBe(38);
    expect(seen).toEqual(['life 3 0', 'life 4 0']);
    expect((await domain.getState()).state).toBe(1);
  });

  test('a managed save is used up by the next start, thrown away by a forced one, and guards the definition', async () => {
    const { domain, driver, seen } = await boot({ persistent: true });
    await domain.managedSave();
    expect(await domain.getState()).toEqual({ state: 5, reason: 5 });
    expect(await refusal(domain.undefine())).toEqual([
      55,
      10,
      `${STATE}Refusing to undefine while domain managed save image exists`,
    ]);
    await domain.create();
    expect(await domain.getState()).toEqual({ state: 1, reason: 3 });
    expect(await domain.hasManagedSaveImage()).toBe(false);
    await domain.managedSave();
    seen.length = 0;
    await domain.create(DomainCreateFlags.START_FORCE_BOOT);
    expect(seen).toEqual(['life 4 0', 'life 2 0']);
    await domain.managedSave();
    await domain.managedSaveRemove();
    expect(await refusal(domain.managedSaveRemove())).toEqual([
      38,
      10,
      "Failed to remove managed save file '/save/vm.save': No such file or directory",
    ]);
    expect(driver.saved.size).toBe(0);
  });
});

describe('snapshots', () => {
  const xml = (name: string, disks = "<disk name='vdb' snapshot='no'/>") =>
    `<domainsnapshot><name>${name}</name><disks>${disks}</disks></domainsnapshot>`;
  const external = (path: string, driver = '') =>
    `<disk name='vda' snapshot='external'>${driver}<source file='${path}'/></disk><disk name='vdb' snapshot='no'/>`;

  test('a chain grows, live and persistent, and keeps its metadata', async () => {
    const { domain, machine, seen } = await boot({ persistent: true, disks: TWO });
    seen.length = 0;
    await domain.snapshotCreateXML(xml('one'), DISK_ONLY);
    await domain.snapshotCreateXML(xml('two'), DISK_ONLY);
    expect(seen).toEqual([]);
    const overlays = machine.calls.filter(({ name }) => name === 'snapshot').map(({ argument }) => argument);
    expect(overlays).toMatchObject([
      [{ disk: 'vda', overlay: { path: '/img/top.one' } }],
      [{ active: { path: '/img/top.one' } }],
    ]);
    expect(await domain.getXMLDesc()).toMatch(/top\.two' index='7'(?:.|\n)*top\.one(?:.|\n)*\/img\/top'/);
    const inactive = await domain.getXMLDesc(DomainXMLFlags.INACTIVE);
    expect(inactive).toContain(`<source file='/img/top.two'/>
      <backingStore type='file'>
        <format type='qcow2'/>
        <source file='/img/top.one'/>
        <backingStore type='file'>
          <format type='qcow2'/>
          <source file='/img/top'/>
        </backingStore>
      </backingStore>`);
    const [one, two] = await domain.listAllSnapshots();
    expect(one?.name).toBe('one');
    expect((await two?.getParent())?.name).toBe('one');
    expect((await domain.snapshotCurrent()).name).toBe('two');
    expect((await domain.listAllSnapshots(SnapshotListFlags.ROOTS)).map(({ name }) => name)).toEqual(['one']);
    expect((await domain.listAllSnapshots(SnapshotListFlags.LEAVES)).map(({ name }) => name)).toEqual([
      'two',
    ]);
    expect(await two?.getXMLDesc()).toContain('<state>disk-snapshot</state>');
    await one?.delete(2);
    expect(await refusal(two?.getParent() ?? Promise.resolve())).toEqual([
      72,
      10,
      "Domain snapshot not found: snapshot 'two' does not have a parent",
    ]);
    await domain.destroy();
    expect(await refusal(domain.undefine())).toEqual([
      55,
      10,
      `${STATE}cannot delete inactive domain with 1 snapshots`,
    ]);
    await domain.undefine(2);
  });

  test('deletion commits the overlay, the active one with a pivot', async () => {
    const { domain, machine, driver, seen } = await boot({ disks: TWO });
    const first = await domain.snapshotCreateXML(xml('one'), DISK_ONLY);
    const second = await domain.snapshotCreateXML(xml('two'), DISK_ONLY);
    seen.length = 0;
    machine.on.startJob = (request) => {
      const { id, kind } = request as { id: string; kind: string };
      machine.emit(
        kind === 'commit' ? { type: 'job-ended', id, outcome: 'completed' } : { type: 'job-ready', id },
      );
    };
    machine.on.concludeJob = (argument) =>
      machine.emit({ type: 'job-ended', id: (argument as { id: string }).id, outcome: 'completed' });
    driver.files.set('/img/top.one', { kind: 'file', sizeBytes: 1 });
    await first.delete();
    expect(driver.files.has('/img/top.one')).toBe(false);
    await second.delete();
    expect(seen.filter((line) => line.startsWith('disk'))).toEqual([
      'disk vda 3 0',
      'disk vda 4 3',
      'disk vda 4 0',
    ]);
    expect(await domain.snapshotNum()).toBe(0);
    expect(await domain.getXMLDesc()).toContain("<source file='/img/top' ");
  });

  const refusals: readonly [string, string, number, readonly [number, number, string]][] = [
    [
      'no such disk',
      xml('u', "<disk name='vdz' snapshot='external'/>"),
      DISK_ONLY,
      [67, 35, `${CONFIG_TEXT}no disk named 'vdz'`],
    ],
    [
      'too many',
      xml('u', "<disk name='vda'/>".repeat(4)),
      DISK_ONLY,
      [67, 35, `${CONFIG_TEXT}too many disk snapshot requests for domain`],
    ],
    [
      'relative path',
      xml('u', external('z')),
      DISK_ONLY,
      [27, 35, "XML error: disk snapshot image path 'z' must be absolute"],
    ],
    [
      'internal',
      xml('u', "<disk name='vda' snapshot='internal'/>"),
      DISK_ONLY,
      [
        67,
        10,
        `${CONFIG_TEXT}active qemu domains require external disk snapshots; disk vda requested internal`,
      ],
    ],
    [
      'reuse missing',
      xml('u', external('/n')),
      DISK_ONLY | REUSE_EXT,
      [38, 10, 'missing existing file for disk vda: /n: No such file or directory'],
    ],
    [
      'exists',
      xml('u', external('/img/base')),
      DISK_ONLY,
      [
        67,
        10,
        `${CONFIG_TEXT}external snapshot file for disk vda already exists and is not a block device: /img/base`,
      ],
    ],
    [
      'raw',
      xml('u', external('/n', "<driver type='raw'/>")),
      DISK_ONLY,
      [67, 10, `${CONFIG_TEXT}external snapshot format for disk vda is unsupported: raw`],
    ],
    [
      'nothing',
      xml('u', "<disk name='vda' snapshot='no'/><disk name='vdb' snapshot='no'/>"),
      DISK_ONLY,
      [67, 10, `${CONFIG_TEXT}nothing selected for snapshot`],
    ],
    [
      'external, not disk-only',
      xml('u', external('/n')),
      0,
      [67, 35, `${CONFIG_TEXT}disk 'vda' must use snapshot mode 'internal'`],
    ],
    [
      'quiesce',
      xml('u', external('/n')),
      DISK_ONLY | QUIESCE,
      [74, 10, 'argument unsupported: QEMU guest agent is not configured'],
    ],
    [
      'quiesce alone',
      xml('u'),
      QUIESCE,
      [
        8,
        10,
        "Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE'",
      ],
    ],
    [
      'current alone',
      xml('u'),
      DISK_ONLY | 2,
      [
        8,
        35,
        "Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT'",
      ],
    ],
    [
      'redefine without metadata',
      xml('u'),
      1 | NO_METADATA,
      [
        8,
        35,
        "Flags 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' and 'VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA' are mutually exclusive",
      ],
    ],
    ['halt', xml('u'), DISK_ONLY | HALT, [55, 10, `${STATE}cannot halt after transient domain snapshot`]],
    [
      'other root',
      '<x/>',
      DISK_ONLY,
      [27, 5, "XML error: expecting root element of 'domainsnapshot', not 'x'"],
    ],
    [
      'name with a slash',
      xml('a/b'),
      DISK_ONLY,
      [35, 10, "invalid snapshot name 'a/b': name can't contain '/'"],
    ],
    [
      'name with a dot',
      xml('.x'),
      DISK_ONLY,
      [35, 10, "invalid snapshot name '.x': name can't start with '.'"],
    ],
    [
      'no disk name',
      xml('u', "<disk snapshot='external'/>"),
      DISK_ONLY,
      [1, 35, 'internal error: missing name from disk snapshot element'],
    ],
  ];
  test.each(refusals)('%s is refused', async (_what, text, flags, expected) => {
    const { domain, machine } = await boot({ disks: TWO });
    expect(await refusal(domain.snapshotCreateXML(text, flags))).toEqual(expected);
    expect(machine.calls).toEqual([]);
  });

  test('names are unique, lost ones are not found, reverts are refused', async () => {
    const { domain } = await boot({ disks: TWO });
    const taken = await domain.snapshotCreateXML(xml('s'), DISK_ONLY);
    expect(await refusal(domain.snapshotCreateXML(xml('s', external('/n')), DISK_ONLY))).toEqual([
      9,
      20,
      'operation failed: domain moment s already exists',
    ]);
    const loose = await domain.snapshotCreateXML(xml('l', external('/n')), DISK_ONLY | NO_METADATA);
    expect(await refusal(loose.getXMLDesc())).toEqual([
      72,
      10,
      "Domain snapshot not found: no domain snapshot with matching name 'l'",
    ]);
    expect(await refusal(domain.revertToSnapshot(taken))).toEqual([
      55,
      10,
      `${STATE}transient domain needs to request run or pause to revert to inactive snapshot`,
    ]);
    expect(await refusal(domain.revertToSnapshot(taken, 1))).toEqual([
      67,
      10,
      `${CONFIG_TEXT}revert to external snapshot not supported yet`,
    ]);
    expect(await refusal(taken.delete(1))).toEqual([
      67,
      10,
      `${CONFIG_TEXT}deletion of external children disk snapshots not supported`,
    ]);
  });
});

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

describe('events', () => {
  test('a subscriber that comes before the call misses nothing and hears nothing twice', async () => {
    const { connection, seen } = await boot();
    expect(seen).toEqual(['life 4 0', 'life 2 0']);
    const heard: LifecycleEvent[] = [];
    const id = connection.domainEventRegister(EventId.LIFECYCLE, null, ({ event }) => heard.push(event));
    const domain = await connection.createXML(domainXml('', 'b', '00000000-0000-4000-8000-000000000003'));
    expect(heard).toEqual([LifecycleEvent.RESUMED, LifecycleEvent.STARTED]);
    connection.domainEventDeregister(id);
    await domain.destroy();
    expect(heard).toHaveLength(2);
  });

  test('a threshold tells by its names: two if armed as vda, one as vda[N], also of a mirror', async () => {
    const lab = await boot();
    const { domain, machine, seen, index } = lab;
    await startJob(lab, 'copy');
    const active = index('/img/top');
    seen.length = 0;
    const crossed = (imageIndex: number) =>
      machine.emit({ type: 'threshold', imageIndex, thresholdBytes: 100, excessBytes: 5 });
    await domain.setBlockThreshold('vda', 100);
    crossed(active);
    expect(seen.splice(0)).toEqual([
      'threshold vda /img/top 100 5',
      `threshold vda[${active}] /img/top 100 5`,
    ]);
    await domain.setBlockThreshold(`vda[${active}]`, 100);
    crossed(active);
    expect(seen.splice(0)).toEqual([`threshold vda[${active}] /img/top 100 5`]);
    const mirror = /copy' index='(\d+)'/.exec(await domain.getXMLDesc())?.[1];
    await domain.setBlockThreshold(`vda[${mirror}]`, 100);
    crossed(Number(mirror));
    crossed(4711);
    expect(seen).toEqual([`threshold vda[${mirror}] /img/copy 100 5`]);
  });
});
