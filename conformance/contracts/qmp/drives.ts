/** What becomes of drives: media that come and go, limits of disks, and statistics of them. */
import type { Contract } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { type Bench, DATA, DISK_BYTES, JOB } from '../../qmp/bench.ts';
import { isObject, objectAt, type WireMessage } from '../../wire.ts';
import { type CommandRow, commandContract } from './command-row.ts';

const MIB = 1024 * 1024;
const DRIVE = { id: 'ide0' };

/** The CD drive in query-block: whether its tray is open, and the file of its medium. */
async function drive({ monitor }: Bench): Promise<readonly [trayOpen: unknown, file: unknown]> {
  const found = (await monitor.list('query-block')).find(({ qdev }) => qdev === DRIVE.id);
  expect(found, `query-block does not show the drive ${DRIVE.id}`);
  return [found.tray_open, isObject(found.inserted) ? found.inserted.file : undefined];
}

/** The tray, as it was told. */
const moved = ({ monitor }: Bench): string[] =>
  monitor
    .eventData('DEVICE_TRAY_MOVED')
    .map(({ id, 'tray-open': open }) => `${String(id)} ${open ? 'open' : 'closed'}`);

/** A node `disc` that is read-only, as media are; resolves to its file. */
async function disc(bench: Bench): Promise<string> {
  const path = bench.path('disc.raw');
  const image = { path, format: 'raw', capacityBytes: DISK_BYTES, writes: [DATA] } as const;
  await bench.world.session.createImage(image);
  const file = { driver: 'file', filename: path };
  await bench.monitor.succeed('blockdev-add', {
    ...{ driver: 'raw', 'node-name': 'disc', 'read-only': true },
    file,
  });
  return path;
}

const MEDIA: readonly CommandRow[] = [
  {
    id: 'tray',
    title: 'A tray opens and closes once each, which is told with the device, and shown',
    async check(bench) {
      const { monitor } = bench;
      for (const command of ['blockdev-open-tray', 'blockdev-close-tray']) {
        const isOpen = command === 'blockdev-open-tray';
        for (const _ of ['moves', 'is there already']) await monitor.succeed(command, DRIVE);
        expectEqual(await drive(bench), [isOpen, undefined], `the drive after ${command}`);
      }
      expectEqual(moved(bench), ['ide0 open', 'ide0 closed'], 'DEVICE_TRAY_MOVED');
    },
  },
  {
    id: 'medium',
    title: 'A medium is put into an open tray and taken out of one, and its node outlives that',
    async check(bench) {
      const { monitor } = bench;
      const file = await disc(bench);
      await monitor.succeed('blockdev-open-tray', DRIVE);
      await monitor.succeed('blockdev-insert-medium', { ...DRIVE, 'node-name': 'disc' });
      expectEqual(await drive(bench), [true, file], 'the drive with its medium');
      await monitor.succeed('blockdev-close-tray', DRIVE);
      const early = await monitor.execute('blockdev-remove-medium', DRIVE);
      expect('error' in early, 'the medium was taken out of a closed tray');
      await monitor.succeed('blockdev-open-tray', DRIVE);
      await monitor.succeed('blockdev-remove-medium', DRIVE);
      expectEqual(await drive(bench), [true, undefined], 'the drive without its medium');
      expectEqual(await bench.nodes(), ['disc'], 'nodes afterwards');
    },
  },
  {
    id: 'change-medium',
    title: 'A medium is changed for a file in one go: the tray opens for it if it has to, and closes',
    async check(bench) {
      const { monitor } = bench;
      const first = await disc(bench);
      await monitor.succeed('blockdev-del', { 'node-name': 'disc' });
      const change = { ...DRIVE, filename: first, format: 'raw', 'read-only-mode': 'read-only' };
      await monitor.succeed('blockdev-change-medium', change);
      expectEqual(await drive(bench), [false, first], 'the drive with its medium');
      expectEqual(moved(bench), ['ide0 open', 'ide0 closed'], 'DEVICE_TRAY_MOVED');
    },
  },
  {
    id: 'eject',
    title: 'An ejected medium is gone from its drive, whose tray is open',
    async check(bench) {
      const { monitor } = bench;
      await disc(bench);
      await monitor.succeed('blockdev-open-tray', DRIVE);
      await monitor.succeed('blockdev-insert-medium', { ...DRIVE, 'node-name': 'disc' });
      await monitor.succeed('blockdev-close-tray', DRIVE);
      await monitor.succeed('eject', DRIVE);
      expectEqual(await drive(bench), [true, undefined], 'the drive');
      expectEqual(moved(bench), ['ide0 open', 'ide0 closed', 'ide0 open'], 'DEVICE_TRAY_MOVED');
      await monitor.succeed('blockdev-del', { 'node-name': 'disc' });
    },
  },
];

const NO_LIMITS = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 } as const;
const DISK = { id: '/machine/peripheral/disk/virtio-backend' };

/** The disk in query-block: its limits, and the group that shares them. */
async function limits({ monitor }: Bench): Promise<WireMessage> {
  const found = (await monitor.list('query-block')).find(({ qdev }) => qdev === DISK.id);
  const { bps, bps_rd, bps_wr, iops, iops_rd, iops_wr, group = null } = objectAt(found ?? {}, 'inserted');
  return { bps, bps_rd, bps_wr, iops, iops_rd, iops_wr, group } as WireMessage;
}

async function plug(bench: Bench): Promise<void> {
  await bench.raw('source', [DATA]);
  await bench.monitor.succeed('device_add', { driver: 'virtio-blk-pci', id: 'disk', drive: 'source' });
}

/** Every limit that is not 0, of a throttle group. */
async function groupLimits({ monitor }: Bench): Promise<object> {
  const all = await monitor.succeed('qom-get', { path: '/objects/group', property: 'limits' });
  const isSet = ([name, value]: readonly [string, unknown]) => value !== 0 && /^[bi]o?ps-[a-z]+$/.test(name);
  return Object.fromEntries(Object.entries(isObject(all) ? all : {}).filter(isSet));
}

async function hasGroup({ monitor }: Bench): Promise<boolean> {
  const objects = await monitor.list('qom-list', { path: '/objects' });
  return objects.some(({ name, type }) => name === 'group' && type === 'child<throttle-group>');
}

const LIMITED: readonly CommandRow[] = [
  {
    id: 'io-throttle',
    title:
      'The limits of a disk are shown with their group, what is written through it keeps to them, and 0 lifts them',
    async check(bench) {
      await plug(bench);
      const { monitor, world } = bench;
      const set = { ...NO_LIMITS, bps_wr: MIB, iops_rd: 100 };
      await monitor.succeed('block_set_io_throttle', { ...DISK, ...set, group: 'gold' });
      expectEqual(await limits(bench), { ...set, group: 'gold' }, 'limits');
      const startedMs = world.timers.now();
      for (const _ of ['at once', 'behind the first', 'behind the second'])
        await monitor.human(`qemu-io -d ${DISK.id} "write 0 ${MIB / 2}"`);
      const ms = world.timers.now() - startedMs;
      expect(ms >= 500, `1.5 MiB took ${ms} ms at 1 MiB a second`);
      await monitor.succeed('block_set_io_throttle', { ...DISK, ...NO_LIMITS });
      expectEqual(await limits(bench), { ...NO_LIMITS, group: null }, 'limits when they are lifted');
    },
  },
  {
    id: 'latency-histogram',
    title: 'A histogram of latencies is shown with its boundaries, and ends without any',
    async check(bench) {
      const { monitor } = bench;
      await plug(bench);
      const shown = async () => {
        const found = (await monitor.list('query-blockstats')).find(({ qdev }) => qdev === DISK.id);
        return objectAt(found ?? {}, 'stats').rd_latency_histogram;
      };
      const boundaries = [1_000, 1_000_000];
      await monitor.succeed('block-latency-histogram-set', { ...DISK, boundaries });
      expectEqual<unknown>(await shown(), { bins: [0, 0, 0], boundaries }, 'the histogram of reads');
      await monitor.succeed('block-latency-histogram-set', DISK);
      expectEqual(await shown(), undefined, 'the histogram when it has ended');
    },
  },
];

const THROTTLED: CommandRow = {
  id: 'throttle-group',
  title: 'A group of limits is an object; what is written through a node of it takes the time that they say',
  async check(bench) {
    const { monitor, world } = bench;
    const rate = 2 * MIB;
    const group = { 'qom-type': 'throttle-group', id: 'group', limits: { 'bps-total': rate } };
    await monitor.succeed('object-add', group);
    expectEqual(await groupLimits(bench), { 'bps-total': rate }, 'limits');
    await bench.raw('source', [{ ...DATA, lengthBytes: DISK_BYTES }]);
    await bench.raw('target');
    const slow = { driver: 'throttle', 'node-name': 'slow', 'throttle-group': 'group', file: 'target' };
    await monitor.succeed('blockdev-add', slow);
    const startedMs = world.timers.now();
    await bench.mirror({ target: 'slow' });
    await bench.ready();
    const ms = world.timers.now() - startedMs;
    // A tenth of a second's worth passes at once, and the last of the pieces in flight waits for those before it only.
    expect(ms >= 250, `${DISK_BYTES} bytes took ${ms} ms at ${rate} bytes a second`);
    const set = { path: '/objects/group', property: 'limits', value: { 'bps-total': 0, 'iops-read': 7 } };
    await monitor.succeed('qom-set', set);
    expectEqual(await groupLimits(bench), { 'iops-read': 7 }, 'limits that were set later');
    await monitor.succeed('block-job-cancel', { device: JOB });
    await monitor.reach(JOB, 'null');
    await monitor.succeed('blockdev-del', { 'node-name': 'slow' });
    expect(await hasGroup(bench), 'qom-list does not show the group');
    await monitor.succeed('object-del', { id: 'group' });
    expect(!(await hasGroup(bench)), 'the group is there after its deletion');
  },
};

/** The contracts. */
export const driveContracts: readonly Contract[] = [
  ...MEDIA.map((row) => ({
    machine: { machine: 'pc', cdrom: true } as const,
    source: 'QAPI block.json',
    ...row,
  })),
  ...LIMITED.map((row) => ({ machine: { machine: 'pc' } as const, source: 'QAPI block.json', ...row })),
  { source: 'QAPI qom.json ThrottleGroupProperties', ...THROTTLED },
].map(commandContract);
