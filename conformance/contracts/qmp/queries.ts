/** What queries and events tell about a job. */
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { Bench, benchIn, DISK_BYTES, JOB, type JobState } from '../../qmp/bench.ts';
import { Monitor } from '../../qmp/monitor.ts';
import type { WireMessage } from '../../wire.ts';

const SOURCE = 'QAPI block-core.json BlockJobInfo, BLOCK_JOB_*; job.json JobInfo';

/** What query-block-jobs shows of a mirror in a state, besides what moves. */
const VIEWS: { readonly [S in Exclude<JobState, 'waiting'>]: WireMessage } = {
  running: { paused: false, ready: false },
  paused: { paused: true, ready: false },
  ready: { paused: false, ready: true },
  standby: { paused: true, ready: true },
  pending: { paused: true, ready: false },
  concluded: { paused: false, ready: false },
};

const viewed = Object.entries(VIEWS) as readonly (readonly [keyof typeof VIEWS, WireMessage])[];

const views: readonly Contract[] = viewed.map(([state, view]) =>
  example({
    id: `qmp/query/block-job-in-${state}`,
    title: `query-block-jobs shows a mirror in ${state} with paused and ready as they are`,
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const bench = await benchIn(world, state);
      const job = await bench.blockJob();
      const { type, status, paused, ready, error = null } = job;
      expectEqual<WireMessage>(
        { type, status, paused, ready, error } as WireMessage,
        { type: 'mirror', status: state, ...view, error: null },
        'the job',
      );
      expectEqual(job['io-status'], 'ok', 'io-status');
      expectEqual(job['auto-dismiss'], false, 'auto-dismiss');
      const isDone = state !== 'running' && state !== 'paused';
      expect(Number(job.offset) <= Number(job.len), 'more is done than there is to do');
      if (isDone) expectEqual([job.offset, job.len], [DISK_BYTES, DISK_BYTES], 'offset and len');
    },
  }),
);

/** The members that an event of a job has. */
const MEMBERS: readonly {
  readonly event: string;
  readonly state: JobState;
  readonly members: readonly string[];
}[] = [
  { event: 'BLOCK_JOB_READY', state: 'ready', members: ['device', 'len', 'offset', 'speed', 'type'] },
  { event: 'BLOCK_JOB_COMPLETED', state: 'concluded', members: ['device', 'len', 'offset', 'speed', 'type'] },
  { event: 'BLOCK_JOB_PENDING', state: 'pending', members: ['id', 'type'] },
  { event: 'JOB_STATUS_CHANGE', state: 'running', members: ['id', 'status'] },
];

/** The contracts about what is told. */
export const queryContracts: readonly Contract[] = [
  ...views,
  ...MEMBERS.map(({ event, state, members }) =>
    example({
      id: `qmp/event/${event.toLowerCase().replaceAll('_', '-')}-members`,
      title: `${event} carries ${members.join(', ')}, and nothing else in a success`,
      source: SOURCE,
      needs: ['qmp'],
      async check(world) {
        const { monitor } = await benchIn(world, state);
        const found = monitor.eventData(event);
        expect(found.length > 0, `${event} did not come`);
        for (const data of found)
          expectEqual<readonly string[]>(Object.keys(data).sort(), members, `members of ${event}`);
      },
    }),
  ),
  example({
    id: 'qmp/event/cancelled-members',
    title: 'BLOCK_JOB_CANCELLED carries device, len, offset, speed, type, and no error',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const { monitor } = await benchIn(world, 'running');
      await monitor.succeed('job-cancel', { id: JOB });
      await monitor.reach(JOB, 'concluded');
      const [data = {}] = monitor.eventData('BLOCK_JOB_CANCELLED');
      expectEqual(Object.keys(data).sort(), ['device', 'len', 'offset', 'speed', 'type'], 'members');
    },
  }),
  example({
    id: 'qmp/query/jobs-agree',
    title: 'query-jobs and query-block-jobs show the same status and progress of a job',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const bench = await benchIn(world, 'ready');
      const [job = {}] = await bench.monitor.list('query-jobs');
      const { len, offset, status, type } = await bench.blockJob();
      expectEqual(
        {
          type: job.type,
          status: job.status,
          current: job['current-progress'],
          total: job['total-progress'],
        },
        { type, status, current: offset, total: len },
        'the job in query-jobs',
      );
    },
  }),
  example({
    id: 'qmp/query/failure-kept',
    title: 'Without auto-dismiss a failed job stays concluded, with its error in queries and in COMPLETED',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await bench.raw('source');
      await bench.raw('target', [], DISK_BYTES / 2);
      await bench.mirror({ 'auto-dismiss': false });
      await bench.monitor.reach(JOB, 'concluded');
      const error = 'Source and target image have different sizes';
      expectEqual((await bench.monitor.job(JOB))?.error, error, 'error in query-jobs');
      expectEqual((await bench.blockJob()).error, error, 'error in query-block-jobs');
      expectEqual(bench.monitor.eventData('BLOCK_JOB_COMPLETED')[0]?.error, error, 'error in COMPLETED');
    },
  }),
  example({
    id: 'qmp/query/cancel-kept',
    title: 'A job that was cancelled by force is concluded with the error of a cancellation',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const { monitor } = await benchIn(world, 'ready');
      await monitor.succeed('job-cancel', { id: JOB });
      await monitor.reach(JOB, 'concluded');
      expectEqual((await monitor.job(JOB))?.error, 'Operation canceled', 'error in query-jobs');
    },
  }),
  example({
    id: 'qmp/query/create-is-no-block-job',
    title: 'A create job is in query-jobs and not in query-block-jobs, and block-job-* do not find it',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const monitor = await Monitor.ready(world);
      const options = { driver: 'qcow2', file: 'nonode', size: DISK_BYTES };
      await monitor.succeed('blockdev-create', { 'job-id': JOB, options });
      await monitor.reach(JOB, 'concluded');
      expectEqual((await monitor.job(JOB))?.type, 'create', 'type in query-jobs');
      expectEqual(await monitor.list('query-block-jobs'), [], 'query-block-jobs');
      const reply = await monitor.execute('block-job-dismiss', { id: JOB });
      expectEqual<unknown>(
        reply,
        { error: { class: 'DeviceNotActive', desc: `Block job '${JOB}' not found` } },
        'reply to block-job-dismiss',
      );
      await monitor.succeed('job-dismiss', { id: JOB });
      expectEqual(await monitor.list('query-jobs'), [], 'query-jobs after the dismissal');
    },
  }),
];
