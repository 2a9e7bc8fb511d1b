/**
 * The guard rails of libvirt 9.0: what is refused while a block job runs, with its code, domain and words, and what is
 * not. One contract per kind and phase of the job; each goes through every row of the table.
 */
import {
  DeviceModifyFlags,
  DomainXMLFlags,
  ErrorCode,
  ErrorDomain,
  SnapshotCreateFlags,
  SnapshotDeleteFlags,
} from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual, Violation } from '../../expect.ts';
import { CAPACITY_BYTES, diskXml, Lab, type LabJob } from '../../lab.ts';
import { copyTargetXml } from '../../vm.ts';
import { type Answer, type DomainCall, expectAnswer } from './refusals/row.ts';

/** One operation beside a job. */
export interface GuardRow {
  readonly does: string;
  /** What canaries break; for calls of snapshots and connections none. */
  readonly call?: DomainCall;
  act(lab: Lab): Promise<unknown>;
  readonly mirror: Answer | 'allowed';
  readonly plain: Answer | 'allowed';
}

const both = (answer: Answer | 'allowed') => ({ mirror: answer, plain: answer });
const BUSY = "disk 'vda' already in active block job";
const ownDisk = {
  mirror: { code: ErrorCode.BLOCK_COPY_ACTIVE, says: BUSY },
  plain: { code: ErrorCode.OPERATION_UNSUPPORTED, says: BUSY },
} as const;
const domainBusy = both({ code: ErrorCode.OPERATION_INVALID, says: 'domain has active block job' });
const allowed = both('allowed');
const DUMP_MEMORY_ONLY = 0x10;
const { LIVE } = DeviceModifyFlags;
const { DISK_ONLY, NO_METADATA } = SnapshotCreateFlags;

const snapshotXml = (name: string, disk: string): string =>
  `<domainsnapshot><name>${name}</name><disks>${['vda', 'vdb']
    .map((target) => `<disk name='${target}' snapshot='${target === disk ? 'external' : 'no'}'/>`)
    .join('')}</disks></domainsnapshot>`;
const BEFORE = 'before';
const INSIDE = 'inside';
const cdromXml = (lab: Lab, name: string): string =>
  diskXml('hda', lab.path(name), { bus: 'ide', format: 'raw', device: 'cdrom', extra: '<readonly/>' });

/** Operations that are refused; none of them leaves a trace, so all are tried on one job. */
const REFUSED: readonly GuardRow[] = [
  { does: 'pull', call: 'blockPull', act: ({ domain }) => domain.blockPull('vda'), ...ownDisk },
  { does: 'rebase', call: 'blockRebase', act: ({ domain }) => domain.blockRebase('vda'), ...ownDisk },
  {
    does: 'copy',
    call: 'blockCopy',
    act: (lab) => lab.domain.blockCopy('vda', copyTargetXml(lab.path('new'), 'qcow2'), {}, 4),
    ...ownDisk,
  },
  {
    does: 'commit',
    call: 'blockCommit',
    act: (lab) => lab.domain.blockCommit('vda', null, lab.path('mid')),
    ...ownDisk,
  },
  { does: 'save', call: 'save', act: (lab) => lab.domain.save(lab.path('saved')), ...domainBusy },
  {
    does: 'managed save',
    call: 'managedSave',
    act: ({ domain }) => domain.managedSave(),
    ...domainBusy,
  },
  { does: 'core dump', call: 'coreDump', act: (lab) => lab.domain.coreDump(lab.path('core')), ...domainBusy },
  {
    does: 'migrate',
    call: 'migrateToURI',
    act: ({ domain }) => domain.migrateToURI('qemu:///x'),
    // What can be told of a domain's snapshots is told first.
    ...both({ code: ErrorCode.OPERATION_INVALID, says: 'cannot migrate domain with 2 snapshots' }),
  },
  {
    does: 'external snapshot of the disk',
    call: 'snapshotCreateXML',
    act: ({ domain }) => domain.snapshotCreateXML(snapshotXml('s', 'vda'), DISK_ONLY),
    ...ownDisk,
  },
  {
    does: 'internal snapshot',
    call: 'snapshotCreateXML',
    act: ({ domain }) => domain.snapshotCreateXML('<domainsnapshot/>'),
    ...ownDisk,
  },
  {
    does: 'revert to a snapshot',
    call: 'revertToSnapshot',
    act: async ({ domain }) => domain.revertToSnapshot(await domain.snapshotLookupByName(BEFORE)),
    ...domainBusy,
  },
  {
    does: 'delete an external snapshot',
    act: async ({ domain }) => (await domain.snapshotLookupByName(BEFORE)).delete(),
    ...both({
      code: ErrorCode.OPERATION_UNSUPPORTED,
      says: 'cannot delete external snapshots when there is another active block job',
    }),
  },
  {
    does: 'detach the disk',
    call: 'detachDeviceFlags',
    act: (lab) => lab.domain.detachDeviceFlags(diskXml('vda', lab.path('top')), LIVE),
    ...ownDisk,
  },
  {
    does: 'change the source of the disk',
    call: 'updateDeviceFlags',
    act: (lab) => lab.domain.updateDeviceFlags(diskXml('vda', lab.path('more')), LIVE),
    ...both({
      code: ErrorCode.CONFIG_UNSUPPORTED,
      says: 'disk source can be changed only in removable drives',
    }),
  },
  {
    does: 'resize the disk',
    call: 'blockResize',
    act: ({ domain }) => domain.blockResize('vda', 65_536),
    ...both({
      code: ErrorCode.INTERNAL_ERROR,
      // Every version words it in its own way.
      says: "unable to execute QEMU command 'block_resize': ",
      more: true,
    }),
  },
  {
    does: 'back up',
    call: 'backupBegin',
    act: ({ domain }) => domain.backupBegin(),
    ...both({ code: ErrorCode.INTERNAL_ERROR, says: "disk 'vda' has a blockjob assigned" }),
  },
  {
    does: 'rename',
    call: 'rename',
    act: ({ domain }) => domain.rename('other'),
    ...both({ code: ErrorCode.OPERATION_INVALID, says: 'cannot rename active domain' }),
  },
];

/** Operations that are allowed, in an order in which one does not hinder the next. */
const ALLOWED: readonly GuardRow[] = [
  {
    does: 'dump the memory alone, which is let through to a driver that cannot',
    call: 'coreDump',
    act: (lab) => lab.domain.coreDump(lab.path('core'), DUMP_MEMORY_ONLY),
    ...both({ code: ErrorCode.NO_SUPPORT, domain: ErrorDomain.DOMAIN, says: 'virDomainCoreDump' }),
  },
  {
    does: 'delete an internal snapshot',
    act: async ({ domain }) => (await domain.snapshotLookupByName(INSIDE)).delete(),
    ...allowed,
  },
  {
    does: 'job on another disk',
    call: 'blockPull',
    async act(lab) {
      await lab.domain.blockPull('vdb');
      await lab.idle('vdb');
    },
    ...allowed,
  },
  {
    does: 'snapshot of another disk',
    call: 'snapshotCreateXML',
    act: ({ domain }) => domain.snapshotCreateXML(snapshotXml('s', 'vdb'), DISK_ONLY | NO_METADATA),
    ...allowed,
  },
  {
    does: 'forget a snapshot',
    act: async ({ domain }) =>
      (await domain.snapshotLookupByName(BEFORE)).delete(SnapshotDeleteFlags.METADATA_ONLY),
    ...allowed,
  },
  {
    does: 'migrate, once nothing else stands in the way',
    call: 'migrateToURI',
    act: ({ domain }) => domain.migrateToURI('qemu:///x'),
    ...domainBusy,
  },
  {
    does: 'change a medium',
    call: 'updateDeviceFlags',
    act: (lab) => lab.domain.updateDeviceFlags(cdromXml(lab, 'two.iso'), LIVE),
    ...allowed,
  },
  {
    does: 'attach a disk',
    call: 'attachDeviceFlags',
    act: (lab) => lab.domain.attachDeviceFlags(diskXml('vdx', lab.path('more')), LIVE),
    ...allowed,
  },
  {
    does: 'resize another disk',
    call: 'blockResize',
    act: ({ domain }) => domain.blockResize('vdb', (CAPACITY_BYTES * 2) / 1024),
    ...allowed,
  },
  {
    does: 'threshold',
    call: 'setBlockThreshold',
    act: ({ domain }) => domain.setBlockThreshold('vda', 1 << 30),
    ...allowed,
  },
  {
    does: 'limit the disk',
    call: 'setBlockIoTune',
    act: ({ domain }) => domain.setBlockIoTune('vda', { total_iops_sec: 1_000_000 }),
    ...allowed,
  },
  {
    does: 'read the limits',
    call: 'getBlockIoTune',
    act: ({ domain }) => domain.getBlockIoTune('vda'),
    ...allowed,
  },
  {
    does: 'checkpoint',
    call: 'checkpointCreateXML',
    act: ({ domain }) =>
      domain.checkpointCreateXML(
        `<domaincheckpoint><name>c</name><disks><disk name='vda'/></disks></domaincheckpoint>`,
      ),
    ...allowed,
  },
  {
    does: 'delete a checkpoint',
    call: 'checkpointLookupByName',
    act: async ({ domain }) => (await domain.checkpointLookupByName('c')).delete(),
    ...allowed,
  },
  {
    does: 'autostart',
    call: 'setAutostart',
    act: ({ domain }) => domain.setAutostart(true),
    ...allowed,
  },
  {
    does: 'define',
    async act({ domain, world }) {
      await world.connection.defineXML(await domain.getXMLDesc(DomainXMLFlags.INACTIVE));
    },
    ...allowed,
  },
  { does: 'suspend', call: 'suspend', act: ({ domain }) => domain.suspend(), ...allowed },
  { does: 'undefine', call: 'undefine', act: ({ domain }) => domain.undefine(), ...allowed },
  {
    does: 'managed save of a transient domain',
    call: 'managedSave',
    act: ({ domain }) => domain.managedSave(),
    ...both({
      code: ErrorCode.OPERATION_INVALID,
      says: 'cannot do managed save for transient domain',
    }),
  },
  { does: 'resume', call: 'resume', act: ({ domain }) => domain.resume(), ...allowed },
  { does: 'reset', call: 'reset', act: ({ domain }) => domain.reset(), ...allowed },
  // No guest here listens to its power button.
  { does: 'shut down', call: 'shutdown', act: ({ domain }) => domain.shutdown(), ...allowed },
];

/** Every operation. */
export const guardRows: readonly GuardRow[] = [...REFUSED, ...ALLOWED];

/** Each kind and phase of a job, and which column it belongs to. */
export const PHASES: readonly (readonly [LabJob, 'mirror' | 'plain'])[] = [
  ['copy', 'mirror'],
  ['ready-copy', 'mirror'],
  ['active-commit', 'mirror'],
  ['ready-active-commit', 'mirror'],
  ['pull', 'plain'],
  ['commit', 'plain'],
];

async function tryRow(lab: Lab, row: GuardRow, column: 'mirror' | 'plain', job: LabJob): Promise<void> {
  const answer = row[column];
  const what = `'${row.does}' beside a ${job}`;
  if (answer !== 'allowed') {
    const before = await lab.stateXml();
    await expectAnswer(lab, row.act(lab), answer, what);
    expectEqual(await lab.stateXml(), before, `domain XML after ${what}`);
    return;
  }
  await row.act(lab).catch((error: unknown) => {
    throw new Violation(`${what} was refused: ${error instanceof Error ? error.message : String(error)}`);
  });
}

/** One contract per kind and phase of the job. */
export const guardContracts: readonly Contract[] = PHASES.map(([job, column]) =>
  example({
    id: `api/guards/${job}`,
    title: `Beside a ${job} of its disk each operation is refused, or let through, as libvirt does it`,
    source:
      'libvirt 9.0, every row seen: qemuDomainHasBlockjob, qemuDomainDiskBlockJobIsActive and their callers',
    needs: ['copy', 'pull', 'commit', 'activeCommit', 'readyEvent', 'extras'],
    async check(world) {
      const lab = await Lab.start(world, { persistent: true, data: true, disks: ['cdrom', 'more'] });
      await lab.domain.snapshotCreateXML(snapshotXml(BEFORE, 'vdb'), DISK_ONLY);
      await lab.domain.snapshotCreateXML(`<domainsnapshot><name>${INSIDE}</name></domainsnapshot>`);
      await lab.startJob(job);
      for (const row of REFUSED) await tryRow(lab, row, column, job);
      expectEqual(await lab.present(['new', 'saved', 'core']), [], 'files after the refusals');
      for (const row of ALLOWED) await tryRow(lab, row, column, job);
      expect(await lab.domain.getBlockJobInfo('vda'), `the ${job} did not outlive what is allowed beside it`);
      const told = lab.seen.filter((line) => line.startsWith('job vda') && !line.endsWith(' 3'));
      expectEqual(told, [], 'ends of jobs of vda');
      await lab.domain.destroy();
      expectEqual(lab.seen.slice(-2), ['life 6 2', 'life 5 1'], 'last events');
    },
  }),
);
