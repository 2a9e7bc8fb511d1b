/** A life above a driver that does what it is told; values as a live libvirt 9.0 gives them. */
import { describe, expect, test } from 'vitest';
import { DomainCreateFlags, ListDomainsFlags } from '../../../../src/index.ts';
import { boot, cdromXml, DISKS, diskXml, domainXml, machineOf, refusal, UUID } from '../lab.ts';

const STATE = 'Requested operation is not valid: ';

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
