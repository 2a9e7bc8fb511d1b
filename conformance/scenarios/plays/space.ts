/** mirror/target-enospc and commit/base-enospc: what a job writes to runs full. */
import { expect, expectEqual } from '../../expect.ts';
import { Bench, JOB } from '../../qmp/bench.ts';
import type { Monitor } from '../../qmp/monitor.ts';
import type { WireMessage } from '../../wire.ts';
import type { World } from '../../world.ts';
import { type Play, play, sleep, untilDone } from '../play.ts';

const MIB = 1024 * 1024;
const NEEDS = ['qmp', 'qmpDisks', 'faults', 'virtualTime'] as const;

/** How often applications look. */
const POLL_MS = 500;

/** Limits what the host has room for in a file; null: no limit. */
async function setCapacity({ server }: Bench, path: string, bytes: number | null): Promise<void> {
  await server?.control?.({ control: 'set-capacity', path, bytes });
}

const MIRROR = 'mirror/target-enospc';
const STAGE = { diskBytes: 1024 * MIB, dataBytes: 400 * MIB, roomBytes: 300 * MIB } as const;
const FILTER = 'mirror-filter';
const DATA = { offsetBytes: 0, lengthBytes: STAGE.dataBytes, byte: 0x5a } as const;
const LATER = { offsetBytes: 600 * MIB, lengthBytes: MIB, byte: 0x3c } as const;

/** What a full target looks like that has been filled once. */
const FULL = { at: 'mirror.target-write', do: 'error', errno: 'ENOSPC' } as const;

/** What the manager of a mirror has in hand. */
interface MirrorStage {
  readonly world: World;
  readonly monitor: Monitor;
  /** Gets the target more room. */
  readonly grow: () => Promise<void>;
}

/** Brings a mirror to its completion; resolves to what it believes came of it. */
type MirrorManager = (stage: MirrorStage) => Promise<'completed' | 'failed'>;

const blockJob = async (monitor: Monitor): Promise<WireMessage | undefined> =>
  (await monitor.list('query-block-jobs'))[0];

/** Makes room where that is what is missing, resumes what was stopped, completes what is READY, and reads the error. */
const carefulManager: MirrorManager = async ({ world, monitor, grow }) => {
  for (let errors = 0; ; await sleep(world, POLL_MS)) {
    const job = await blockJob(monitor);
    if (!job || job.status === 'concluded') return job?.error === undefined ? 'completed' : 'failed';
    const seen = monitor.eventData('BLOCK_JOB_ERROR').length;
    if (seen > errors) await grow();
    errors = seen;
    if (job['io-status'] === 'nospace') await monitor.succeed('block-job-resume', { device: JOB });
    else if (job.status === 'ready' && job.offset === job.len)
      await monitor.execute('job-complete', { id: JOB });
  }
};

const trustsCompleted: MirrorManager = async (stage) => {
  await carefulManager(stage);
  return stage.monitor.eventData('BLOCK_JOB_COMPLETED').length > 0 ? 'completed' : 'failed';
};

const resumesOnly: MirrorManager = (stage) => carefulManager({ ...stage, grow: async () => {} });

async function mirrorInto(world: World, policy: string, isReadyFirst: boolean): Promise<Bench> {
  const bench = await Bench.withBus(world);
  await bench.raw('source', [DATA], STAGE.diskBytes);
  await bench.raw('target', [], STAGE.diskBytes);
  const target = bench.path('target.raw');
  if (!isReadyFirst) await setCapacity(bench, target, STAGE.roomBytes);
  await bench.mirror({
    ...{ 'auto-dismiss': false, 'on-target-error': policy, 'filter-node-name': FILTER },
    ...{ 'buf-size': 16 * MIB, granularity: MIB },
  });
  if (!isReadyFirst) return bench;
  await bench.ready();
  await bench.server?.control?.({ control: 'add-faults', faults: [FULL] });
  await bench.write(FILTER, LATER);
  return bench;
}

/** What is seen before anybody does anything about it. */
async function expectFull({ monitor, world }: Bench, policy: string, isReadyFirst: boolean): Promise<void> {
  const first = await monitor.until('BLOCK_JOB_ERROR', () => monitor.eventData('BLOCK_JOB_ERROR')[0]);
  const action = policy === 'enospc' ? 'stop' : policy;
  expectEqual<WireMessage>(first, { device: JOB, operation: 'write', action }, 'BLOCK_JOB_ERROR');
  if (policy === 'ignore') {
    await sleep(world, 50);
    const job = await blockJob(monitor);
    expectEqual(job?.status, isReadyFirst ? 'ready' : 'running', 'status of a job that goes on in vain');
    expect(Number(job?.offset) < Number(job?.len), 'a job whose target is full is told to be through');
  }
  if (action !== 'stop') return;
  const stopped = isReadyFirst ? 'standby' : 'paused';
  await monitor.reach(JOB, stopped);
  const told = monitor.eventData('BLOCK_JOB_ERROR').length;
  await monitor.succeed('block-job-resume', { device: JOB });
  await monitor.until('the same again', () => monitor.eventData('BLOCK_JOB_ERROR').length > told);
  await monitor.reach(JOB, stopped);
  const { status, 'io-status': ioStatus } = (await blockJob(monitor)) ?? {};
  expectEqual<object>({ status, ioStatus }, { status: stopped, ioStatus: 'nospace' }, 'the stopped job');
}

async function runMirror(world: World, policy: string, isReadyFirst: boolean, app: MirrorManager) {
  const bench = await mirrorInto(world, policy, isReadyFirst);
  const { monitor } = bench;
  await expectFull(bench, policy, isReadyFirst);
  const grow = async () => {
    await setCapacity(bench, bench.path('target.raw'), null);
    await bench.server?.control?.({ control: 'clear-faults' });
  };
  const believed = await untilDone(world, app({ world, monitor, grow }), 5000);
  const wanted = policy === 'report' ? 'failed' : 'completed';
  expectEqual<string>(believed, wanted, 'what the manager believes came of the mirror');
  if (policy === 'report')
    expectEqual((await monitor.job(JOB))?.error, 'No space left on device', 'error of the job');
  await monitor.succeed('quit');
  await monitor.until('the end of the connection', () => monitor.isClosed);
  const source = await world.session.contents(bench.path('source.raw'));
  expectEqual<object>(source, isReadyFirst ? [DATA, LATER] : [DATA], 'contents of the source');
  if (policy !== 'report')
    expectEqual(await world.session.contents(bench.path('target.raw')), source, 'contents of the target');
}

const POLICIES = ['report', 'stop', 'enospc', 'ignore'] as const;

/** The plays of mirror/target-enospc. */
export const targetFullPlays: readonly Play[] = POLICIES.flatMap((policy) =>
  [false, true].map((isReadyFirst) =>
    play<MirrorManager>(MIRROR, 'tp-qemu #2398, #2636, #2747; vdsm #395; Harvester #11208', {
      id: `${policy}-${isReadyFirst ? 'after' : 'before'}-ready`,
      title: `The target runs full ${isReadyFirst ? 'after' : 'before'} READY, with on-target-error=${policy}`,
      needs: NEEDS,
      stage: { ...STAGE, policy },
      right: carefulManager,
      wrong:
        policy === 'report'
          ? [
              {
                name: 'trusts-completed',
                does: 'takes BLOCK_JOB_COMPLETED for a success',
                app: trustsCompleted,
              },
            ]
          : [{ name: 'resumes-only', does: 'resumes and does not make room', app: resumesOnly }],
      run: (world, app) => runMirror(world, policy, isReadyFirst, app),
    }),
  ),
);

const COMMIT = 'commit/base-enospc';
const THIN = { diskBytes: 1024 * MIB, overlayBytes: 400 * MIB, leaseBytes: 256 * MIB } as const;
const OVERLAY = { offsetBytes: 0, lengthBytes: THIN.overlayBytes, byte: 0x77 } as const;

/** How one request to extend the lease goes; `lost`: no answer ever, and nothing extended. */
type Extension = 'ok' | 'lost' | 'fails' | 'late';

/** What the manager of a commit has in hand. */
interface CommitStage {
  readonly world: World;
  readonly monitor: Monitor;
  /** Asks the storage for more room below the base; answers after some seconds, or never. */
  readonly extend: () => Promise<void>;
  readonly top: string;
  readonly base: string;
}

/** Commits the overlay; resolves to the path of the image that the disk is on from now on. */
type CommitManager = (stage: CommitStage) => Promise<string>;

const PATIENCE_MS = 8000;

/** Gives up on a request that is not answered in time; true: it was, and well. */
async function within(world: World, request: Promise<void>): Promise<boolean> {
  return Promise.race([
    request.then(
      () => true,
      () => false,
    ),
    sleep(world, PATIENCE_MS).then(() => false),
  ]);
}

/** Asks up to `tries` times, resumes when there is room, and goes back to the overlay when there is none to be had. */
const committer =
  (tries: number, afterwards: (stage: CommitStage) => string = ({ top }) => top): CommitManager =>
  async (stage) => {
    const { world, monitor, extend, base } = stage;
    for (let asked = 0; ; await sleep(world, POLL_MS)) {
      const job = await blockJob(monitor);
      if (!job) return base;
      if (job['io-status'] === 'nospace') {
        if (asked++ < tries) {
          if (await within(world, extend())) await monitor.execute('block-job-resume', { device: JOB });
          continue;
        }
        await monitor.succeed('block-job-cancel', { device: JOB, force: true });
        await monitor.reach(JOB, 'null');
        return afterwards(stage);
      }
      if (job.status === 'ready') {
        await monitor.succeed('job-complete', { id: JOB });
        await monitor.reach(JOB, 'null');
        return base;
      }
    }
  };

const patient: CommitManager = async (stage) => {
  const forever = { ...stage, extend: () => stage.extend().catch(() => new Promise<void>(() => {})) };
  const { world, monitor, base } = forever;
  await world.until('a stopped commit', async () => (await blockJob(monitor))?.['io-status'] === 'nospace');
  await forever.extend();
  await monitor.succeed('block-job-resume', { device: JOB });
  await monitor.reach(JOB, 'ready');
  await monitor.succeed('job-complete', { id: JOB });
  await monitor.reach(JOB, 'null');
  return base;
};

async function runCommit(world: World, script: readonly Extension[], app: CommitManager): Promise<void> {
  const bench = await Bench.withBus(world);
  const [base, top] = [bench.path('base.qcow2'), bench.path('top.qcow2')];
  const image = { format: 'qcow2', capacityBytes: THIN.diskBytes } as const;
  await world.session.createImage({ ...image, path: base, writes: [] });
  const backing = { path: base, format: 'qcow2' } as const;
  await world.session.createImage({ ...image, path: top, writes: [OVERLAY], backing });
  await bench.open('qcow2', 'base', base, null);
  await bench.open('qcow2', 'top', top, 'base');
  await setCapacity(bench, base, THIN.leaseBytes);
  const { monitor } = bench;
  await monitor.succeed('block-commit', { 'job-id': JOB, device: 'top', 'on-error': 'enospc' });
  const answers = script.values();
  const latenciesMs = [2000, 6000, 3000];
  let asked = 0;
  const extend = async (): Promise<void> => {
    const answer = answers.next().value ?? 'fails';
    if (answer === 'lost') return new Promise(() => {});
    await sleep(world, answer === 'late' ? 10 * PATIENCE_MS : (latenciesMs[asked++ % 3] ?? 0));
    if (answer === 'fails') throw new Error('the volume group is full');
    await setCapacity(bench, base, null);
  };
  const active = await untilDone(world, app({ world, monitor, extend, top, base }), 600_000);
  expectEqual(await monitor.list('query-block-jobs'), [], 'jobs that are left');
  if (script.includes('late')) await sleep(world, 12 * PATIENCE_MS);
  await monitor.succeed('quit');
  await monitor.until('the end of the connection', () => monitor.isClosed);
  expectEqual<object>(await world.session.contents(active), [OVERLAY], 'what the guest reads from now on');
  expectEqual<object>(await world.session.contents(top), [OVERLAY], 'what is read through the whole chain');
}

const WAITS = {
  name: 'waits-for-the-reply',
  does: 'waits for one reply of the storage for as long as it takes',
  app: patient,
};
const DROPS = {
  name: 'drops-the-overlay',
  does: 'takes a commit that was given up for one that is done',
  app: committer(1, ({ base }) => base),
};

const commitPlay = (
  id: string,
  title: string,
  script: readonly Extension[],
  wrong: readonly (typeof WAITS)[],
): Play =>
  play<CommitManager>(COMMIT, 'vdsm #352, #357, 5e5498506, e89258204, 8ae0c79d1', {
    id,
    title,
    needs: NEEDS,
    stage: { ...THIN, script },
    right: committer(4),
    wrong,
    run: (world, app) => runCommit(world, script, app),
  });

/** The plays of commit/base-enospc. */
export const baseFullPlays: readonly Play[] = [
  commitPlay('extended', 'The lease below the base is extended, some seconds later', ['ok'], []),
  commitPlay('reply-lost', 'The first request to extend it is lost', ['lost', 'ok'], [WAITS]),
  commitPlay('fails-once', 'The first request to extend it fails', ['fails', 'ok'], [DROPS, WAITS]),
  commitPlay(
    'no-room',
    'There is no more room: the commit is given up',
    ['fails', 'fails', 'fails', 'fails'],
    [DROPS],
  ),
  commitPlay(
    'late-reply',
    'The answer comes when the job has long been given up',
    ['late', 'fails', 'fails', 'fails'],
    [DROPS],
  ),
];
