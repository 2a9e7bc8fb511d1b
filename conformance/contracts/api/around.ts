/** The calls around block jobs: states, saved states, snapshots as objects, definitions. */
import {
  DeviceModifyFlags,
  DomainCreateFlags,
  DomainSaveRestoreFlags,
  type DomainSnapshot,
  DomainState,
  DomainUndefineFlags,
  DomainXMLFlags,
  ErrorCode,
  EventId,
  SnapshotCreateFlags,
  SnapshotDeleteFlags,
  SnapshotListFlags,
} from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual, expectRefused } from '../../expect.ts';
import { CAPACITY_BYTES, diskXml, Lab, type LabOptions } from '../../lab.ts';
import type { Capability } from '../../target.ts';

const S = SnapshotCreateFlags;
const L = SnapshotListFlags;
const PERSISTENT = { persistent: true } as const;
const { RUNNING, PAUSED } = DomainState;

interface Around {
  readonly id: string;
  readonly title: string;
  readonly source: string;
  readonly options?: LabOptions;
  readonly needs?: readonly Capability[];
  check(lab: Lab): Promise<void>;
}

const stateOf = async ({ domain }: Lab): Promise<number> => (await domain.getState()).state;
const namesOf = (snapshots: readonly DomainSnapshot[]): string[] => snapshots.map(({ name }) => name);

/** A disk-only snapshot, then another one on top of it. */
async function twoSnapshots(lab: Lab): Promise<void> {
  for (const name of ['one', 'two'])
    await lab.domain.snapshotCreateXML(
      `<domainsnapshot><name>${name}</name><disks><disk name='vda' snapshot='external'><source file='${lab.path(name)}'/></disk><disk name='vdb' snapshot='no'/></disks></domainsnapshot>`,
      S.DISK_ONLY,
    );
}

const SNAPSHOTS: readonly Around[] = [
  {
    id: 'snapshots-listed',
    title: 'Snapshots are listed by what they are: all, without parents, without children, with children',
    source: 'virDomainListAllSnapshots, virDomainSnapshotNum',
    options: PERSISTENT,
    async check(lab) {
      await twoSnapshots(lab);
      const listed = async (flags: number) => namesOf(await lab.domain.listAllSnapshots(flags));
      expectEqual(await listed(0), ['one', 'two'], 'all snapshots');
      expectEqual(await lab.domain.snapshotNum(), 2, 'number of snapshots');
      expectEqual(await listed(L.ROOTS), ['one'], 'snapshots without a parent');
      expectEqual(await listed(L.LEAVES), ['two'], 'snapshots without children');
      expectEqual(await listed(L.NO_LEAVES), ['one'], 'snapshots with children');
      for (const flag of ['NO_METADATA', 'INACTIVE', 'ACTIVE', 'INTERNAL'] as const)
        expectEqual(await listed(L[flag]), [], `snapshots that are ${flag}`);
    },
  },
  {
    id: 'snapshots-related',
    title: 'The last snapshot taken is the current one and a child of the one before it',
    source: 'virDomainSnapshotCurrent, virDomainSnapshotGetParent, virDomainSnapshotListAllChildren',
    options: PERSISTENT,
    async check(lab) {
      const { domain } = lab;
      expectEqual(await domain.hasCurrentSnapshot(), false, 'a current snapshot before');
      await twoSnapshots(lab);
      expectEqual(await domain.hasCurrentSnapshot(), true, 'a current snapshot');
      const current = await domain.snapshotCurrent();
      expectEqual(current?.name, 'two', 'the current snapshot');
      const one = await domain.snapshotLookupByName('one');
      expectEqual(one?.name, 'one', 'the snapshot that was looked up');
      expectEqual((await current.getParent())?.name, 'one', 'its parent');
      expectEqual(namesOf(await one.listAllChildren()), ['two'], 'children of the first');
      expectEqual([await current.isCurrent(), await one.isCurrent()], [true, false], 'which is current');
      expectEqual(await one.hasMetadata(), true, 'metadata');
      expect((await one.getXMLDesc()).includes('<name>one</name>'), 'the XML does not name the snapshot');
    },
  },
  {
    id: 'snapshot-forgotten',
    title: 'A snapshot deleted with METADATA_ONLY is forgotten, and its overlay stays in the chain',
    source: 'virDomainSnapshotDelete: VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY',
    options: PERSISTENT,
    async check(lab) {
      await twoSnapshots(lab);
      const two = await lab.domain.snapshotLookupByName('two');
      const one = await lab.domain.snapshotLookupByName('one');
      for (const [snapshot, flag] of [[two, 'CHILDREN'] as const, [one, 'CHILDREN_ONLY'] as const])
        await expectRefused(snapshot.delete(SnapshotDeleteFlags[flag]), ErrorCode.CONFIG_UNSUPPORTED, flag);
      await two.delete(SnapshotDeleteFlags.METADATA_ONLY);
      expectEqual(namesOf(await lab.domain.listAllSnapshots()), ['one'], 'snapshots');
      expectEqual(await lab.chain(), ['two', 'one', 'top', 'mid', 'low', 'base'], 'chain');
    },
  },
  {
    id: 'snapshot-without-metadata',
    title: 'A snapshot with NO_METADATA and REUSE_EXT uses the file that is there, and is on no list',
    source: 'virDomainSnapshotCreateXML: VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA, REUSE_EXT',
    async check(lab) {
      const backing = { path: lab.path('top'), format: 'qcow2' } as const;
      const image = { path: lab.path('snap'), format: 'qcow2', capacityBytes: CAPACITY_BYTES } as const;
      await lab.world.connection.volumes.create({ ...image, backing });
      await lab.snapshot(S.DISK_ONLY | S.NO_METADATA | S.REUSE_EXT);
      expectEqual(await lab.chain(), ['snap', 'top', 'mid', 'low', 'base'], 'chain');
      expectEqual(namesOf(await lab.domain.listAllSnapshots()), [], 'snapshots');
    },
  },
];

/** The states that a domain is saved in and goes on in. */
const SAVES: readonly Around[] = (['RUNNING', 'PAUSED'] as const).flatMap((wanted) => {
  const before = async (lab: Lab) => {
    if (wanted === 'RUNNING') await lab.domain.suspend();
  };
  const flag = DomainSaveRestoreFlags[wanted];
  const state = wanted === 'RUNNING' ? RUNNING : PAUSED;
  return [
    {
      id: `managed-save-${wanted.toLowerCase()}`,
      title: `A domain that is saved with ${wanted} is off, and starts from there in that state`,
      source: `virDomainManagedSave: VIR_DOMAIN_SAVE_${wanted}`,
      options: PERSISTENT,
      needs: ['saves' as const],
      async check(lab: Lab) {
        await before(lab);
        expectEqual(await lab.domain.hasManagedSaveImage(), false, 'a managed save before');
        await lab.domain.managedSave(flag);
        expectEqual(lab.domain.isActive(), false, 'whether the saved domain is active');
        expectEqual(await lab.domain.hasManagedSaveImage(), true, 'a managed save');
        await lab.domain.create();
        expectEqual(await stateOf(lab), state, 'state when it goes on');
      },
    },
    {
      id: `save-${wanted.toLowerCase()}`,
      title: `A domain that is saved to a file with ${wanted} is restored in that state`,
      source: `virDomainSaveFlags: VIR_DOMAIN_SAVE_${wanted}; virDomainRestore`,
      options: PERSISTENT,
      needs: ['saves' as const],
      async check(lab: Lab) {
        await before(lab);
        await lab.domain.save(lab.path('saved'), flag);
        expectEqual(await stateOf(lab), DomainState.SHUTOFF, 'state of the saved domain');
        await lab.world.connection.restore(lab.path('saved'));
        expectEqual(await stateOf(lab), state, 'state of the restored domain');
      },
    },
  ];
});

const DEFINITIONS: readonly Around[] = [
  {
    id: 'managed-save-dropped',
    title: 'A start with START_FORCE_BOOT, and a removal, drop the managed save',
    source: 'virDomainCreateWithFlags: VIR_DOMAIN_START_FORCE_BOOT; virDomainManagedSaveRemove',
    options: PERSISTENT,
    needs: ['saves'],
    async check(lab) {
      const { domain } = lab;
      await domain.managedSave(DomainSaveRestoreFlags.PAUSED);
      await domain.create(DomainCreateFlags.START_FORCE_BOOT);
      expectEqual(await stateOf(lab), RUNNING, 'state after a start from scratch');
      await domain.managedSave();
      await domain.managedSaveRemove();
      expectEqual(await domain.hasManagedSaveImage(), false, 'a managed save after its removal');
    },
  },
  {
    id: 'undefine-with-managed-save',
    title: 'A definition goes with its managed save only where that is said',
    source: 'virDomainUndefineFlags: VIR_DOMAIN_UNDEFINE_MANAGED_SAVE',
    options: PERSISTENT,
    needs: ['saves'],
    async check({ domain, world }) {
      await domain.managedSave();
      await expectRefused(domain.undefine(), ErrorCode.OPERATION_INVALID, 'undefine with a managed save');
      await domain.undefine(DomainUndefineFlags.MANAGED_SAVE);
      const looked = world.connection.lookupByName('lab');
      await expectRefused(looked, ErrorCode.NO_DOMAIN, 'a look at the domain that was undefined');
    },
  },
  {
    id: 'undefine-with-snapshots',
    title: 'A definition goes with the records of its snapshots only where that is said',
    source: 'virDomainUndefineFlags: VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA',
    options: PERSISTENT,
    async check(lab) {
      const { domain, world } = lab;
      await twoSnapshots(lab);
      await domain.destroy();
      await expectRefused(domain.undefine(), ErrorCode.OPERATION_INVALID, 'undefine with snapshots');
      await domain.undefine(DomainUndefineFlags.SNAPSHOTS_METADATA);
      const looked = world.connection.lookupByName('lab');
      await expectRefused(looked, ErrorCode.NO_DOMAIN, 'a look at the domain that was undefined');
    },
  },
  {
    id: 'states-of-a-domain',
    title:
      'A domain says what it is: defined, started paused, running, transient when undefined while it runs',
    source: 'virDomainGetState, virDomainGetID, virDomainIsActive, virDomainIsPersistent, virDomainUndefine',
    options: { inactive: true },
    async check(lab) {
      const { domain } = lab;
      expectEqual([domain.isActive(), domain.getID()], [false, -1], 'active, and the id, when defined');
      await domain.create(DomainCreateFlags.START_PAUSED);
      expectEqual(await stateOf(lab), PAUSED, 'state after a start with START_PAUSED');
      await domain.resume();
      expectEqual(await stateOf(lab), RUNNING, 'state after the resume');
      expect(domain.isActive() && domain.getID() > 0, 'a running domain is active and has an id');
      expectEqual(domain.isPersistent(), true, 'whether it is persistent');
      await domain.undefine();
      expectEqual(domain.isPersistent(), false, 'whether it is persistent when undefined');
    },
  },
  {
    id: 'optional-medium',
    title: 'A drive whose optional medium is missing is empty, and DISK_CHANGE tells which one it was',
    source: "virDomainCreateXML: startupPolicy='optional'; VIR_DOMAIN_EVENT_ID_DISK_CHANGE",
    async check(lab) {
      const { connection } = lab.world;
      const missing = lab.path('missing.iso');
      const told: (string | null)[] = [];
      connection.domainEventRegister(EventId.DISK_CHANGE, null, ({ oldSourcePath }) => {
        told.push(oldSourcePath);
      });
      const drive = `<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='${missing}' startupPolicy='optional'/><target dev='sda' bus='sata'/><readonly/></disk>`;
      const domain = await connection.createXML(
        `<domain type='qemu'><name>drive</name><memory unit='MiB'>16</memory><os><type machine='q35'>hvm</type></os><devices>${drive}</devices></domain>`,
      );
      expectEqual(told, [missing], 'media that DISK_CHANGE told of');
      expect(!(await domain.getXMLDesc()).includes(missing), 'the missing medium is in the live XML');
    },
  },
  {
    id: 'reset-is-told',
    title: 'A reset is told by REBOOT, and the domain keeps its job',
    source: 'virDomainReset; VIR_DOMAIN_EVENT_ID_REBOOT',
    async check(lab) {
      let reboots = 0;
      lab.world.connection.domainEventRegister(EventId.REBOOT, null, () => {
        reboots++;
      });
      await lab.copy();
      await lab.ready();
      await lab.domain.reset();
      await lab.world.until('REBOOT', () => reboots > 0);
      expect((await lab.domain.getBlockJobInfo('vda')) !== null, 'the job is gone after the reset');
    },
  },
  {
    id: 'disk-in-definitions',
    title:
      'A disk is put into the live domain, the definition or both, and taken out of the definition alone',
    source: 'virDomainAttachDeviceFlags, virDomainDetachDeviceFlags, virDomainUpdateDeviceFlags',
    options: PERSISTENT,
    async check(lab) {
      const { domain } = lab;
      const { LIVE, CONFIG } = DeviceModifyFlags;
      const image = { path: lab.path('more'), format: 'qcow2', capacityBytes: CAPACITY_BYTES } as const;
      await lab.world.connection.volumes.create(image);
      const disk = diskXml('vdc', lab.path('more'));
      const where = async () =>
        [0, DomainXMLFlags.INACTIVE].map(async (flags) => (await domain.getXMLDesc(flags)).includes("'vdc'"));
      const shown = async (): Promise<boolean[]> => Promise.all(await where());
      await domain.attachDeviceFlags(disk, CONFIG);
      expectEqual(await shown(), [false, true], 'in the live domain and the definition after CONFIG');
      await domain.detachDeviceFlags(disk, CONFIG);
      expectEqual(await shown(), [false, false], 'in both after the detachment');
      await domain.attachDeviceFlags(disk, LIVE | CONFIG);
      expectEqual(await shown(), [true, true], 'in both after LIVE and CONFIG');
    },
  },
];

/** One contract each. */
export const aroundContracts: readonly Contract[] = [...SNAPSHOTS, ...SAVES, ...DEFINITIONS].map(
  ({ id, title, source, options, needs = [], check }) =>
    example({
      id: `api/${id}`,
      title,
      source,
      needs: ['copy', 'pull', 'commit', 'activeCommit', 'readyEvent', 'extras', ...needs],
      async check(world) {
        await check(await Lab.start(world, options));
      },
    }),
);
