/** What the first QEMUs with block jobs do: drives by name, no nodes, no job-* commands. */
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { Monitor } from '../../qmp/monitor.ts';
import type { Capability, Write } from '../../target.ts';
import { isObject, objectAt, type WireMessage } from '../../wire.ts';
import type { World } from '../../world.ts';

const MIB = 1024 * 1024;
const SIZE = 16 * MIB;
/** The drive, and its job: until names came, a drive has one job. */
const DISK = { device: 'disk' };
const BASE: Write = { offsetBytes: 0, lengthBytes: SIZE, byte: 0x11 };
const TOP: Write = { offsetBytes: MIB, lengthBytes: 64 * 1024, byte: 0x22 };
const MERGED: readonly Write[] = [
  { ...BASE, lengthBytes: TOP.offsetBytes },
  TOP,
  {
    ...BASE,
    offsetBytes: TOP.offsetBytes + TOP.lengthBytes,
    lengthBytes: SIZE - TOP.offsetBytes - TOP.lengthBytes,
  },
];
/** So slow that a job moves one chunk in each tenth of a second, and no less. */
const HELD_SPEED = 1;

/** A machine with a drive `disk`, a chain `base <- top` of qcow2, and an empty CD drive `cd0`. */
class EarlyBench {
  readonly monitor: Monitor;
  readonly world: World;

  private constructor(monitor: Monitor) {
    this.monitor = monitor;
    this.world = monitor.world;
  }

  static async start(world: World): Promise<EarlyBench> {
    const path = (name: string) => `${world.session.directory}/${name}.qcow2`;
    const image = { format: 'qcow2', capacityBytes: SIZE } as const;
    await world.session.createImage({ ...image, path: path('base'), writes: [BASE] });
    const backing = { path: path('base'), format: 'qcow2' } as const;
    await world.session.createImage({ ...image, path: path('top'), backing, writes: [TOP] });
    const drives = [{ id: DISK.device, path: path('top'), format: 'qcow2' }];
    const { monitor } = await Monitor.start(world, { cdrom: true, drives });
    await monitor.succeed('qmp_capabilities');
    return new EarlyBench(monitor);
  }

  path(name: string): string {
    return `${this.world.session.directory}/${name}.qcow2`;
  }

  /** The drive as query-block shows it: what it has open, and what is below. */
  async files(device = DISK.device): Promise<readonly unknown[]> {
    const found = (await this.monitor.list('query-block')).find((each) => each.device === device);
    const { file, backing_file: below } = objectAt(found ?? {}, 'inserted');
    return below === undefined ? [file] : [file, below];
  }

  async job(): Promise<WireMessage | undefined> {
    return (await this.monitor.list('query-block-jobs')).find(({ device }) => device === DISK.device);
  }

  /** The events of the drive's job so far. */
  events(): string[] {
    return this.monitor.received.flatMap(({ event }) =>
      typeof event === 'string' && event.startsWith('BLOCK_JOB_') ? [event] : [],
    );
  }

  async until(event: string): Promise<void> {
    await this.monitor.until(event, () => this.monitor.eventData(event).length > 0);
  }

  async expectContents(name: string): Promise<void> {
    expectEqual(await this.world.session.contents(this.path(name)), [...MERGED], `contents of ${name}`);
  }
}

interface EarlyRow {
  readonly id: string;
  readonly title: string;
  check(bench: EarlyBench): Promise<void>;
}

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

const REOPENED: readonly EarlyRow[] = [
  {
    id: 'reopen',
    title: 'A mirror whose offset is at its end is pivoted by reopening the drive, and never says READY',
    async check(bench) {
      const { monitor, world } = bench;
      const target = bench.path('copy');
      const mirror = await vendorName(bench, 'drive-mirror');
      await monitor.succeed(mirror, { ...DISK, target, full: true, format: 'qcow2' });
      await world.until('a copy whose offset is at its end', async () => {
        const job = await bench.job();
        return job !== undefined && Number(job.len) > 0 && job.offset === job.len;
      });
      // The job regards itself as synced up to a tenth of a second later.
      await new Promise<void>((resolve) => void world.timers.after(200, resolve));
      await monitor.succeed(await vendorName(bench, 'drive-reopen'), {
        ...DISK,
        'new-image-file': target,
        format: 'qcow2',
      });
      expectEqual(bench.events(), ['BLOCK_JOB_COMPLETED'], 'events');
      expectEqual(await bench.files(), [target], 'files of the drive');
      await monitor.succeed('quit');
      await monitor.until('the end of the server', () => monitor.isClosed);
      await bench.expectContents('copy');
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
  ...MIRRORS.map(contract(['earlyQmp', 'earlyMirror'])),
  ...REOPENED.map(contract(['earlyQmp', 'redHatMirror'])),
];
