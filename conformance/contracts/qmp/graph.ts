/** What a job does to the graph, and to data. */
import fc from 'fast-check';
import { type Contract, example, property } from '../../contract.ts';
import { expect, expectEqual, Violation } from '../../expect.ts';
import { DiskModel } from '../../model.ts';
import { Bench, DATA, DISK_BYTES, HELD_SPEED, JOB, STATES } from '../../qmp/bench.ts';
import type { Write } from '../../target.ts';
import type { WireMessage } from '../../wire.ts';
import type { World } from '../../world.ts';

const SOURCE = 'QAPI block-core.json; QEMU block/mirror.c, stream.c, commit.c, backup.c';
const FILTER = 'filter';

/** How a mirror comes to its end. */
const ENDS: readonly {
  readonly id: string;
  readonly state: 'running' | 'ready' | 'pending';
  readonly execute: string;
  readonly args: WireMessage;
}[] = [
  { id: 'cancelled-early', state: 'running', execute: 'block-job-cancel', args: { device: JOB } },
  { id: 'cancelled-ready', state: 'ready', execute: 'block-job-cancel', args: { device: JOB } },
  { id: 'force-cancelled-ready', state: 'ready', execute: 'job-cancel', args: { id: JOB } },
  { id: 'completed', state: 'ready', execute: 'job-complete', args: { id: JOB } },
  { id: 'cancelled-pending', state: 'pending', execute: 'job-cancel', args: { id: JOB } },
  { id: 'finalized', state: 'pending', execute: 'job-finalize', args: { id: JOB } },
];

const nothingLeft: readonly Contract[] = ENDS.map(({ id, state, execute, args }) =>
  example({
    id: `qmp/graph/nothing-left-${id}`,
    title: `A mirror that ended (${id}) leaves no node and no job, and the same mirror can be started again`,
    source: `${SOURCE}; scenario abort/leftover-nodes`,
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await STATES[state](bench);
      const { monitor } = bench;
      await monitor.succeed(execute, args);
      await monitor.reach(JOB, 'concluded');
      await monitor.succeed('job-dismiss', { id: JOB });
      expectEqual(await monitor.list('query-jobs'), [], 'jobs afterwards');
      expectEqual(await bench.nodes(), ['source', 'target'], 'nodes afterwards');
      await bench.mirror();
      await bench.monitor.until(
        'READY of the second mirror',
        () => monitor.jobEvents(JOB).at(-1) === 'BLOCK_JOB_READY',
      );
    },
  }),
);

const SECTOR = 512;
const writes: fc.Arbitrary<readonly Write[]> = fc.array(
  fc
    .record({
      sector: fc.nat(DISK_BYTES / SECTOR - 1),
      sectors: fc.integer({ min: 1, max: 256 }),
      byte: fc.integer({ min: 1, max: 255 }),
    })
    .map(({ sector, sectors, byte }) => ({
      offsetBytes: sector * SECTOR,
      lengthBytes: Math.min(sectors * SECTOR, DISK_BYTES - sector * SECTOR),
      byte,
    })),
  { maxLength: 4 },
);

function modelOf(list: readonly Write[], capacityBytes = DISK_BYTES): DiskModel {
  const model = new DiskModel(capacityBytes);
  for (const write of list) model.write(write);
  return model;
}

async function expectData(world: World, path: string, model: DiskModel, what: string): Promise<void> {
  const difference = model.firstDifference(await world.session.contents(path));
  if (!difference) return;
  const { offsetBytes, expected, found } = difference;
  throw new Violation(`${what} differs at byte ${offsetBytes}: expected ${expected}, found ${found}`);
}

/** The contracts about nodes and data. */
export const graphContracts: readonly Contract[] = [
  ...nothingLeft,
  example({
    id: 'qmp/graph/filter-named',
    title: 'A filter with a name of its own is a node while the job runs, and goes with it',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await bench.pair();
      await bench.mirror({ 'filter-node-name': FILTER });
      await bench.ready();
      expectEqual(await bench.nodes(), [FILTER, 'source', 'target'], 'nodes during the job');
      await bench.monitor.succeed('job-cancel', { id: JOB });
      await bench.monitor.reach(JOB, 'null');
      expectEqual(await bench.nodes(), ['source', 'target'], 'nodes after the job');
    },
  }),
  example({
    id: 'qmp/graph/refused-start-leaves-nothing',
    title: 'A job that is refused at its start leaves no job and no node',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await bench.pair();
      const args = {
        'job-id': JOB,
        device: 'source',
        target: 'target',
        sync: 'full',
        speed: -1,
        'filter-node-name': FILTER,
      };
      const reply = await bench.monitor.execute('blockdev-mirror', args);
      expect('error' in reply, 'a negative speed was taken');
      expectEqual(await bench.monitor.list('query-jobs'), [], 'jobs');
      expectEqual(await bench.nodes(), ['source', 'target'], 'nodes');
      await bench.mirror({ 'filter-node-name': FILTER });
    },
  }),
  example({
    id: 'qmp/graph/stream-cuts-chain',
    title: 'A stream of the whole chain leaves the top node without backing, in the graph and in its header',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await bench.chain(['base', 'mid', 'top']);
      const before = await world.session.contents(bench.path('top.qcow2'));
      await bench.monitor.succeed('block-stream', { 'job-id': JOB, device: 'top' });
      await bench.monitor.reach(JOB, 'null');
      const top = (await bench.monitor.list('query-named-block-nodes')).find(
        (node) => node['node-name'] === 'top',
      );
      expectEqual(top?.backing_file_depth, 0, 'depth of the chain below top');
      await bench.monitor.succeed('blockdev-del', { 'node-name': 'top' });
      expectEqual(await world.session.contents(bench.path('top.qcow2')), before, 'contents of top');
    },
  }),
  example({
    id: 'qmp/graph/commit-drops-middle',
    title: 'A commit of the middle image puts its data into the base, and takes it out of the chain',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await bench.chain(['base', 'mid', 'top']);
      const [top, mid] = [bench.path('top.qcow2'), bench.path('mid.qcow2')];
      const [atTop, atMid] = [await world.session.contents(top), await world.session.contents(mid)];
      await bench.monitor.succeed('block-commit', {
        'job-id': JOB,
        device: 'top',
        'top-node': 'mid',
        'base-node': 'base',
      });
      await bench.monitor.reach(JOB, 'null');
      const node = (await bench.monitor.list('query-named-block-nodes')).find(
        (each) => each['node-name'] === 'top',
      );
      expectEqual(node?.backing_file_depth, 1, 'depth of the chain below top');
      for (const name of ['top', 'mid', 'base'])
        await bench.monitor.succeed('blockdev-del', { 'node-name': name });
      expectEqual(await world.session.contents(top), atTop, 'contents of top');
      expectEqual(await world.session.contents(bench.path('base.qcow2')), atMid, 'contents of the base');
    },
  }),
  property({
    id: 'qmp/data/mirror-ends-equal',
    title: 'A mirror that completed, or was cancelled in READY, leaves a target equal to the source',
    source: SOURCE,
    needs: ['qmp'],
    arbitrary: fc.record({ before: writes, during: writes, cancel: fc.boolean() }),
    async check(world, { before, during, cancel }) {
      const bench = await Bench.empty(world);
      await bench.raw('source', [DATA, ...before]);
      await bench.raw('target');
      await bench.mirror({ 'filter-node-name': FILTER });
      await bench.ready();
      for (const write of during) await bench.write(FILTER, write);
      const end = cancel ? 'block-job-cancel' : 'block-job-complete';
      await bench.monitor.succeed(end, { device: JOB });
      await bench.monitor.reach(JOB, 'null');
      for (const name of ['target', 'source'])
        await bench.monitor.succeed('blockdev-del', { 'node-name': name });
      const model = modelOf([DATA, ...before, ...during]);
      await expectData(world, bench.path('target.raw'), model, 'the target');
      await expectData(world, bench.path('source.raw'), model, 'the source');
    },
  }),
  property({
    id: 'qmp/data/backup-is-a-moment',
    title: 'A backup holds what the source was when it began, whatever is written meanwhile',
    source: SOURCE,
    needs: ['qmp'],
    arbitrary: fc.record({ before: writes, during: writes }),
    async check(world, { before, during }) {
      const bench = await Bench.empty(world);
      await bench.raw('source', [DATA, ...before]);
      await bench.raw('target');
      const perf = { 'max-chunk': 65_536, 'max-workers': 1 };
      await bench.monitor.succeed('blockdev-backup', {
        ...{ 'job-id': JOB, device: 'source', target: 'target', sync: 'full', speed: HELD_SPEED },
        ...{ 'x-perf': perf, 'filter-node-name': FILTER },
      });
      for (const write of during) await bench.write(FILTER, write);
      await bench.monitor.execute('block-job-set-speed', { device: JOB, speed: 0 });
      await bench.monitor.reach(JOB, 'null');
      for (const name of ['target', 'source'])
        await bench.monitor.succeed('blockdev-del', { 'node-name': name });
      await expectData(world, bench.path('target.raw'), modelOf([DATA, ...before]), 'the target');
      await expectData(world, bench.path('source.raw'), modelOf([DATA, ...before, ...during]), 'the source');
    },
  }),
];
