/** What the commands around the jobs do to nodes, bitmaps and images, each seen by a query or in the bytes. */
import type { Contract } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { type Bench, DATA, DISK_BYTES, HELD_SPEED, JOB, STATES } from '../../qmp/bench.ts';
import type { Write } from '../../target.ts';
import { isObject, isObjectList, objectAt, type WireMessage } from '../../wire.ts';
import { bitmaps, type CommandRow, commandContract, node } from './command-row.ts';

const KIB = 1024;
const SOURCE = 'QAPI block-core.json, transaction.json';
const HALF: Write = { offsetBytes: 512 * KIB, lengthBytes: 64 * KIB, byte: 0x33 };

const on = (name: string): WireMessage => ({ node: 'disk', name });

const BITMAPS: readonly CommandRow[] = [
  {
    id: 'bitmap-add-remove',
    title: 'An added bitmap records what is written, and a removed one is gone',
    async check(bench) {
      await bench.raw('disk');
      await bench.monitor.succeed('block-dirty-bitmap-add', on('one'));
      await bench.write('disk', HALF);
      expectEqual(await bitmaps(bench), ['one: 65536'], 'bitmaps after the write');
      await bench.monitor.succeed('block-dirty-bitmap-remove', on('one'));
      expectEqual(await bitmaps(bench), [], 'bitmaps after the removal');
    },
  },
  {
    id: 'bitmap-clear',
    title: 'A cleared bitmap is empty, and goes on recording',
    async check(bench) {
      await bench.raw('disk');
      await bench.monitor.succeed('block-dirty-bitmap-add', on('one'));
      await bench.write('disk', { ...HALF, lengthBytes: 128 * KIB });
      await bench.monitor.succeed('block-dirty-bitmap-clear', on('one'));
      expectEqual(await bitmaps(bench), ['one: 0'], 'bitmaps after the clearing');
      await bench.write('disk', HALF);
      expectEqual(await bitmaps(bench), ['one: 65536'], 'bitmaps after another write');
    },
  },
  {
    id: 'bitmap-disable-enable',
    title: 'A disabled bitmap does not record, until it is enabled',
    async check(bench) {
      await bench.raw('disk');
      await bench.monitor.succeed('block-dirty-bitmap-add', on('one'));
      await bench.monitor.succeed('block-dirty-bitmap-disable', on('one'));
      await bench.write('disk', HALF);
      expectEqual(await bitmaps(bench), ['one: 0 off'], 'bitmaps while disabled');
      await bench.monitor.succeed('block-dirty-bitmap-enable', on('one'));
      await bench.write('disk', HALF);
      expectEqual(await bitmaps(bench), ['one: 65536'], 'bitmaps when enabled again');
    },
  },
  {
    id: 'bitmap-merge',
    title: 'A merge adds what the other bitmaps have, and leaves those as they are',
    async check(bench) {
      await bench.raw('disk');
      await bench.monitor.succeed('block-dirty-bitmap-add', on('one'));
      await bench.write('disk', HALF);
      await bench.monitor.succeed('block-dirty-bitmap-add', on('two'));
      await bench.write('disk', { ...HALF, offsetBytes: 0 });
      await bench.monitor.succeed('block-dirty-bitmap-add', on('sum'));
      const merge = { node: 'disk', target: 'sum', bitmaps: ['one', 'two'] };
      await bench.monitor.succeed('block-dirty-bitmap-merge', merge);
      expectEqual(await bitmaps(bench), ['one: 131072', 'sum: 131072', 'two: 65536'], 'bitmaps');
    },
  },
  {
    id: 'transaction',
    title: 'The actions of a transaction are all done, or with one refused none',
    async check(bench) {
      await bench.raw('disk');
      const add = (name: string): WireMessage => ({ type: 'block-dirty-bitmap-add', data: on(name) });
      await bench.monitor.succeed('transaction', { actions: [add('one'), add('two')] });
      expectEqual(await bitmaps(bench), ['one: 0', 'two: 0'], 'bitmaps');
      const reply = await bench.monitor.execute('transaction', { actions: [add('three'), add('one')] });
      expect('error' in reply, 'a bitmap was added twice');
      expectEqual(await bitmaps(bench), ['one: 0', 'two: 0'], 'bitmaps after the refusal');
    },
  },
];

const overlayOf = async (bench: Bench): Promise<void> => {
  await bench.raw('disk', [DATA]);
  const path = bench.path('overlay.qcow2');
  const backing = { path: bench.path('disk.raw'), format: 'raw' } as const;
  const image = { path, format: 'qcow2', capacityBytes: DISK_BYTES, writes: [] } as const;
  await bench.world.session.createImage({ ...image, backing });
};

/** What is written to the overlay is not in the image below. */
async function expectOverlay(bench: Bench): Promise<void> {
  await bench.write('overlay', HALF);
  const { backing_file_depth: depth } = await node(bench, 'overlay');
  expectEqual(depth, 1, 'depth of the chain below the overlay');
  for (const name of ['above', 'overlay', 'disk'])
    await bench.monitor.execute('blockdev-del', { 'node-name': name });
  const below = await bench.world.session.contents(bench.path('disk.raw'));
  expectEqual(below, [DATA], 'contents of the image below');
  const above = await bench.world.session.contents(bench.path('overlay.qcow2'));
  expectEqual(above, [DATA, HALF], 'contents with the overlay');
}

const NODES: readonly CommandRow[] = [
  {
    id: 'add-del',
    title: 'An added node is shown with its driver and file, and a deleted one no longer',
    async check(bench) {
      await bench.raw('disk');
      const { drv, file, ro } = await node(bench, 'disk');
      expectEqual({ drv, file, ro }, { drv: 'raw', file: bench.path('disk.raw'), ro: false }, 'node');
      await bench.monitor.succeed('blockdev-del', { 'node-name': 'disk' });
      expectEqual(await bench.nodes(), [], 'nodes after the deletion');
    },
  },
  {
    id: 'create',
    title: 'A created image has the format and the size that were asked for',
    async check(bench) {
      const { monitor } = bench;
      const create = async (options: WireMessage) => {
        await monitor.succeed('blockdev-create', { 'job-id': JOB, options });
        await monitor.reach(JOB, 'concluded');
        expectEqual((await monitor.job(JOB))?.error, undefined, 'error of the job');
        await monitor.succeed('job-dismiss', { id: JOB });
      };
      const file = { driver: 'file', filename: bench.path('new.qcow2') };
      await create({ ...file, size: 0 });
      await monitor.succeed('blockdev-add', { ...file, 'node-name': 'file' });
      await create({ driver: 'qcow2', file: 'file', size: DISK_BYTES });
      await monitor.succeed('blockdev-add', { driver: 'qcow2', file: 'file', 'node-name': 'disk' });
      const image = objectAt(await node(bench, 'disk'), 'image');
      expectEqual([image.format, image['virtual-size']], ['qcow2', DISK_BYTES], 'format and size');
    },
  },
  {
    id: 'reopen',
    title: 'A node that is reopened read-only says so and takes no write, until it is reopened for writing',
    async check(bench) {
      const { monitor } = bench;
      await bench.raw('disk');
      await monitor.succeed('blockdev-del', { 'node-name': 'disk' });
      const file = { driver: 'file', filename: bench.path('disk.raw') };
      await monitor.succeed('blockdev-add', { ...file, 'node-name': 'file' });
      const disk = { driver: 'raw', 'node-name': 'disk', file: 'file' };
      await monitor.succeed('blockdev-add', disk);
      await monitor.succeed('blockdev-reopen', { options: [{ ...disk, 'read-only': true }] });
      expectEqual((await node(bench, 'disk')).ro, true, 'ro when read-only');
      await monitor.succeed('blockdev-reopen', { options: [disk] });
      expectEqual((await node(bench, 'disk')).ro, false, 'ro when writable');
    },
  },
  {
    id: 'resize',
    title: 'A resized image has its new size, and its data',
    async check(bench) {
      await bench.raw('disk', [DATA]);
      await bench.monitor.succeed('block_resize', { 'node-name': 'disk', size: 2 * DISK_BYTES });
      const image = objectAt(await node(bench, 'disk'), 'image');
      expectEqual(image['virtual-size'], 2 * DISK_BYTES, 'size');
      await bench.monitor.succeed('blockdev-del', { 'node-name': 'disk' });
      expectEqual(await bench.world.session.contents(bench.path('disk.raw')), [DATA], 'contents');
    },
  },
  {
    id: 'snapshot',
    title: 'A snapshot puts a node on top of another; writes go to the upper one only',
    async check(bench) {
      await overlayOf(bench);
      await bench.open('qcow2', 'overlay', bench.path('overlay.qcow2'), null);
      await bench.monitor.succeed('blockdev-snapshot', { node: 'disk', overlay: 'overlay' });
      await expectOverlay(bench);
    },
  },
  {
    id: 'snapshot-sync',
    title: 'A snapshot that makes its own overlay gives it the node name that was asked for',
    async check(bench) {
      await bench.raw('disk', [DATA]);
      // An overlay that nothing stands on would be gone with the command.
      const above = { driver: 'raw', 'node-name': 'above', file: 'disk' };
      await bench.monitor.succeed('blockdev-add', above);
      await bench.monitor.succeed('blockdev-snapshot-sync', {
        'node-name': 'disk',
        'snapshot-file': bench.path('overlay.qcow2'),
        'snapshot-node-name': 'overlay',
        format: 'qcow2',
      });
      await expectOverlay(bench);
    },
  },
  {
    id: 'internal-snapshot',
    title: 'An internal snapshot is in its image until it is deleted, which tells what it was',
    async check(bench) {
      const { monitor } = bench;
      await bench.chain(['disk']);
      const shown = async () => {
        const list = objectAt(await node(bench, 'disk'), 'image').snapshots ?? [];
        return isObjectList(list) ? list.map(({ name }) => name) : [];
      };
      const named = { device: 'disk', name: 'before' };
      await monitor.succeed('blockdev-snapshot-internal-sync', named);
      expectEqual<unknown>(await shown(), ['before'], 'snapshots in the image');
      const deleted = await monitor.succeed('blockdev-snapshot-delete-internal-sync', named);
      expectEqual(isObject(deleted) ? deleted.name : undefined, 'before', 'name of the deleted one');
      expectEqual<unknown>(await shown(), [], 'snapshots in the image afterwards');
    },
  },
  {
    id: 'change-backing-file',
    title: 'A changed backing file is in the header of the image, and the graph stays as it is',
    async check(bench) {
      await bench.chain(['base', 'top']);
      await bench.monitor.succeed('change-backing-file', {
        device: 'top',
        'image-node-name': 'top',
        'backing-file': 'elsewhere.qcow2',
      });
      await bench.monitor.succeed('blockdev-del', { 'node-name': 'top' });
      await bench.open('qcow2', 'top', bench.path('top.qcow2'), null);
      const image = objectAt(await node(bench, 'top'), 'image');
      expectEqual(image['backing-filename'], 'elsewhere.qcow2', 'backing file in the header');
    },
  },
];

const WATCHED: readonly CommandRow[] = [
  {
    id: 'write-threshold',
    title: 'A threshold is shown until the first write beyond it, which is told once, with what was beyond',
    async check(bench) {
      const { monitor } = bench;
      await bench.raw('disk');
      const threshold = 256 * KIB;
      await monitor.succeed('block-set-write-threshold', {
        'node-name': 'disk',
        'write-threshold': threshold,
      });
      expectEqual((await node(bench, 'disk')).write_threshold, threshold, 'write_threshold');
      for (const offsetBytes of [0, threshold, 2 * threshold])
        await bench.write('disk', { ...HALF, offsetBytes });
      expectEqual((await node(bench, 'disk')).write_threshold, 0, 'write_threshold afterwards');
      const wanted = {
        'amount-exceeded': HALF.lengthBytes,
        'node-name': 'disk',
        'write-threshold': threshold,
      };
      const told = monitor.eventData('BLOCK_WRITE_THRESHOLD').map((data) => ({ ...wanted, ...data }));
      expectEqual<WireMessage[]>(told, [wanted], 'events');
    },
  },
  {
    id: 'query-blockstats',
    title: 'query-blockstats shows how far a node was written to',
    async check(bench) {
      await bench.raw('disk');
      await bench.write('disk', HALF);
      const all = await bench.monitor.list('query-blockstats', { 'query-nodes': true });
      const stats = all.find((each) => each['node-name'] === 'disk')?.stats;
      const highest = isObject(stats) ? stats.wr_highest_offset : undefined;
      expectEqual(highest, HALF.offsetBytes + HALF.lengthBytes, 'wr_highest_offset');
    },
  },
  {
    id: 'drive-mirror',
    title: 'A drive-mirror makes its target itself, and what it has copied there equals the source',
    async check(bench) {
      const { monitor } = bench;
      await bench.raw('source', [DATA]);
      const target = bench.path('target.raw');
      await monitor.succeed('drive-mirror', {
        ...{ 'job-id': JOB, device: 'source', target, format: 'raw', sync: 'full' },
        'auto-dismiss': false,
      });
      await bench.ready();
      await monitor.succeed('block-job-cancel', { device: JOB });
      await monitor.reach(JOB, 'concluded');
      await monitor.succeed('job-dismiss', { id: JOB });
      await monitor.succeed('blockdev-del', { 'node-name': 'source' });
      expectEqual(await bench.world.session.contents(target), [DATA], 'contents of the target');
    },
  },
  {
    id: 'drive-backup',
    title: 'A drive-backup makes its target itself, and what it has copied there equals the source',
    async check(bench) {
      const { monitor } = bench;
      await bench.raw('source', [DATA]);
      const target = bench.path('target.raw');
      const args = { 'job-id': JOB, device: 'source', target, format: 'raw', sync: 'full' };
      await monitor.succeed('drive-backup', args);
      await monitor.reach(JOB, 'null');
      await monitor.succeed('blockdev-del', { 'node-name': 'source' });
      expectEqual(await bench.world.session.contents(target), [DATA], 'contents of the target');
    },
  },
  {
    id: 'set-speed',
    title: 'A speed that was set is shown by query-block-jobs, and holds for the job',
    async check(bench) {
      await STATES.running(bench);
      await bench.monitor.succeed('block-job-set-speed', { device: JOB, speed: 2 * HELD_SPEED });
      expectEqual((await bench.blockJob()).speed, 2 * HELD_SPEED, 'speed in query-block-jobs');
      await bench.monitor.succeed('block-job-set-speed', { device: JOB, speed: 0 });
      await bench.ready();
    },
  },
  {
    id: 'block-job-change',
    title: 'A mirror that is changed to write-blocking becomes actively synced, and stays so under writes',
    source: 'QAPI block-core.json BlockJobChangeOptions, BlockJobInfoMirror',
    needs: ['qmpJobChange'],
    async check(bench) {
      const filter = 'filter';
      await bench.pair();
      await bench.mirror({ 'filter-node-name': filter, speed: 0 });
      await bench.ready();
      expectEqual((await bench.blockJob())['actively-synced'], false, 'actively-synced before');
      await bench.monitor.succeed('block-job-change', {
        id: JOB,
        type: 'mirror',
        'copy-mode': 'write-blocking',
      });
      await bench.world.until(
        'a mirror that is actively synced',
        async () => (await bench.blockJob())['actively-synced'] === true,
      );
      await bench.monitor.succeed('block-job-set-speed', { device: JOB, speed: HELD_SPEED });
      await bench.write(filter, HALF);
      const { 'actively-synced': synced, len, offset } = await bench.blockJob();
      expectEqual([synced, len === offset], [true, true], 'actively-synced, and all of it copied');
    },
  },
  {
    id: 'stop-and-cont',
    title: 'STOP and RESUME are told once each, and a job goes on while the machine stands still',
    async check(bench) {
      const { monitor } = bench;
      await STATES.ready(bench);
      await monitor.succeed('stop');
      await monitor.succeed('job-complete', { id: JOB });
      await monitor.reach(JOB, 'concluded');
      await monitor.succeed('cont');
      const told = monitor.received.flatMap(({ event }) =>
        event === 'STOP' || event === 'RESUME' ? [event] : [],
      );
      expectEqual(told, ['STOP', 'RESUME'], 'events of the machine');
    },
  },
];

/** One contract per row. */
export const commandContracts: readonly Contract[] = [...NODES, ...BITMAPS, ...WATCHED].map((row) =>
  commandContract({ source: SOURCE, ...row }),
);
