/** Connections that change nothing: every call that would is refused ahead of its other checks, what only tells is not. */
import {
  type Connection,
  type Domain,
  type DomainCheckpoint,
  type DomainSnapshot,
  DomainXMLFlags,
  ErrorCode,
  ErrorDomain,
  EventId,
  SnapshotCreateFlags,
} from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual, Violation } from '../../expect.ts';
import { Lab } from '../../lab.ts';
import type { World } from '../../world.ts';
import { expectAnswer } from './refusals/row.ts';

/** What a reader holds. */
interface Reader {
  readonly connection: Connection;
  readonly domain: Domain;
  readonly snapshot: DomainSnapshot;
  readonly checkpoint: DomainCheckpoint;
}

/** One call of a reader. */
export interface ReadOnlyRow {
  readonly on: 'connection' | 'domain' | 'snapshot' | 'checkpoint';
  /** What canaries break. */
  readonly call: string;
  act(reader: Reader): Promise<unknown>;
  /** What it is refused with, after `operation forbidden: `; left out: it is let through. */
  readonly says?: string;
  readonly part?: number;
}

const prevents = (name: string) => `read only access prevents ${name}`;
const { DOMAIN_SNAPSHOT, DOMAIN_CHECKPOINT, STORAGE, NONE } = ErrorDomain;
const { SECURE, MIGRATABLE, INACTIVE } = DomainXMLFlags;
const NO_DISK = 'vdz';
const NO_XML = '<nothing/>';

/** Arguments that would be refused for themselves: the access is looked at first. */
const DOMAIN_REFUSED: readonly (readonly [
  call: string,
  name: string,
  act: (domain: Domain) => Promise<unknown>,
  part?: number,
])[] = [
  ['create', 'virDomainCreateWithFlags', (domain) => domain.create(0x1000)],
  ['destroy', 'virDomainDestroyFlags', (domain) => domain.destroy()],
  ['shutdown', 'virDomainShutdownFlags', (domain) => domain.shutdown()],
  ['reboot', 'virDomainReboot', (domain) => domain.reboot()],
  ['reset', 'virDomainReset', (domain) => domain.reset()],
  ['suspend', 'virDomainSuspend', (domain) => domain.suspend()],
  ['resume', 'virDomainResume', (domain) => domain.resume()],
  ['undefine', 'virDomainUndefineFlags', (domain) => domain.undefine()],
  ['save', 'virDomainSaveFlags', (domain) => domain.save('relative')],
  ['managedSave', 'virDomainManagedSave', (domain) => domain.managedSave()],
  ['managedSaveRemove', 'virDomainManagedSaveRemove', (domain) => domain.managedSaveRemove()],
  ['blockPull', 'virDomainBlockPull', (domain) => domain.blockPull(NO_DISK, 0, 1)],
  ['blockRebase', 'virDomainBlockRebase', (domain) => domain.blockRebase(NO_DISK, null, 0, 8)],
  ['blockCopy', 'virDomainBlockCopy', (domain) => domain.blockCopy(NO_DISK, NO_XML)],
  ['blockCommit', 'virDomainBlockCommit', (domain) => domain.blockCommit(NO_DISK)],
  ['blockJobAbort', 'virDomainBlockJobAbort', (domain) => domain.blockJobAbort(NO_DISK)],
  ['blockJobSetSpeed', 'virDomainBlockJobSetSpeed', (domain) => domain.blockJobSetSpeed(NO_DISK, 1)],
  ['blockResize', 'virDomainBlockResize', (domain) => domain.blockResize(NO_DISK, 1)],
  ['setBlockThreshold', 'virDomainSetBlockThreshold', (domain) => domain.setBlockThreshold(NO_DISK, 1)],
  ['setBlockIoTune', 'virDomainSetBlockIoTune', (domain) => domain.setBlockIoTune(NO_DISK, {})],
  ['attachDeviceFlags', 'virDomainAttachDeviceFlags', (domain) => domain.attachDeviceFlags(NO_XML)],
  ['detachDeviceFlags', 'virDomainDetachDeviceFlags', (domain) => domain.detachDeviceFlags(NO_XML)],
  ['updateDeviceFlags', 'virDomainUpdateDeviceFlags', (domain) => domain.updateDeviceFlags(NO_XML)],
  ['setAutostart', 'virDomainSetAutostart', (domain) => domain.setAutostart(true)],
  ['coreDump', 'virDomainCoreDump', (domain) => domain.coreDump('core')],
  ['migrateToURI', 'virDomainMigrateToURI', (domain) => domain.migrateToURI('qemu:///x')],
  ['backupBegin', 'virDomainBackupBegin', (domain) => domain.backupBegin()],
  ['rename', 'virDomainRename', (domain) => domain.rename('other')],
  [
    'qemuMonitorCommand',
    'virDomainQemuMonitorCommand',
    (domain) => domain.qemuMonitorCommand('{"execute":"query-status"}'),
    NONE,
  ],
  [
    'snapshotCreateXML',
    'virDomainSnapshotCreateXML',
    (domain) => domain.snapshotCreateXML(NO_XML, SnapshotCreateFlags.CURRENT),
    DOMAIN_SNAPSHOT,
  ],
  [
    'checkpointCreateXML',
    'virDomainCheckpointCreateXML',
    (domain) => domain.checkpointCreateXML(NO_XML, 2),
    DOMAIN_CHECKPOINT,
  ],
];

const CONNECTION_REFUSED: readonly ReadOnlyRow[] = (
  [
    ['defineXML', 'virDomainDefineXMLFlags'],
    ['createXML', 'virDomainCreateXML'],
    ['restore', 'virDomainRestoreFlags'],
  ] as const
).map(([call, name]) => ({
  on: 'connection',
  call,
  act: ({ connection }) => connection[call](NO_XML, 0x1000),
  says: prevents(name),
}));

/** Every call that is refused. */
export const REFUSED_TO_READERS: readonly ReadOnlyRow[] = [
  ...CONNECTION_REFUSED,
  ...DOMAIN_REFUSED.map(
    ([call, name, act, part]): ReadOnlyRow => ({
      on: 'domain',
      call,
      act: ({ domain }) => act(domain),
      says: prevents(name),
      ...(part !== undefined && { part }),
    }),
  ),
  {
    on: 'domain',
    call: 'revertToSnapshot',
    act: ({ domain, snapshot }) => domain.revertToSnapshot(snapshot, 3),
    says: prevents('virDomainRevertToSnapshot'),
    part: DOMAIN_SNAPSHOT,
  },
  ...[SECURE, MIGRATABLE].map(
    (flag): ReadOnlyRow => ({
      on: 'domain',
      call: 'getXMLDesc',
      act: ({ domain }) => domain.getXMLDesc(flag),
      says: 'virDomainGetXMLDesc with secure flag',
    }),
  ),
  {
    on: 'snapshot',
    call: 'delete',
    act: ({ snapshot }) => snapshot.delete(5),
    says: prevents('virDomainSnapshotDelete'),
    part: DOMAIN_SNAPSHOT,
  },
  {
    on: 'snapshot',
    call: 'getXMLDesc',
    act: ({ snapshot }) => snapshot.getXMLDesc(SECURE),
    says: 'virDomainSnapshotGetXMLDesc with secure flag',
    part: DOMAIN_SNAPSHOT,
  },
  {
    on: 'checkpoint',
    call: 'delete',
    act: ({ checkpoint }) => checkpoint.delete(5),
    says: prevents('virDomainCheckpointDelete'),
    part: DOMAIN_CHECKPOINT,
  },
  {
    on: 'checkpoint',
    call: 'getXMLDesc',
    act: ({ checkpoint }) => checkpoint.getXMLDesc(SECURE),
    says: 'virDomainCheckpointGetXMLDesc with secure flag',
    part: DOMAIN_CHECKPOINT,
  },
  {
    on: 'connection',
    call: 'volumes',
    act: ({ connection }) =>
      connection.volumes.create({ path: '/none', format: 'qcow2', capacityBytes: 65_536 }),
    says: prevents('virStorageVolCreateXML'),
    part: STORAGE,
  },
];

/** Calls that only tell. */
export const OPEN_TO_READERS: readonly ReadOnlyRow[] = [
  ...(
    [
      ['getXMLDesc', (domain) => domain.getXMLDesc(INACTIVE)],
      ['getState', (domain) => domain.getState()],
      ['getBlockJobInfo', (domain) => domain.getBlockJobInfo('vda')],
      ['hasManagedSaveImage', (domain) => domain.hasManagedSaveImage()],
      ['getBlockIoTune', (domain) => domain.getBlockIoTune('vda')],
      ['getAutostart', (domain) => domain.getAutostart()],
      ['listAllSnapshots', (domain) => domain.listAllSnapshots()],
      ['snapshotNum', (domain) => domain.snapshotNum()],
      ['snapshotCurrent', (domain) => domain.snapshotCurrent()],
      ['listAllCheckpoints', (domain) => domain.listAllCheckpoints()],
      ['hasCurrentSnapshot', (domain) => domain.hasCurrentSnapshot()],
    ] satisfies (readonly [keyof Domain, (domain: Domain) => Promise<unknown>])[]
  ).map(([call, act]): ReadOnlyRow => ({ on: 'domain', call, act: ({ domain }) => act(domain) })),
  ...(['getXMLDesc', 'isCurrent', 'hasMetadata', 'listAllChildren'] as const).map(
    (call): ReadOnlyRow => ({
      on: 'snapshot',
      call,
      act: ({ snapshot }) => snapshot[call](),
    }),
  ),
  { on: 'checkpoint', call: 'getXMLDesc', act: ({ checkpoint }) => checkpoint.getXMLDesc(4) },
  { on: 'checkpoint', call: 'listAllChildren', act: ({ checkpoint }) => checkpoint.listAllChildren() },
  { on: 'connection', call: 'listAllDomains', act: ({ connection }) => connection.listAllDomains() },
];

async function start(lab: Lab): Promise<Reader> {
  await lab.snapshot(SnapshotCreateFlags.DISK_ONLY);
  await lab.domain.checkpointCreateXML(
    "<domaincheckpoint><name>point</name><disks><disk name='vda'/></disks></domaincheckpoint>",
  );
  const connection = lab.world.connection.openReadOnly();
  const domain = await connection.lookupByName('lab');
  const snapshot = await domain.snapshotLookupByName('snap');
  return { connection, domain, snapshot, checkpoint: await domain.checkpointLookupByName('point') };
}

const SOURCE = 'libvirt 9.0: virCheckReadOnlyGoto in libvirt-domain*.c; seen, call by call';
const NEEDS = ['extras'] as const;

/** What readers can do and cannot. */
export const readOnlyContracts: readonly Contract[] = [
  example({
    id: 'api/read-only/refused',
    title: 'A connection for reading refuses every call that changes anything, ahead of all other checks',
    source: SOURCE,
    needs: NEEDS,
    async check(world) {
      const lab = await Lab.start(world, { persistent: true });
      const reader = await start(lab);
      const before = await lab.stateXml();
      for (const { on, call, act, says = '', part = ErrorDomain.DOMAIN } of REFUSED_TO_READERS) {
        const answer = { code: ErrorCode.OPERATION_DENIED, domain: part, says };
        await expectAnswer(lab, act(reader), answer, `${on}.${call} of a reader`);
      }
      expectEqual(await lab.stateXml(), before, 'domain XML after the refusals');
    },
  }),
  example({
    id: 'api/read-only/allowed',
    title: 'A connection for reading answers what only tells, also of jobs, and hears events',
    source: `${SOURCE}; virDomainGetBlockJobInfo is let through`,
    needs: ['extras', 'copy', 'readyEvent'],
    async check(world) {
      const lab = await Lab.start(world, { persistent: true, data: true });
      const reader = await start(lab);
      const heard: string[] = [];
      reader.connection.domainEventRegister(EventId.BLOCK_JOB_2, reader.domain, ({ domain, disk }) => {
        expectEqual(domain.name, 'lab', 'domain of an event');
        heard.push(disk);
      });
      await lab.startJob('ready-copy');
      for (const { on, call, act } of OPEN_TO_READERS) {
        await act(reader).catch((error: unknown) => {
          throw new Violation(`${on}.${call} of a reader was refused: ${String(error)}`);
        });
      }
      expectEqual(
        (await reader.domain.getBlockJobInfo('vda'))?.type,
        2,
        'type of the job that a reader sees',
      );
      expectEqual(heard, ['vda'], 'events that a reader heard');
      await reader.connection.close();
      expect(lab.domain.isActive(), 'the domain ended when its reader left');
      await lab.domain.blockJobAbort('vda');
      expectEqual(heard, ['vda'], 'events that a reader heard after it had left');
    },
  }),
  example({
    id: 'api/autostart',
    title: 'Whether a domain starts with its host is kept with its definition, and lists tell by it',
    source: 'virDomainSetAutostart, virConnectListAllDomains: VIR_CONNECT_LIST_DOMAINS_AUTOSTART; seen',
    needs: [],
    check: autostart,
  }),
];

const LIST_AUTOSTART = 0x400;
const LIST_NO_AUTOSTART = 0x800;

async function autostart(world: World): Promise<void> {
  const lab = await Lab.start(world, { inactive: true });
  const { domain } = lab;
  const { connection } = world;
  const listed = async (flags: number) => (await connection.listAllDomains(flags)).map(({ name }) => name);
  expectEqual(await domain.getAutostart(), false, 'autostart of a domain that was just defined');
  await domain.setAutostart(true);
  expectEqual(await domain.getAutostart(), true, 'autostart once it is set');
  expectEqual(await listed(LIST_AUTOSTART), ['lab'], 'domains that start with the host');
  expectEqual(await listed(LIST_NO_AUTOSTART), [], 'domains that do not');
  await connection.defineXML(await domain.getXMLDesc(INACTIVE));
  expectEqual(await domain.getAutostart(), true, 'autostart after a redefinition');
  await domain.create();
  await domain.undefine();
  expectEqual(await domain.getAutostart(), false, 'autostart of a domain that is transient now');
  await expectAnswer(
    lab,
    domain.setAutostart(true),
    { code: ErrorCode.OPERATION_INVALID, says: 'cannot set autostart for transient domain' },
    'autostart of a transient domain',
  );
}
