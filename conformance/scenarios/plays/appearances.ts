/** Scenarios about what a job looks like before it is what it looks like: progress, READY, early ends. */
import { BlockJobAbortFlags, ErrorCode } from '../../../src/index.ts';
import { expect, expectEqual, expectRefused } from '../../expect.ts';
import { Bench, DATA, HELD_SPEED, JOB } from '../../qmp/bench.ts';
import type { Monitor } from '../../qmp/monitor.ts';
import { copyTargetXml, type JobInfo, type Vm } from '../../vm.ts';
import { isObject, isObjectList, type WireMessage, type WireValue } from '../../wire.ts';
import type { World } from '../../world.ts';
import { type Play, play, sleep, untilDone } from '../play.ts';

const MIB = 1024 * 1024;
const API_NEEDS = ['copy', 'qmp', 'faults', 'virtualTime'] as const;

/** What an application can see of a copy at one instant. */
interface Look {
  /** query-block-jobs. */
  readonly qmp: WireMessage | undefined;
  /** virDomainGetBlockJobInfo. */
  readonly api: JobInfo | null;
}

/** Whether the copy is through and can be pivoted. */
type Judge = (look: Look) => boolean;

const byApi: Judge = ({ api }) => api !== null && api.cur === api.end;
const byQmp: Judge = ({ qmp }) => qmp !== undefined && qmp.offset === qmp.len;

async function look(vm: Vm): Promise<Look> {
  const reply: WireValue = JSON.parse(await vm.domain.qemuMonitorCommand('{"execute":"query-block-jobs"}'));
  const jobs = isObject(reply) && isObjectList(reply.return) ? reply.return : [];
  return { qmp: jobs[0], api: await vm.info() };
}

const WRITTEN = { offsetBytes: 0, lengthBytes: 8 * MIB, byte: 0x5a } as const;

const start = (world: World): Promise<Vm> =>
  world.start({ capacityBytes: 16 * MIB, isDeclared: true, layers: [{ format: 'raw', writes: [WRITTEN] }] });

const control = (vm: Vm, request: WireMessage) => vm.world.session.control?.(vm.domain.name, request);

/** Looks for a while: nobody may take the copy for done, and a pivot is refused. */
async function expectNotYet(vm: Vm, judge: Judge, looks: number, everyMs: number): Promise<readonly Look[]> {
  const all: Look[] = [];
  for (let count = 0; count < looks; count++) {
    const seen = await look(vm);
    all.push(seen);
    expect(!judge(seen), `the application takes it for done at ${JSON.stringify(seen)}`);
    expect(
      seen.api !== null && seen.api.cur < seen.api.end,
      `progress says complete: ${JSON.stringify(seen.api)}`,
    );
    const pivot = vm.domain.blockJobAbort(vm.disk, BlockJobAbortFlags.PIVOT);
    await expectRefused(pivot, ErrorCode.BLOCK_COPY_ACTIVE, 'a pivot before READY');
    await sleep(vm.world, everyMs);
  }
  return all;
}

/** READY once, then a pivot that works, and equal bytes. */
async function expectEnd(vm: Vm, judge: Judge, target: string): Promise<void> {
  await vm.ready();
  expect(judge(await look(vm)), 'the application does not see that the copy is through');
  await vm.domain.blockJobAbort(vm.disk, BlockJobAbortFlags.PIVOT);
  expectEqual(vm.statuses(), [3, 0], 'events of the copy');
  await vm.domain.destroy();
  const [source, copy] = [vm.source, target].map((path) => vm.world.session.contents(path));
  expectEqual(await copy, await source, 'contents of the destination');
}

const TRUSTS_QMP = {
  name: 'offset-equals-len',
  does: 'compares offset and len as QMP has them',
  app: byQmp,
} as const;

/** A copy that stands still at one point, where it looks through and is not. */
interface Appearance {
  readonly scenario: string;
  readonly source: string;
  readonly id: string;
  readonly title: string;
  /** Where it stands, how long, and how often it is looked at meanwhile. */
  readonly stage: {
    readonly at: string;
    readonly holdMs: number;
    readonly looks: number;
    readonly everyMs: number;
  };
  /** What an application can fall for has to be there. */
  readonly expectLooks: (looks: readonly Look[]) => void;
}

const ZERO_ZERO = { len: 0, offset: 0, ready: false, status: 'running' };

const APPEARANCES: readonly Appearance[] = [
  {
    scenario: 'mirror/zero-zero-start',
    source: 'nova bug 1530275; BZ 1442266',
    id: 'first-look',
    title:
      'The first look at a copy, before it knows how much there is to do, and the half second until it moves',
    stage: { at: 'mirror.source-read', holdMs: 500, looks: 5, everyMs: 80 },
    expectLooks([first]) {
      const { len, offset, ready, status } = first?.qmp ?? {};
      expectEqual<object>({ len, offset, ready, status }, ZERO_ZERO, 'the job in the first look');
      expectEqual(first?.api && [first.api.cur, first.api.end], [0, 1], 'cur and end in the first look');
    },
  },
  {
    scenario: 'mirror/cur-equals-end-not-ready',
    source: 'BZ 1376580; LibVirtKvm-scripts #41, #42',
    id: 'last-flush',
    title: 'Everything is copied, and the flush before READY takes ten seconds',
    stage: { at: 'mirror.target-flush', holdMs: 10_000, looks: 10, everyMs: 900 },
    expectLooks(looks) {
      const equal = looks.filter(({ qmp }) => qmp?.offset === qmp?.len && qmp?.ready === false);
      expect(equal.length >= 8, 'QMP never showed offset and len equal before READY');
      const api = looks.at(-1)?.api;
      expectEqual(api?.cur, (api?.end ?? 0) - 1, 'cur when all is copied and READY has not been said');
    },
  },
];

const appearance = ({ scenario, source, id, title, stage, expectLooks }: Appearance): Play =>
  play<Judge>(scenario, source, {
    ...{ id, title, stage: { ...stage } },
    needs: API_NEEDS,
    right: byApi,
    wrong: [TRUSTS_QMP],
    async run(world, judge) {
      const { at, holdMs, looks, everyMs } = stage;
      const vm = await start(world);
      const hold = { at, do: 'delay', delayNs: holdMs * 1e6, times: 1 };
      await control(vm, { control: 'add-faults', faults: [hold] });
      const target = vm.target();
      await vm.domain.blockCopy(vm.disk, copyTargetXml(target, 'raw'));
      expectLooks(await expectNotYet(vm, judge, looks, everyMs));
      await expectEnd(vm, judge, target);
    },
  });

/** The plays of a scenario in which a copy looks through and is not. */
export const appearancePlays = (scenario: string): readonly Play[] =>
  APPEARANCES.filter((each) => each.scenario === scenario).map(appearance);

/** What a client of QMP has. */
interface Client {
  readonly world: World;
  readonly monitor: Monitor;
  /** Events since it subscribed. */
  readonly events: () => readonly WireMessage[];
}

/** Finds out how a job ended that was just started; resolves to its error, or undefined for a success. */
type Waiter = (client: Client) => Promise<string | undefined>;

/** By the event if it came, by the job if it is kept. */
const bothWays: Waiter = async ({ world, monitor, events }) => {
  for (; ; await sleep(world, 1000)) {
    const ended = events().find(({ event }) => event === 'BLOCK_JOB_COMPLETED');
    const data = ended && isObject(ended.data) ? ended.data : undefined;
    const job = await monitor.job(JOB);
    if (job?.status === 'concluded') await monitor.succeed('job-dismiss', { id: JOB });
    if (data || job?.status === 'concluded') {
      const error = data?.error ?? job?.error;
      return error === undefined ? undefined : String(error);
    }
  }
};

/** "None listed: it is through." */
const polls: Waiter = async ({ world, monitor }) => {
  for (; ; await sleep(world, 1000)) {
    const job = await monitor.job(JOB);
    if (!job || job.status === 'concluded') return undefined;
  }
};

/** The plays of job/fails-before-first-poll. */
export const earlyFailurePlays: readonly Play[] = [true, false].flatMap((isDismissed) =>
  [true, false].map((isEarly) =>
    play<Waiter>('job/fails-before-first-poll', 'incus bcffa337ac; Proxmox d0008465', {
      id: `${isDismissed ? 'dismissed' : 'kept'}-${isEarly ? 'subscribed' : 'with-the-reply'}`,
      title: `A job fails at its first write, is ${isDismissed ? 'gone at once' : 'kept'}, and its client ${isEarly ? 'listened before' : 'listens from the start on'}`,
      needs: ['qmp', 'virtualTime'],
      stage: { 'auto-dismiss': isDismissed, isEarly, pollMs: 1000 },
      right: bothWays,
      wrong: [
        {
          name: 'polls',
          does: 'polls once a second and takes a job that is gone for one that is done',
          app: polls,
        },
      ],
      async run(world, app) {
        const bench = await Bench.empty(world);
        await bench.raw('source', [DATA]);
        const rule = { event: 'none', iotype: 'write', errno: 5 };
        await bench.debugged('target', { 'inject-error': [rule] });
        const { monitor } = bench;
        const from = isEarly ? 0 : monitor.received.length;
        await bench.mirror({ 'auto-dismiss': isDismissed });
        await monitor.reach(JOB, isDismissed ? 'null' : 'concluded');
        const [{ error, offset } = {}] = monitor.eventData('BLOCK_JOB_COMPLETED');
        expectEqual<object>(
          { error, offset },
          { error: 'Input/output error', offset: 0 },
          'BLOCK_JOB_COMPLETED',
        );
        const client = { world, monitor, events: () => monitor.received.slice(from) };
        const told = await untilDone(world, app(client), 5000);
        expectEqual(told, 'Input/output error', 'what the client makes of it');
        expectEqual(await monitor.list('query-jobs'), [], 'jobs afterwards');
      },
    }),
  ),
);

/** Waits for READY of a job that was just started. */
type ReadyWaiter = (client: Client) => Promise<void>;

const looksToo: ReadyWaiter = async ({ world, monitor, events }) => {
  for (; ; await sleep(world, 100)) {
    if (events().some(({ event }) => event === 'BLOCK_JOB_READY')) return;
    if ((await monitor.job(JOB))?.status === 'ready') return;
  }
};
const waitsForEvent: ReadyWaiter = async ({ world, events }) => {
  for (; ; await sleep(world, 100)) if (events().some(({ event }) => event === 'BLOCK_JOB_READY')) return;
};

/** The plays of events/subscribed-after-start. */
export const lateSubscriberPlays: readonly Play[] = [
  play<ReadyWaiter>('events/subscribed-after-start', 'incus bcffa337ac; KubeVirt #1630; CloudStack #8437', {
    id: 'ready-at-once',
    title: 'A mirror with nothing to copy is READY before its client has begun to listen',
    needs: ['qmp', 'virtualTime'],
    stage: { sync: 'none' },
    right: looksToo,
    wrong: [
      {
        name: 'waits-for-event',
        does: 'waits for an event that came before it listened',
        app: waitsForEvent,
      },
    ],
    async run(world, app) {
      const bench = await Bench.empty(world);
      await bench.pair();
      await bench.mirror({ sync: 'none' });
      await bench.ready();
      const { monitor } = bench;
      await monitor.until('BLOCK_JOB_READY', () => monitor.eventData('BLOCK_JOB_READY').length > 0);
      const from = monitor.received.length;
      const client = { world, monitor, events: () => monitor.received.slice(from) };
      await untilDone(world, app(client), 5000);
      expectEqual(monitor.eventData('BLOCK_JOB_READY').length, 1, 'number of BLOCK_JOB_READY');
    },
  }),
];

/** Completes a READY mirror and takes its source away. */
type Completer = (bench: Bench) => Promise<void>;

const waitsForEnd: Completer = async ({ monitor }) => {
  await monitor.succeed('job-complete', { id: JOB });
  await monitor.reach(JOB, 'null');
  await monitor.succeed('blockdev-del', { 'node-name': 'source' });
};
const trustsReply: Completer = async ({ monitor }) => {
  await monitor.succeed('job-complete', { id: JOB });
  await monitor.succeed('blockdev-del', { 'node-name': 'source' });
};

/** The plays of complete/returns-early. */
export const earlyReturnPlays: readonly Play[] = [
  play<Completer>('complete/returns-early', 'incus #3201, #3188; BZ 1119173; nova 0f78442867', {
    id: 'node-is-busy',
    title: 'A completion is acknowledged 300 ms before the graph changes',
    needs: ['qmp', 'qmpDisks', 'faults', 'virtualTime'],
    stage: { delayMs: 300 },
    right: waitsForEnd,
    wrong: [
      { name: 'trusts-the-reply', does: 'takes the reply to the completion for its end', app: trustsReply },
    ],
    async run(world, app) {
      const bench = await Bench.withBus(world);
      await bench.pair();
      await bench.mirror({ 'filter-node-name': 'mirror-filter' });
      await bench.ready();
      await bench.write('mirror-filter', { offsetBytes: 0, lengthBytes: 4096, byte: 0x11 });
      const slow = { at: 'mirror.target-flush', do: 'delay', delayNs: 300e6, times: 1 };
      await bench.server?.control?.({ control: 'add-faults', faults: [slow] });
      const startedMs = world.timers.now();
      await app(bench);
      expect(world.timers.now() - startedMs >= 300, 'the source went before the job did');
      expectEqual(await bench.nodes(), ['target'], 'nodes afterwards');
    },
  }),
  play<typeof BlockJobAbortFlags.PIVOT | number>('complete/returns-early', 'BZ 1119173; nova 0f78442867', {
    id: 'sync-pivot',
    title: 'A synchronous pivot returns when it has happened, 300 ms later, and not before',
    needs: API_NEEDS,
    stage: { delayMs: 300 },
    right: BlockJobAbortFlags.PIVOT,
    wrong: [
      {
        name: 'asynchronous',
        does: 'asks for an asynchronous pivot and takes its return for the end',
        app: BlockJobAbortFlags.PIVOT | BlockJobAbortFlags.ASYNC,
      },
    ],
    async run(world, flags) {
      const vm = await start(world);
      const target = vm.target();
      await vm.domain.blockCopy(vm.disk, copyTargetXml(target, 'raw'));
      await vm.ready();
      await vm.write([{ offsetBytes: 0, lengthBytes: 4096, byte: 0x11 }]);
      const slow = { at: 'mirror.target-flush', do: 'delay', delayNs: 300e6, times: 1 };
      await control(vm, { control: 'add-faults', faults: [slow] });
      await vm.domain.blockJobAbort(vm.disk, flags);
      expectEqual((await vm.view()).chain[0], target, 'image of the disk when the pivot has returned');
    },
  }),
];

/** Puts away what a mirror that did not complete has left, so that the same one can be started again. */
type Cleaner = (bench: Bench) => Promise<void>;

const cleansAll: Cleaner = async ({ monitor }) => {
  if (await monitor.job(JOB)) await monitor.succeed('job-dismiss', { id: JOB });
  await monitor.succeed('blockdev-del', { 'node-name': 'target' });
};
const forgetsTarget: Cleaner = async ({ monitor }) => {
  if (await monitor.job(JOB)) await monitor.succeed('job-dismiss', { id: JOB });
};
const forgetsJob: Cleaner = async ({ monitor }) => {
  await monitor.succeed('blockdev-del', { 'node-name': 'target' });
};

const PHASES = ['running', 'ready', 'failed'] as const;

/** The plays of abort/leftover-nodes. */
export const leftoverPlays: readonly Play[] = PHASES.map((phase) =>
  play<Cleaner>('abort/leftover-nodes', 'incus #4054; Proxmox 8e671e79, 0b9090c6; deckhouse #2282', {
    id: phase,
    title: `A mirror ${phase === 'failed' ? 'fails' : `is cancelled when ${phase}`}, and the same one is started again`,
    needs: ['qmp'],
    stage: { phase, 'auto-dismiss': false, 'filter-node-name': 'mirror-filter' },
    right: cleansAll,
    wrong: [
      { name: 'forgets-target', does: 'leaves the node of the target behind', app: forgetsTarget },
      { name: 'forgets-job', does: 'does not dismiss the job', app: forgetsJob },
    ],
    async run(world, app) {
      const bench = await Bench.empty(world);
      await bench.raw('source', [DATA]);
      const rule = { event: 'none', iotype: 'write', errno: 5 };
      if (phase === 'failed') await bench.debugged('target', { 'inject-error': [rule] });
      else await bench.raw('target');
      const { monitor } = bench;
      const options = { 'auto-dismiss': false, 'filter-node-name': 'mirror-filter' };
      await bench.mirror({ ...options, ...(phase === 'running' ? { speed: HELD_SPEED } : {}) });
      if (phase === 'running') await bench.moving();
      if (phase === 'ready') await bench.ready();
      if (phase !== 'failed') await monitor.succeed('block-job-cancel', { device: JOB, force: true });
      await monitor.reach(JOB, 'concluded');
      await app(bench);
      expectEqual(await bench.nodes(), ['source'], 'nodes after the cleaning');
      await bench.open('raw', 'target', bench.path('target.raw'));
      await bench.mirror(options);
      await monitor.until(
        'READY of the second mirror',
        () => monitor.jobEvents(JOB).at(-1) === 'BLOCK_JOB_READY',
      );
    },
  }),
);
