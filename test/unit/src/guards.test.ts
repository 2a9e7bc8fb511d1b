/** Guard rails of libvirt 9.0: every operation beside every kind of job, each cell observed on a live libvirt. */
import { describe, expect, test } from 'vitest';
import { GUARDS, type GuardedOperation } from '../../../src/guards.ts';
import { ErrorCode, SnapshotCreateFlags, VirtError } from '../../../src/index.ts';
import {
  boot,
  COPY,
  cdromXml,
  diskXml,
  domainXml,
  type JobKind,
  type Lab,
  MIRRORS,
  PLAIN,
  refusal,
  startJob,
} from './lab.ts';

type Answer = readonly [number, number, string] | undefined;

const BUSY = "disk 'vda' already in active block job";
const MIRROR: Answer = [83, 10, `block copy still active: ${BUSY}`];
const JOB: Answer = [84, 10, `Operation not supported: ${BUSY}`];
const DOMAIN: Answer = [55, 10, 'Requested operation is not valid: domain has active block job'];
const DELETE: Answer = [
  84,
  10,
  'Operation not supported: cannot delete external snapshots when there is another active block job',
];
const IN_USE: Answer = [
  1,
  10,
  "internal error: unable to execute QEMU command 'block_resize': Device '(null)' is in use",
];
const ALLOWED: Answer = undefined;
const DUMP_MEMORY_ONLY = 0x10;
const snapshotXml = (disk: string, name = 's'): string =>
  `<domainsnapshot><name>${name}</name><disks>${['vda', 'vdb', 'vdc', 'vds', 'vdt', 'sdd']
    .map((target) => `<disk name='${target}' snapshot='${target === disk ? 'external' : 'no'}'/>`)
    .join('')}</disks></domainsnapshot>`;

interface Row {
  readonly does: string;
  readonly guard: GuardedOperation | 'none';
  readonly call: (lab: Lab) => Promise<unknown>;
  readonly mirror: Answer;
  readonly plain: Answer;
}

const both = (answer: Answer) => ({ mirror: answer, plain: answer });
const perDisk = { mirror: MIRROR, plain: JOB };
const noCall = (name: string): Answer => [
  3,
  20,
  `this function is not supported by the connection driver: ${name}`,
];

const ROWS: readonly Row[] = [
  { does: 'pull', guard: 'start-job', call: ({ domain }) => domain.blockPull('vda'), ...perDisk },
  { does: 'rebase', guard: 'start-job', call: ({ domain }) => domain.blockRebase('vda'), ...perDisk },
  {
    does: 'copy',
    guard: 'start-job',
    call: ({ domain }) => domain.blockCopy('vda', COPY, {}, 4),
    ...perDisk,
  },
  {
    does: 'commit',
    guard: 'start-job',
    call: ({ domain }) => domain.blockCommit('vda', null, '/img/mid'),
    ...perDisk,
  },
  {
    does: 'job on another disk',
    guard: 'start-job',
    call: ({ domain }) => domain.blockPull('vdc'),
    ...both(ALLOWED),
  },
  { does: 'save', guard: 'save', call: ({ domain }) => domain.save('/save/x'), ...both(DOMAIN) },
  {
    does: 'managed save',
    guard: 'managed-save',
    call: ({ domain }) => domain.managedSave(),
    ...both(DOMAIN),
  },
  { does: 'core dump', guard: 'core-dump', call: ({ domain }) => domain.coreDump('/d'), ...both(DOMAIN) },
  {
    does: 'memory-only dump, which is let through to the driver',
    guard: 'core-dump-memory',
    call: ({ domain }) => domain.coreDump('/d', DUMP_MEMORY_ONLY),
    ...both(noCall('virDomainCoreDump')),
  },
  {
    does: 'migrate',
    guard: 'migrate',
    call: ({ domain }) => domain.migrateToURI('qemu:///x'),
    ...both(DOMAIN),
  },
  {
    does: 'snapshot of the disk',
    guard: 'snapshot-create',
    call: ({ domain }) => domain.snapshotCreateXML(snapshotXml('vda'), SnapshotCreateFlags.DISK_ONLY),
    ...perDisk,
  },
  {
    does: 'internal snapshot',
    guard: 'snapshot-create',
    call: ({ domain }) => domain.snapshotCreateXML('<domainsnapshot/>'),
    ...perDisk,
  },
  {
    does: 'snapshot of another disk',
    guard: 'snapshot-create',
    call: ({ domain }) => domain.snapshotCreateXML(snapshotXml('vdb'), SnapshotCreateFlags.DISK_ONLY),
    ...both(ALLOWED),
  },
  {
    does: 'revert to a snapshot',
    guard: 'snapshot-revert',
    call: async ({ domain }) => domain.revertToSnapshot(await domain.snapshotLookupByName('before')),
    ...both(DOMAIN),
  },
  {
    does: 'delete an external snapshot',
    guard: 'snapshot-delete-external',
    call: async ({ domain }) => (await domain.snapshotLookupByName('before')).delete(),
    ...both(DELETE),
  },
  {
    does: 'forget a snapshot',
    guard: 'snapshot-delete-internal',
    call: async ({ domain }) => (await domain.snapshotLookupByName('before')).delete(2),
    ...both(ALLOWED),
  },
  {
    does: 'detach the disk',
    guard: 'detach-disk',
    call: ({ domain }) => domain.detachDeviceFlags(diskXml('vda', '/img/top'), 1),
    ...perDisk,
  },
  {
    does: 'change the source of the disk',
    guard: 'none',
    call: ({ domain }) => domain.updateDeviceFlags(diskXml('vda', '/img/more'), 1),
    ...both([67, 10, 'unsupported configuration: disk source can be changed only in removable drives']),
  },
  {
    does: 'change another medium',
    guard: 'change-medium',
    call: ({ domain }) => domain.updateDeviceFlags(cdromXml('/img/cd2'), 1),
    ...both(ALLOWED),
  },
  {
    does: 'attach a disk',
    guard: 'attach-disk',
    call: ({ domain }) => domain.attachDeviceFlags(diskXml('vdx', '/img/more'), 1),
    ...both(ALLOWED),
  },
  {
    does: 'resize the disk',
    guard: 'resize',
    call: ({ domain }) => domain.blockResize('vda', 8192),
    ...both(IN_USE),
  },
  {
    does: 'resize another disk',
    guard: 'resize',
    call: ({ domain }) => domain.blockResize('vdb', 8192),
    ...both(ALLOWED),
  },
  {
    does: 'backup',
    guard: 'backup-begin',
    call: ({ domain }) => domain.backupBegin(),
    ...both([1, 10, "internal error: disk 'vda' has a blockjob assigned"]),
  },
  {
    does: 'threshold',
    guard: 'threshold',
    call: ({ domain }) => domain.setBlockThreshold('vda', 1),
    ...both(ALLOWED),
  },
  {
    does: 'define',
    guard: 'define',
    call: ({ connection }) => connection.defineXML(domainXml()),
    ...both(ALLOWED),
  },
  { does: 'undefine', guard: 'undefine', call: ({ domain }) => domain.undefine(), ...both(ALLOWED) },
  { does: 'suspend', guard: 'suspend', call: ({ domain }) => domain.suspend(), ...both(ALLOWED) },
  {
    does: 'resume',
    guard: 'resume',
    call: async ({ domain }) => {
      await domain.suspend();
      await domain.resume();
    },
    ...both(ALLOWED),
  },
  { does: 'reset', guard: 'reset', call: ({ domain }) => domain.reset(), ...both(ALLOWED) },
  { does: 'shutdown', guard: 'shutdown', call: ({ domain }) => domain.shutdown(), ...both(ALLOWED) },
  { does: 'destroy', guard: 'destroy', call: ({ domain }) => domain.destroy(), ...both(ALLOWED) },
  {
    does: 'rename',
    guard: 'none',
    call: ({ domain }) => domain.rename('other'),
    ...both([55, 10, 'Requested operation is not valid: cannot rename active domain']),
  },
];

/** Operations that libvirt has and this project has no call for: nothing is refused, so there is nothing to see. */
const WITHOUT_CALL: ReadonlySet<GuardedOperation> = new Set(['checkpoint-create', 'iotune']);

/** A persistent domain with a snapshot of another disk from before the job. */
async function busy(kind: JobKind): Promise<Lab> {
  const lab = await boot({ persistent: true });
  await lab.domain.snapshotCreateXML(snapshotXml('vdb', 'before'), SnapshotCreateFlags.DISK_ONLY);
  await startJob(lab, kind);
  lab.machine.on.resizeDisk = (argument) => {
    const { disk } = argument as { disk: string };
    if (disk !== 'vda') return;
    throw new VirtError(
      ErrorCode.INTERNAL_ERROR,
      "unable to execute QEMU command 'block_resize': Device '(null)' is in use",
    );
  };
  return lab;
}

/** Migration of a domain with snapshots is refused before its jobs are looked at. */
async function situation(row: Row, kind: JobKind): Promise<Lab> {
  const lab = await busy(kind);
  if (row.guard === 'migrate') await (await lab.domain.snapshotLookupByName('before')).delete(2);
  return lab;
}

describe.each([...MIRRORS, ...PLAIN])('beside a %s', (kind) => {
  const column = MIRRORS.includes(kind) ? 'mirror' : 'plain';
  test.each(ROWS.map((row) => [row.does, row] as const))('%s', async (_does, row) => {
    const lab = await situation(row, kind);
    expect(await refusal(row.call(lab))).toEqual(row[column]);
  });
});

test('every row of the table is reached by an operation', () => {
  const reached = new Set<string>(ROWS.map(({ guard }) => guard));
  const unreached = Object.keys(GUARDS).filter((operation) => !reached.has(operation));
  expect(unreached).toEqual([...WITHOUT_CALL]);
});

test('a managed save of a transient domain is refused for that, job or not', async () => {
  const lab = await boot();
  await startJob(lab, 'copy');
  const message = 'Requested operation is not valid: cannot do managed save for transient domain';
  expect(await refusal(lab.domain.managedSave())).toEqual([55, 10, message]);
});
