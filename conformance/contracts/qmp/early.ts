/** What the first QEMUs with block jobs do: drives by name, no nodes, no job-* commands. */
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { DISK, EarlyBench, type EarlyRow, HELD_SPEED, refusalOf } from '../../qmp/early-bench.ts';
import { Monitor, type Reply } from '../../qmp/monitor.ts';
import type { Capability } from '../../target.ts';
import { isObject, objectAt, type WireMessage } from '../../wire.ts';
import { refusalsOf } from './early-refusals.ts';

const MIB = 1024 * 1024;

const ROWS: readonly EarlyRow[] = [
  {
    id: 'negotiation',
    title: 'Before qmp_capabilities no command is found, and after it that one is not',
    async check({ monitor, world }) {
      const again = await monitor.execute('qmp_capabilities');
      expectEqual('error' in again && again.error.class, 'CommandNotFound', 'class of the second one');
      const { monitor: early } = await Monitor.start(world);
      const reply = await early.execute('query-status');
      expectEqual('error' in reply && reply.error.class, 'CommandNotFound', 'class of an early command');
    },
  },
  {
    id: 'stream',
    title: 'A stream ends with one event, everything copied, and leaves nothing below its drive',
    async check(bench) {
      await bench.monitor.succeed('block-stream', DISK);
      await bench.until('BLOCK_JOB_COMPLETED');
      const [{ type, device, len, offset, error } = {}] = bench.monitor.eventData('BLOCK_JOB_COMPLETED');
      expectEqual<unknown>([type, device, error], ['stream', 'disk', undefined], 'type, device and error');
      expect(len === offset && Number(len) > 0, `copied ${offset} of ${len}`);
      expectEqual(bench.events(), ['BLOCK_JOB_COMPLETED'], 'events');
      expectEqual(await bench.files(), [bench.path('top')], 'files of the drive');
      expectEqual(await bench.job(), undefined, 'job afterwards');
    },
  },
  {
    id: 'stream-cancelled',
    title: 'A stream that is held back is shown with its speed, and ends CANCELLED; the chain stays',
    async check(bench) {
      const { monitor } = bench;
      await monitor.succeed('block-stream', { ...DISK, speed: HELD_SPEED });
      const { type, speed } = (await bench.job()) ?? {};
      expectEqual<unknown>([type, speed], ['stream', HELD_SPEED], 'type and speed of the job');
      await monitor.succeed('block-job-set-speed', { ...DISK, speed: 10 * HELD_SPEED });
      expectEqual((await bench.job())?.speed, 10 * HELD_SPEED, 'speed that was set');
      await monitor.succeed('block-job-cancel', DISK);
      await bench.until('BLOCK_JOB_CANCELLED');
      expectEqual(bench.events(), ['BLOCK_JOB_CANCELLED'], 'events');
      expectEqual(await bench.files(), [bench.path('top'), bench.path('base')], 'files of the drive');
    },
  },
  {
    id: 'snapshot-sync',
    title: 'A snapshot makes an overlay, which the drive then has open on top of what it had',
    async check(bench) {
      await bench.monitor.succeed('blockdev-snapshot-sync', {
        ...DISK,
        'snapshot-file': bench.path('over'),
        format: 'qcow2',
      });
      expectEqual(await bench.files(), [bench.path('over'), bench.path('top')], 'files of the drive');
    },
  },
  {
    id: 'transaction',
    title: 'With one snapshot of a transaction refused none is taken',
    async check(bench) {
      const snapshot = (device: string) => ({
        type: 'blockdev-snapshot-sync',
        data: { device, 'snapshot-file': bench.path(`over-${device}`), format: 'qcow2' },
      });
      const both = [snapshot(DISK.device), snapshot('nowhere')];
      const refused = await bench.monitor.execute('transaction', { actions: both });
      expectEqual('error' in refused && refused.error.class, 'DeviceNotFound', 'class of the refusal');
      expectEqual(await bench.files(), [bench.path('top'), bench.path('base')], 'files afterwards');
      await bench.monitor.succeed('transaction', { actions: both.slice(0, 1) });
      expectEqual(await bench.files(), [bench.path('over-disk'), bench.path('top')], 'files with one');
    },
  },
  {
    id: 'change-and-eject',
    title: 'A medium is changed for a file, and ejected',
    async check(bench) {
      const path = bench.path('base');
      await bench.monitor.succeed('change', { device: 'cd0', target: path, arg: 'qcow2' });
      expectEqual(await bench.files('cd0'), [path], 'the medium');
      await bench.monitor.succeed('eject', { device: 'cd0' });
      expectEqual(await bench.files('cd0'), [undefined], 'the empty drive');
    },
  },
  {
    id: 'stop-and-cont',
    title: 'STOP and RESUME are told once each',
    async check({ monitor }) {
      for (const command of ['cont', 'cont', 'stop', 'stop']) await monitor.succeed(command);
      const told = monitor.received.flatMap(({ event }) => (typeof event === 'string' ? [event] : []));
      expectEqual(told, ['RESUME', 'STOP'], 'events');
      const status = await monitor.succeed('query-status');
      expectEqual(isObject(status) && status.running, false, 'running');
    },
  },
];

const MIRRORS: readonly EarlyRow[] = [
  {
    id: 'mirror-completed',
    title: 'A mirror says READY once, and with its completion the drive has the copy open',
    async check(bench) {
      const { monitor } = bench;
      const target = bench.path('copy');
      await monitor.succeed('drive-mirror', { ...DISK, target, sync: 'full', format: 'qcow2' });
      await bench.until('BLOCK_JOB_READY');
      await monitor.succeed('block-job-complete', DISK);
      await bench.until('BLOCK_JOB_COMPLETED');
      expectEqual(bench.events(), ['BLOCK_JOB_READY', 'BLOCK_JOB_COMPLETED'], 'events');
      expectEqual(await bench.files(), [target], 'files of the drive');
      await monitor.succeed('quit');
      await monitor.until('the end of the server', () => monitor.isClosed);
      await bench.expectContents('copy');
    },
  },
  {
    id: 'mirror-cancelled-ready',
    title: 'A READY mirror that is cancelled has COMPLETED, and the drive stays where it was',
    async check(bench) {
      const mirror = { ...DISK, target: bench.path('copy'), sync: 'full', format: 'qcow2' };
      await bench.monitor.succeed('drive-mirror', mirror);
      await bench.until('BLOCK_JOB_READY');
      await bench.monitor.succeed('block-job-cancel', DISK);
      await bench.until('BLOCK_JOB_COMPLETED');
      expectEqual(bench.events(), ['BLOCK_JOB_READY', 'BLOCK_JOB_COMPLETED'], 'events');
      expectEqual(await bench.files(), [bench.path('top'), bench.path('base')], 'files of the drive');
    },
  },
  {
    id: 'mirror-too-early',
    title: 'A mirror that is not READY cannot be completed, and one that is paused not be cancelled',
    async check(bench) {
      const { monitor } = bench;
      const mirror = { ...DISK, target: bench.path('copy'), sync: 'full', format: 'qcow2' };
      await monitor.succeed('drive-mirror', { ...mirror, speed: HELD_SPEED });
      expect(
        'error' in (await monitor.execute('block-job-complete', DISK)),
        'a copy was completed too early',
      );
      await monitor.succeed('block-job-pause', DISK);
      expectEqual((await bench.job())?.paused, true, 'paused');
      expect('error' in (await monitor.execute('block-job-cancel', DISK)), 'a paused job was cancelled');
      await monitor.succeed('block-job-resume', DISK);
      await monitor.succeed('block-job-cancel', DISK);
      await bench.until('BLOCK_JOB_CANCELLED');
    },
  },
  {
    id: 'io-throttle',
    title: 'The limits of a drive are shown',
    async check({ monitor }) {
      const limits = { bps: MIB, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 100, iops_wr: 0 };
      await monitor.succeed('block_set_io_throttle', { ...DISK, ...limits });
      const found = (await monitor.list('query-block')).find(({ device }) => device === DISK.device);
      const shown = objectAt(found ?? {}, 'inserted');
      for (const [name, value] of Object.entries(limits)) expectEqual(shown[name], value, name);
    },
  },
];

/** What a vendor calls a command of its own: with a prefix. */
async function vendorName({ monitor }: EarlyBench, name: string): Promise<string> {
  const commands = (await monitor.list('query-commands')).map((each) => String(each.name));
  const found = commands.find((each) => each.endsWith(`_${name}`));
  expect(found, `there is no command ..._${name}`);
  return found;
}

/** A copy of the whole drive under the vendor's name; resolves to its target. */
async function copyWhole(bench: EarlyBench, more: WireMessage = {}): Promise<string> {
  const target = bench.path('copy');
  const command = await vendorName(bench, 'drive-mirror');
  await bench.monitor.succeed(command, { ...DISK, target, full: true, format: 'qcow2', ...more });
  return target;
}

/** What whoever asks query-block-jobs takes for READY. */
const untilAtEnd = (bench: EarlyBench): Promise<true> =>
  bench.world.until('a copy whose offset is at its end', async () => {
    const job = await bench.job();
    return job !== undefined && Number(job.len) > 0 && job.offset === job.len;
  });

/** The job regards itself as synced up to a tenth of a second after that. */
async function untilSynced(bench: EarlyBench): Promise<void> {
  await untilAtEnd(bench);
  await new Promise<void>((resolve) => void bench.world.timers.after(200, resolve));
}

const reopen = async (bench: EarlyBench, path: string): Promise<Reply> =>
  bench.monitor.execute(await vendorName(bench, 'drive-reopen'), {
    ...DISK,
    'new-image-file': path,
    format: 'qcow2',
  });

const REOPENED: readonly EarlyRow[] = [
  {
    id: 'reopen',
    title: 'A mirror whose offset is at its end is pivoted by reopening the drive, and never says READY',
    async check(bench) {
      const { monitor } = bench;
      const target = await copyWhole(bench);
      await untilSynced(bench);
      expectEqual(refusalOf(await reopen(bench, target)), false, 'refusal');
      expectEqual(bench.events(), ['BLOCK_JOB_COMPLETED'], 'events');
      expectEqual(await bench.files(), [target], 'files of the drive');
      await monitor.succeed('quit');
      await monitor.until('the end of the server', () => monitor.isClosed);
      await bench.expectContents('copy');
    },
  },
  {
    id: 'reopen-too-early',
    title: 'A drive that is reopened while its mirror still copies stays where it is, and the mirror is lost',
    async check(bench) {
      const target = await copyWhole(bench, { speed: HELD_SPEED });
      const wanted = ['DeviceInUse', "Device 'disk' is in use"];
      expectEqual<unknown>(refusalOf(await reopen(bench, target)), wanted, 'refusal');
      expectEqual(bench.events(), ['BLOCK_JOB_CANCELLED'], 'events');
      expectEqual(await bench.files(), [bench.path('top'), bench.path('base')], 'files of the drive');
      expectEqual(await bench.job(), undefined, 'job afterwards');
    },
  },
  {
    id: 'copy-cancelled-synced',
    title: 'A synced mirror that is cancelled has COMPLETED, and the drive stays where it was',
    async check(bench) {
      await copyWhole(bench);
      await untilSynced(bench);
      await bench.monitor.succeed('block-job-cancel', DISK);
      await bench.until('BLOCK_JOB_COMPLETED');
      expectEqual(bench.events(), ['BLOCK_JOB_COMPLETED'], 'events');
      expectEqual(await bench.files(), [bench.path('top'), bench.path('base')], 'files of the drive');
    },
  },
  {
    id: 'reopen-without-job',
    title: 'A drive is reopened without any job, and stays where it is if the new file is not there',
    async check(bench) {
      const missing = bench.path('missing');
      const wanted = ['OpenFileFailed', `Could not open '${missing}'`];
      expectEqual<unknown>(refusalOf(await reopen(bench, missing)), wanted, 'refusal');
      expectEqual(await bench.files(), [bench.path('top'), bench.path('base')], 'files of the drive');
      expectEqual(
        refusalOf(await reopen(bench, bench.path('base'))),
        false,
        'refusal of a file that is there',
      );
      expectEqual(await bench.files(), [bench.path('base')], 'files when it is reopened');
    },
  },
];

const SOURCE = 'QEMU 1.3 and RHEL 6.3: QMP/qmp-commands.txt';

const contract =
  (needs: readonly Capability[]) =>
  ({ id, title, check }: EarlyRow): Contract =>
    example({
      id: `qmp/early/${id}`,
      title,
      source: SOURCE,
      needs,
      check: async (world) => check(await EarlyBench.start(world)),
    });

/** The contracts. */
export const earlyContracts: readonly Contract[] = [
  ...ROWS.map(contract(['earlyQmp'])),
  ...[...MIRRORS, ...refusalsOf('mirror', '1.3')].map(contract(['earlyQmp', 'earlyMirror'])),
  ...[...REOPENED, ...refusalsOf('redHat', 'rhel-6.3')].map(contract(['earlyQmp', 'redHatMirror'])),
];
