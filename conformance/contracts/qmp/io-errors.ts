/** What a job makes of a request that fails: BLOCK_JOB_ERROR, io-status, and the way back. */
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { Bench, DATA, DISK_BYTES, JOB } from '../../qmp/bench.ts';
import type { WireMessage } from '../../wire.ts';

const SOURCE = 'QAPI block-core.json BlockdevOnError, BLOCK_JOB_ERROR, BlockDeviceIoStatus';
const KIB = 1024;
const SECTOR_BYTES = 512;

/** The errors that policies tell apart. */
const ERRNOS = {
  EIO: { number: 5, text: 'Input/output error', ioStatus: 'failed' },
  ENOSPC: { number: 28, text: 'No space left on device', ioStatus: 'nospace' },
} as const;

type ErrnoName = keyof typeof ERRNOS;
type Action = 'ignore' | 'report' | 'stop';

/** Which of two jobs: a mirror's options tell apart its two sides, and so do a backup's. */
const JOBS = {
  mirror: async (bench: Bench, more: WireMessage) => bench.mirror({ 'auto-dismiss': false, ...more }),
  backup: async ({ monitor }: Bench, more: WireMessage) => {
    const small = { 'max-chunk': 64 * KIB, 'max-workers': 1 };
    const args = { 'job-id': JOB, device: 'source', target: 'target', sync: 'full', 'x-perf': small };
    await monitor.succeed('blockdev-backup', { ...args, 'auto-dismiss': false, ...more });
  },
} as const;

type JobName = keyof typeof JOBS;

/** One request that fails, and what is made of it. */
interface Row {
  readonly job: JobName;
  readonly side: 'source' | 'target';
  readonly errno: ErrnoName;
  readonly policy: Action | 'enospc';
  readonly action: Action;
}

const row = (
  job: JobName,
  side: Row['side'],
  errno: ErrnoName,
  policy: Row['policy'],
  action: Action,
): Row => ({
  job,
  side,
  errno,
  policy,
  action,
});

/** `auto` is left out: for jobs without a guest device it is `enospc`. */
const ROWS: readonly Row[] = (['mirror', 'backup'] as const).flatMap((job) => [
  row(job, 'target', 'ENOSPC', 'report', 'report'),
  row(job, 'target', 'ENOSPC', 'stop', 'stop'),
  row(job, 'target', 'ENOSPC', 'enospc', 'stop'),
  row(job, 'target', 'ENOSPC', 'ignore', 'ignore'),
  row(job, 'target', 'EIO', 'report', 'report'),
  row(job, 'target', 'EIO', 'stop', 'stop'),
  row(job, 'target', 'EIO', 'enospc', 'report'),
  row(job, 'source', 'EIO', 'report', 'report'),
  row(job, 'source', 'EIO', 'stop', 'stop'),
  row(job, 'source', 'EIO', 'ignore', 'ignore'),
]);

const OPERATIONS = { source: 'read', target: 'write' } as const;

/** A pair of which one side fails. */
async function failingPair(bench: Bench, side: Row['side'], rule: WireMessage): Promise<void> {
  const rules = { 'inject-error': [{ event: 'none', iotype: OPERATIONS[side], ...rule }] };
  if (side === 'source') await bench.debugged('source', rules, [DATA]);
  else await bench.raw('source', [DATA]);
  if (side === 'target') await bench.debugged('target', rules);
  else await bench.raw('target');
}

/** What has to be seen of each action, once the error is told. */
const AFTER: Readonly<Record<Action, (bench: Bench, row: Row) => Promise<void>>> = {
  async report({ monitor }, { errno }) {
    await monitor.reach(JOB, 'concluded');
    const { text } = ERRNOS[errno];
    expectEqual(monitor.eventData('BLOCK_JOB_COMPLETED')[0]?.error, text, 'error in BLOCK_JOB_COMPLETED');
    const [job = {}] = await monitor.list('query-block-jobs');
    expectEqual(job.error, text, 'error in query-block-jobs');
    expectEqual(job['io-status'], 'ok', 'io-status of a job that ends');
  },
  async stop(bench, row) {
    const { monitor } = bench;
    await monitor.reach(JOB, 'paused');
    const { paused, status, 'io-status': ioStatus } = await bench.blockJob();
    const wanted = { paused: true, status: 'paused', ioStatus: ERRNOS[row.errno].ioStatus };
    expectEqual<object>({ paused, status, ioStatus }, wanted, 'the stopped job');
    await monitor.succeed('job-resume', { id: JOB });
    await succeeded(bench, row);
  },
  ignore: succeeded,
};

/** The job has gone on as if nothing had happened, and what could not be moved at first has been moved. */
async function succeeded(bench: Bench, { job }: Row): Promise<void> {
  const { monitor, world } = bench;
  await monitor.reach(JOB, job === 'mirror' ? 'ready' : 'concluded');
  const { 'io-status': ioStatus, error = null } = await bench.blockJob();
  expectEqual<object>({ ioStatus, error }, { ioStatus: 'ok', error: null }, 'the job that went on');
  if (job === 'mirror') {
    await monitor.succeed('block-job-cancel', { device: JOB });
    await monitor.reach(JOB, 'concluded');
  }
  await monitor.succeed('job-dismiss', { id: JOB });
  for (const name of ['source', 'target']) await monitor.succeed('blockdev-del', { 'node-name': name });
  const contents = async (name: string) => world.session.contents(bench.path(`${name}.raw`));
  expectEqual(await contents('target'), await contents('source'), 'contents of the target');
}

const nameOf = ({ job, side, errno, policy }: Row): string =>
  `${job}-${side}-${errno.toLowerCase()}-${policy}`;

const DOES: Readonly<Record<Action, string>> = {
  report: 'ends the job with that error',
  stop: 'stops the job, which shows it in io-status and goes on when it is resumed',
  ignore: 'is told, and the job goes on',
};

const policies: readonly Contract[] = ROWS.map((each) => {
  const { job, side, errno, policy, action } = each;
  return example({
    id: `qmp/io-error/${nameOf(each)}`,
    title: `${errno} on the ${side} of a ${job} with policy ${policy} ${DOES[action]}`,
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await failingPair(bench, side, { errno: ERRNOS[errno].number, once: true });
      await JOBS[job](bench, { [`on-${side}-error`]: policy });
      const { monitor } = bench;
      const [data] = await monitor.until('BLOCK_JOB_ERROR', () => {
        const found = monitor.eventData('BLOCK_JOB_ERROR');
        return found.length > 0 && found;
      });
      expectEqual<WireMessage | undefined>(
        data,
        { device: JOB, operation: OPERATIONS[side], action },
        'BLOCK_JOB_ERROR',
      );
      await AFTER[action](bench, each);
      expectEqual(monitor.eventData('BLOCK_JOB_ERROR').length, 1, 'number of BLOCK_JOB_ERROR');
    },
  });
});

/** Beyond the data, so that nothing but a guest's write goes there. */
const LATER = { offsetBytes: 768 * KIB, lengthBytes: 64 * KIB, byte: 0x3c } as const;

/** A mirror in READY whose next guest write cannot be copied. */
async function readyToFail(bench: Bench, policy: string, once: boolean): Promise<void> {
  const sector = LATER.offsetBytes / SECTOR_BYTES;
  await failingPair(bench, 'target', { errno: ERRNOS.ENOSPC.number, sector, once });
  const filter = 'mirror-filter';
  await bench.mirror({ 'auto-dismiss': false, 'on-target-error': policy, 'filter-node-name': filter });
  await bench.ready();
  // As a device would: today's mirrors do not see what is written below their filter.
  await bench.write(filter, LATER);
}

/** The contracts about I/O errors of jobs. */
export const ioErrorContracts: readonly Contract[] = [
  ...policies,
  example({
    id: 'qmp/io-error/order-report',
    title: 'BLOCK_JOB_ERROR comes before the job begins to abort',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await failingPair(bench, 'target', { errno: 5 });
      await bench.mirror();
      await bench.monitor.reach(JOB, 'null');
      expectEqual(
        bench.monitor.jobEvents(JOB),
        [
          ...['J:created', 'J:running', 'BLOCK_JOB_ERROR', 'J:aborting', 'BLOCK_JOB_COMPLETED'],
          ...['J:concluded', 'J:null'],
        ],
        'events of the job',
      );
    },
  }),
  example({
    id: 'qmp/io-error/resume-without-cure',
    title: 'A stopped job that is resumed while the error lasts stops again, with another BLOCK_JOB_ERROR',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await failingPair(bench, 'target', { errno: ERRNOS.ENOSPC.number });
      await bench.mirror({ 'on-target-error': 'enospc' });
      const { monitor } = bench;
      const stopped = (times: number) =>
        monitor.until(
          `stop ${times}`,
          () => monitor.jobEvents(JOB).filter((event) => event === 'J:paused').length === times,
        );
      await stopped(1);
      await monitor.succeed('block-job-resume', { device: JOB });
      await stopped(2);
      expectEqual(monitor.eventData('BLOCK_JOB_ERROR').length, 2, 'number of BLOCK_JOB_ERROR');
      expectEqual((await bench.blockJob())['io-status'], 'nospace', 'io-status');
      await monitor.succeed('block-job-cancel', { device: JOB, force: true });
      await monitor.reach(JOB, 'null');
      expectEqual(await bench.nodes(), ['source', 'target'], 'nodes after the job');
    },
  }),
  example({
    id: 'qmp/io-error/ready-stop',
    title: 'An error after READY stops the job in standby; resumed, it is READY again and can be completed',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await readyToFail(bench, 'stop', true);
      const { monitor } = bench;
      await monitor.reach(JOB, 'standby');
      const { ready, status, 'io-status': ioStatus } = await bench.blockJob();
      const wanted = { ready: true, status: 'standby', ioStatus: 'nospace' };
      expectEqual<object>({ ready, status, ioStatus }, wanted, 'the stopped job');
      await monitor.succeed('job-resume', { id: JOB });
      expectEqual((await bench.blockJob())['io-status'], 'ok', 'io-status after the resume');
      await monitor.succeed('job-complete', { id: JOB });
      await monitor.reach(JOB, 'concluded');
      expectEqual((await monitor.job(JOB))?.error, undefined, 'error of the completed job');
      expectEqual(monitor.eventData('BLOCK_JOB_READY').length, 1, 'number of BLOCK_JOB_READY');
    },
  }),
  example({
    id: 'qmp/io-error/ready-report',
    title: 'An error after READY with policy report fails the job, and the source stays',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await readyToFail(bench, 'report', false);
      const { monitor } = bench;
      await monitor.reach(JOB, 'concluded');
      expectEqual((await monitor.job(JOB))?.error, ERRNOS.ENOSPC.text, 'error of the job');
      await monitor.succeed('job-dismiss', { id: JOB });
      await monitor.succeed('blockdev-del', { 'node-name': 'source' });
      const contents = await world.session.contents(bench.path('source.raw'));
      expectEqual<object>(contents, [DATA, LATER], 'contents of the source');
    },
  }),
  example({
    id: 'qmp/io-error/ready-force-cancel',
    title: 'A READY mirror whose target always fails ends when it is cancelled by force',
    source: `${SOURCE}; QEMU 6.2, mirror: handling of cancel in READY with errors`,
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await readyToFail(bench, 'stop', false);
      const { monitor } = bench;
      await monitor.reach(JOB, 'standby');
      await monitor.succeed('block-job-cancel', { device: JOB, force: true });
      await monitor.reach(JOB, 'concluded');
      const [data = {}] = monitor.eventData('BLOCK_JOB_CANCELLED');
      expect(Number(data.len) >= DISK_BYTES, 'BLOCK_JOB_CANCELLED did not come with the length of the job');
    },
  }),
];
