/** What outlives the management process besides jobs: thresholds that were armed, and what is known of snapshots. */
import { EventId, MonitorCommandFlags, SnapshotCreateFlags } from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expectEqual } from '../../expect.ts';
import { Lab } from '../../lab.ts';
import { World } from '../../world.ts';

const GUEST_DISK = '/machine/peripheral/virtio-disk0/virtio-backend';

/** A lab of a management process that can die. */
async function managed(world: World) {
  const manager = await world.manage();
  return { manager, lab: await Lab.start(new World(world.session, () => manager.connection)) };
}

/** The contracts. */
export const outlivingContracts: readonly Contract[] = [
  example({
    id: 'api/outlives/threshold',
    title: 'A threshold that was armed as vda[N] still answers once, by that name, to the next connection',
    source: 'libvirt 9.0 status XML: <thresholdEvent indexUsed=…/> of an image; virDomainSetBlockThreshold',
    needs: ['extras', 'restart'],
    async check(world) {
      const { manager, lab } = await managed(world);
      const [, index] = /index='(\d+)'/.exec(await lab.domain.getXMLDesc()) ?? [];
      await lab.domain.setBlockThreshold(`vda[${index}]`, 65_536);
      manager.die();
      const next = await world.manage();
      const told: string[] = [];
      next.connection.domainEventRegister(EventId.BLOCK_THRESHOLD, null, ({ device }) => told.push(device));
      const domain = await next.connection.lookupByName('lab');
      const write = `qemu-io -d ${GUEST_DISK} "write -P 1 1048576 65536"`;
      await domain.qemuMonitorCommand(write, MonitorCommandFlags.HMP);
      await world.until('BLOCK_THRESHOLD', () => told.length > 0);
      expectEqual(told, [`vda[${index}]`], 'events');
    },
  }),
  example({
    id: 'api/outlives/snapshots',
    title: 'The next connection knows every snapshot, its parent, its XML, and which one is current',
    source: 'libvirt 9.0: qemuDomainSnapshotLoad; virDomainListAllSnapshots',
    needs: ['extras', 'restart'],
    async check(world) {
      const { manager, lab } = await managed(world);
      for (const name of ['one', 'two']) {
        const xml = `<domainsnapshot><name>${name}</name><disks><disk name='vda' snapshot='external'><source file='${lab.path(name)}'/></disk><disk name='vdb' snapshot='no'/></disks></domainsnapshot>`;
        await lab.domain.snapshotCreateXML(xml, SnapshotCreateFlags.DISK_ONLY);
      }
      const known = await (await lab.domain.snapshotLookupByName('two')).getXMLDesc();
      manager.die();
      const domain = await (await world.manage()).connection.lookupByName('lab');
      const names = (await domain.listAllSnapshots()).map(({ name }) => name);
      expectEqual(names, ['one', 'two'], 'snapshots');
      const current = await domain.snapshotCurrent();
      expectEqual(
        [current.name, (await current.getParent()).name],
        ['two', 'one'],
        'current one and its parent',
      );
      expectEqual(await current.getXMLDesc(), known, 'XML of the current one');
    },
  }),
];
