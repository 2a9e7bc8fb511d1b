/** What the calls of the family do when they are taken: names, sizes, files, events. */
import {
  BlockCommitFlags,
  BlockCopyFlags,
  BlockJobAbortFlags,
  BlockJobStatus,
  BlockJobType,
  BlockPullFlags,
  BlockRebaseFlags,
  BlockResizeFlags,
  DomainXMLFlags,
  LifecycleEvent,
  SnapshotCreateFlags,
} from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual, Violation } from '../../expect.ts';
import { CAPACITY_BYTES, diskXml, Lab, type LabOptions } from '../../lab.ts';
import { readDisk } from '../../xml.ts';

const R = BlockRebaseFlags;
const C = BlockCommitFlags;
const { PIVOT, ASYNC } = BlockJobAbortFlags;
const GUEST_DISK = '/machine/peripheral/virtio-disk0/virtio-backend';

interface Effect {
  readonly id: string;
  readonly title: string;
  readonly source: string;
  readonly options?: LabOptions;
  check(lab: Lab): Promise<void>;
}

/** A speed that can be one in bytes/s and would overflow as MiB/s. */
const BYTES_ONLY = 2n ** 43n;

const done = (type: number, status: number): string => `job vda ${type} ${status}`;

const EFFECTS: readonly Effect[] = [
  {
    id: 'pull-whole-chain',
    title: 'A pull of the whole chain leaves one image, in the XML and in the header, and one COMPLETED',
    source: 'virDomainBlockPull',
    async check(lab) {
      await lab.domain.blockPull('vda', BYTES_ONLY, BlockPullFlags.BANDWIDTH_BYTES);
      await lab.idle();
      expectEqual(await lab.chain(), ['top'], 'chain');
      expectEqual(await lab.backingName('top'), undefined, 'backing file in the header');
      expectEqual(
        lab.seen.filter((line) => line.startsWith('job')),
        [done(BlockJobType.PULL, BlockJobStatus.COMPLETED)],
        'events',
      );
    },
  },
  {
    id: 'rebase-keeps-base',
    title: 'A rebase pulls what is above the base and keeps the base, under its absolute name',
    source: 'virDomainBlockRebase',
    async check(lab) {
      await lab.domain.blockRebase('vda', lab.path('low'), 1, 0);
      await lab.idle();
      expectEqual(await lab.chain(), ['top', 'low', 'base'], 'chain');
      expectEqual(await lab.backingName('top'), lab.path('low'), 'backing file in the header');
    },
  },
  {
    id: 'rebase-bandwidth-bytes',
    title: 'A rebase takes its speed in bytes/s, as much as fits, and its base as an index of the chain',
    source: 'virDomainBlockRebase: VIR_DOMAIN_BLOCK_REBASE_BANDWIDTH_BYTES, "vda[N]"',
    async check(lab) {
      const indexes = [...(await lab.domain.getXMLDesc()).matchAll(/<backingStore [^>]*index='(\d+)'/g)];
      await lab.domain.blockRebase('vda', `vda[${indexes[2]?.[1]}]`, BYTES_ONLY, R.BANDWIDTH_BYTES);
      await lab.idle();
      expectEqual(await lab.chain(), ['top', 'base'], 'chain');
    },
  },
  {
    id: 'rebase-relative',
    title: 'RELATIVE keeps the name in the header relative',
    source: 'virDomainBlockRebase: VIR_DOMAIN_BLOCK_REBASE_RELATIVE',
    async check(lab) {
      await lab.domain.blockRebase('vda', lab.path('base'), 0, R.RELATIVE);
      await lab.idle();
      expectEqual(await lab.backingName('top'), 'base', 'backing file in the header');
    },
  },
  {
    id: 'rebase-copy',
    title: 'A rebase with COPY is a copy, raw if it is told to',
    source: 'virDomainBlockRebase: VIR_DOMAIN_BLOCK_REBASE_COPY, COPY_RAW',
    async check(lab) {
      await lab.domain.blockRebase('vda', lab.path('copy'), 0, R.COPY | R.COPY_RAW);
      await lab.ready();
      await lab.domain.blockJobAbort('vda', PIVOT);
      expectEqual(await lab.chain(), ['copy'], 'chain');
      expect((await lab.domain.getXMLDesc()).includes("type='raw'"), 'the copy is not raw');
    },
  },
  {
    id: 'rebase-copy-shallow-reused',
    title:
      'A shallow rebase with COPY and REUSE_EXT uses the file that is there, above the same backing chain',
    source: 'virDomainBlockRebase: VIR_DOMAIN_BLOCK_REBASE_SHALLOW, REUSE_EXT',
    async check(lab) {
      await makeReusable(lab);
      await lab.domain.blockRebase('vda', lab.path('ready-made'), 0, R.COPY | R.SHALLOW | R.REUSE_EXT);
      await lab.ready();
      await lab.domain.blockJobAbort('vda', PIVOT);
      expectEqual(await lab.chain(), ['ready-made', 'mid', 'low', 'base'], 'chain');
    },
  },
  {
    id: 'copy-reused',
    title: 'A shallow copy with REUSE_EXT uses the file that is there and keeps it after an abort',
    source: 'virDomainBlockCopy: VIR_DOMAIN_BLOCK_COPY_REUSE_EXT, SHALLOW',
    async check(lab) {
      await makeReusable(lab);
      await lab.copy(BlockCopyFlags.SHALLOW | BlockCopyFlags.REUSE_EXT, 'ready-made');
      await lab.ready();
      await lab.domain.blockJobAbort('vda');
      expectEqual(await lab.present(['ready-made']), ['ready-made'], 'file after the abort');
    },
  },
  {
    id: 'copy-shallow',
    title: 'A shallow copy holds the active image only, above the same backing chain',
    source: 'virDomainBlockCopy: VIR_DOMAIN_BLOCK_COPY_SHALLOW',
    async check(lab) {
      await lab.copy(BlockCopyFlags.SHALLOW);
      await lab.ready();
      await lab.domain.blockJobAbort('vda', PIVOT);
      expectEqual(await lab.chain(), ['copy', 'mid', 'low', 'base'], 'chain');
    },
  },
  {
    id: 'copy-synchronous-writes',
    title: 'With SYNCHRONOUS_WRITES a write is in the copy when it is done, without the job, which can pivot',
    source: 'virDomainBlockCopy: VIR_DOMAIN_BLOCK_COPY_SYNCHRONOUS_WRITES',
    async check(lab) {
      await lab.copy(BlockCopyFlags.SYNCHRONOUS_WRITES);
      await lab.ready();
      const before = await soleJob(lab);
      await monitor(lab, 'block-job-pause', { device: before.device });
      await lab.world.until('a job that stands still', async () => (await soleJob(lab)).status === 'standby');
      await lab.domain.qemuMonitorCommand(`qemu-io -d ${GUEST_DISK} "write -P 1 1048576 65536"`, 1);
      const { offset } = await soleJob(lab);
      expectEqual(
        offset - before.offset,
        65_536,
        'what the write alone has copied, while the job stood still',
      );
      await monitor(lab, 'block-job-resume', { device: before.device });
      await lab.domain.blockJobAbort('vda', PIVOT | ASYNC);
      await lab.until('COMPLETED', (line) => line === done(BlockJobType.COPY, BlockJobStatus.COMPLETED));
      expectEqual(await lab.chain(), ['copy'], 'chain');
    },
  },
  {
    id: 'commit-intermediate',
    title:
      'A commit below the active image takes the committed images out of the chain and keeps their files',
    source: 'virDomainBlockCommit',
    async check(lab) {
      await lab.domain.blockCommit('vda', lab.path('base'), lab.path('mid'), 1);
      await lab.idle();
      expectEqual(await lab.chain(), ['top', 'base'], 'chain');
      expectEqual(
        lab.seen.filter((line) => line.startsWith('job')),
        [done(BlockJobType.COMMIT, BlockJobStatus.COMPLETED)],
        'events',
      );
      expectEqual(await lab.present(), ['base', 'low', 'mid', 'top'], 'files');
    },
  },
  {
    id: 'commit-shallow',
    title: 'SHALLOW commits into the image right below',
    source: 'virDomainBlockCommit: VIR_DOMAIN_BLOCK_COMMIT_SHALLOW, BANDWIDTH_BYTES',
    async check(lab) {
      await lab.domain.blockCommit('vda', null, lab.path('mid'), BYTES_ONLY, C.SHALLOW | C.BANDWIDTH_BYTES);
      await lab.idle();
      expectEqual(await lab.chain(), ['top', 'low', 'base'], 'chain');
    },
  },
  {
    id: 'commit-relative',
    title: 'RELATIVE keeps the name in the header of the image above relative',
    source: 'virDomainBlockCommit: VIR_DOMAIN_BLOCK_COMMIT_RELATIVE',
    async check(lab) {
      await lab.domain.blockCommit('vda', lab.path('base'), lab.path('low'), 0, C.RELATIVE);
      await lab.idle();
      expectEqual(await lab.backingName('mid'), 'base', 'backing file in the header');
    },
  },
  {
    id: 'commit-delete',
    title: 'DELETE unlinks the committed images once the commit is through',
    source: 'virDomainBlockCommit: VIR_DOMAIN_BLOCK_COMMIT_DELETE',
    async check(lab) {
      await lab.domain.blockCommit('vda', lab.path('base'), lab.path('mid'), 0, C.DELETE);
      await lab.idle();
      expectEqual(await lab.present(), ['base', 'top'], 'files');
    },
  },
  {
    id: 'commit-active-pivot',
    title: 'An active commit becomes READY, and a pivot makes the base the active image',
    source: 'virDomainBlockCommit: VIR_DOMAIN_BLOCK_COMMIT_ACTIVE',
    async check(lab) {
      await lab.domain.blockCommit('vda', null, null, 0, C.ACTIVE);
      await lab.ready();
      expectEqual((await lab.view()).mirror?.job, 'active-commit', 'job of the mirror');
      await lab.domain.blockJobAbort('vda', PIVOT);
      expectEqual(await lab.chain(), ['base'], 'chain');
      const { READY, COMPLETED } = BlockJobStatus;
      expectEqual(
        lab.seen.filter((line) => line.startsWith('job')),
        [READY, COMPLETED].map((status) => done(BlockJobType.ACTIVE_COMMIT, status)),
        'events',
      );
    },
  },
  {
    id: 'commit-active-abort',
    title: 'An active commit that is aborted in READY leaves the chain as it was',
    source: 'virDomainBlockJobAbort',
    async check(lab) {
      await lab.domain.blockCommit('vda', null, null, 0, C.ACTIVE);
      await lab.ready();
      await lab.domain.blockJobAbort('vda');
      expectEqual(await lab.chain(), ['top', 'mid', 'low', 'base'], 'chain');
      expectEqual(lab.seen.at(-1), done(BlockJobType.ACTIVE_COMMIT, BlockJobStatus.CANCELED), 'last event');
    },
  },
  {
    id: 'jobs-on-two-disks',
    title: 'Jobs of two disks of one domain do not hinder each other',
    source: 'virDomainBlockCopy: one job per disk, not per domain',
    async check(lab) {
      await lab.copy();
      await lab.domain.blockPull('vdb');
      await lab.ready();
      await lab.idle('vdb');
      await lab.domain.blockJobAbort('vda', PIVOT);
      expectEqual(await lab.chain(), ['copy'], 'chain');
    },
  },
  {
    id: 'resize-kib',
    title: 'A size is KiB',
    source: 'virDomainBlockResize',
    check: (lab) => expectResized(lab, (CAPACITY_BYTES * 2) / 1024, 0, CAPACITY_BYTES * 2),
  },
  {
    id: 'resize-bytes',
    title: 'With BYTES a size is bytes, rounded up to whole sectors',
    source: 'virDomainBlockResize: VIR_DOMAIN_BLOCK_RESIZE_BYTES',
    check: (lab) => expectResized(lab, CAPACITY_BYTES + 1, BlockResizeFlags.BYTES, CAPACITY_BYTES + 512),
  },
  {
    id: 'threshold-once',
    title: 'A threshold tells of the first write beyond it, once',
    source: 'virDomainSetBlockThreshold; BLOCK_THRESHOLD',
    async check(lab) {
      await lab.domain.setBlockThreshold('vda', 65_536);
      for (const offset of [0, 1_048_576])
        await lab.domain.qemuMonitorCommand(`qemu-io -d ${GUEST_DISK} "write -P 1 ${offset} 65536"`, 1);
      await lab.until('BLOCK_THRESHOLD', (line) => line.startsWith('threshold vda'));
      const told = lab.seen.filter((line) => line === 'threshold vda');
      expectEqual(told, ['threshold vda'], 'events for vda');
    },
  },
  {
    id: 'snapshot-disk-only',
    title: 'A disk-only snapshot puts its overlay on top, and a commit takes it away again',
    source: 'virDomainSnapshotCreateXML: VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY, NO_METADATA',
    async check(lab) {
      await lab.snapshot(SnapshotCreateFlags.DISK_ONLY | SnapshotCreateFlags.NO_METADATA);
      expectEqual(await lab.chain(), ['snap', 'top', 'mid', 'low', 'base'], 'chain with the overlay');
      await lab.domain.blockCommit('vda', null, null, 0, C.ACTIVE | C.SHALLOW);
      await lab.ready();
      await lab.domain.blockJobAbort('vda', PIVOT);
      expectEqual(await lab.chain(), ['top', 'mid', 'low', 'base'], 'chain after the commit');
    },
  },
  {
    id: 'monitor-command',
    title: 'The monitor answers past all bookkeeping, and its query-block shows the image that the XML names',
    source: 'virDomainQemuMonitorCommand; QAPI query-block',
    async check(lab) {
      const reply = await lab.domain.qemuMonitorCommand('{"execute":"query-block"}');
      expect(reply.includes('"return"'), `the reply is no QMP reply: ${reply}`);
      expect(reply.includes(lab.path('top')), `query-block does not show the active image: ${reply}`);
    },
  },
  {
    id: 'disk-comes-and-goes',
    title: 'A disk that is plugged in can be copied, and when unplugged is gone from the XML',
    source: 'virDomainAttachDeviceFlags; DEVICE_ADDED',
    async check(lab) {
      await lab.world.connection.volumes.create({
        path: lab.path('more'),
        format: 'qcow2',
        capacityBytes: CAPACITY_BYTES,
      });
      await lab.domain.attachDeviceFlags(diskXml('vdc', lab.path('more')));
      expectEqual(await lab.chain('vdc'), ['more'], 'chain of the new disk');
      expect(
        lab.seen.some((line) => line.startsWith('added ')),
        'DEVICE_ADDED did not come',
      );
    },
  },
  {
    id: 'persistent-definition-follows',
    title: 'A pivot also switches the persistent definition, which until then names the source',
    source: 'qemuBlockJobRewriteConfigDiskSource; virDomainGetXMLDesc: VIR_DOMAIN_XML_INACTIVE',
    options: { persistent: true },
    async check(lab) {
      await lab.copy(BlockCopyFlags.TRANSIENT_JOB);
      await lab.ready();
      const view = async () => readDisk(await lab.domain.getXMLDesc(DomainXMLFlags.INACTIVE), 'vda');
      const defined = async () => (await view()).chain[0];
      expectEqual(await defined(), lab.path('top'), 'source of the persistent definition during the copy');
      expectEqual((await view()).mirror, undefined, 'mirror in the persistent definition');
      await lab.domain.blockJobAbort('vda', PIVOT);
      expectEqual(await lab.chain(), ['copy'], 'live chain');
      expectEqual(await defined(), lab.path('copy'), 'source of the persistent definition after the pivot');
    },
  },
  {
    id: 'lifecycle-around-a-job',
    title: 'A suspended domain keeps its job, and its events say what happened, in order',
    source: 'virDomainSuspend, virDomainResume; LIFECYCLE',
    async check(lab) {
      await lab.copy();
      await lab.ready();
      await lab.domain.suspend();
      expectEqual(
        (await lab.domain.getBlockJobInfo('vda'))?.type,
        BlockJobType.COPY,
        'job of the suspended domain',
      );
      await lab.domain.resume();
      await lab.domain.blockJobAbort('vda', PIVOT);
      await lab.domain.destroy();
      const life = lab.seen
        .filter((line) => line.startsWith('life'))
        .map((line) => Number(line.split(' ')[1]));
      const { STARTED, SUSPENDED, RESUMED, STOPPED } = LifecycleEvent;
      const wanted: number[] = [STARTED, SUSPENDED, RESUMED, STOPPED];
      expectEqual(
        life.filter((event) => wanted.includes(event)).slice(-3),
        wanted.slice(1),
        'lifecycle events',
      );
    },
  },
];

interface ShownJob {
  readonly device: string;
  readonly status: string;
  readonly offset: number;
}

async function monitor(lab: Lab, execute: string, args: object): Promise<unknown> {
  const text = await lab.domain.qemuMonitorCommand(JSON.stringify({ execute, arguments: args }));
  return (JSON.parse(text) as { readonly return: unknown }).return;
}

/** The one job that there is, as query-block-jobs shows it. */
async function soleJob(lab: Lab): Promise<ShownJob> {
  const [job] = (await monitor(lab, 'query-block-jobs', {})) as readonly ShownJob[];
  if (!job) throw new Violation('query-block-jobs shows no job');
  return job;
}

async function makeReusable(lab: Lab): Promise<void> {
  await lab.world.connection.volumes.create({
    path: lab.path('ready-made'),
    format: 'qcow2',
    capacityBytes: CAPACITY_BYTES,
    backing: { path: lab.path('mid'), format: 'qcow2' },
  });
}

async function expectResized(lab: Lab, size: number, flags: number, expected: number): Promise<void> {
  await lab.domain.blockResize('vdb', size, flags);
  const header = await lab.world.connection.volumes.inspect(lab.path('other'), 'qcow2');
  expectEqual(header.capacityBytes, expected, 'capacity in the header');
}

/** One contract per effect. */
export const effectContracts: readonly Contract[] = EFFECTS.map(({ id, title, source, options, check }) =>
  example({
    id: `api/${id}`,
    title,
    source,
    needs: ['copy', 'pull', 'commit', 'activeCommit', 'readyEvent', 'extras'],
    async check(world) {
      await check(await Lab.start(world, options));
    },
  }),
);
