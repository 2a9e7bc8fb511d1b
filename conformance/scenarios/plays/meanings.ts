/** job/none-means-what and guest/paused-on-io-error: what no job means, and who listens while a guest stands still. */
import { BlockJobAbortFlags, BlockJobStatus, EventId } from '../../../src/index.ts';
import { expectEqual } from '../../expect.ts';
import { Bench, JOB } from '../../qmp/bench.ts';
import { copyTargetXml, type Vm } from '../../vm.ts';
import type { WireMessage } from '../../wire.ts';
import { type Play, play, sleep, untilDone } from '../play.ts';

const MIB = 1024 * 1024;
const WRITTEN = { offsetBytes: 0, lengthBytes: 4 * MIB, byte: 0x5a } as const;

type Fate = 'completed' | 'failed' | 'cancelled';

/** Follows a job from its start on; says what came of it when it is not there any more. */
type Follower = (vm: Vm) => () => Promise<Fate>;

const FATES: ReadonlyMap<number, Fate> = new Map([
  [BlockJobStatus.COMPLETED, 'completed'],
  [BlockJobStatus.FAILED, 'failed'],
  [BlockJobStatus.CANCELED, 'cancelled'],
]);

const keepsTheEvent: Follower = (vm) => {
  let fate: Fate | undefined;
  vm.world.connection.domainEventRegister(EventId.BLOCK_JOB_2, vm.domain, ({ status }) => {
    fate = FATES.get(status) ?? fate;
  });
  return () => vm.world.until('an end', () => fate);
};
const noneIsDone: Follower = (vm) => async () => {
  await vm.world.until('no job', async () => (await vm.info()) === null);
  return 'completed';
};

/** How a copy comes to be no more. */
const ENDS: { readonly [F in Fate]: (vm: Vm) => Promise<void> } = {
  async completed(vm) {
    await vm.ready();
    await vm.domain.blockJobAbort(vm.disk, BlockJobAbortFlags.PIVOT);
  },
  failed: () => Promise.resolve(),
  async cancelled(vm) {
    await vm.domain.blockJobAbort(vm.disk);
  },
};

const FULL: WireMessage = { at: 'mirror.target-write', do: 'error', errno: 'ENOSPC' };

/** The plays of job/none-means-what. */
export const nonePlays: readonly Play[] = (Object.keys(ENDS) as Fate[]).map((fate) =>
  play<Follower>('job/none-means-what', 'nova bugs 1260123, 1627134', {
    id: fate,
    title: `A copy that ${fate === 'cancelled' ? 'is cancelled' : fate} is no job any more`,
    needs: ['copy', 'faults', 'virtualTime'],
    stage: { fate, faults: fate === 'failed' ? [FULL] : [] },
    right: keepsTheEvent,
    wrong:
      fate === 'completed'
        ? []
        : [{ name: 'none-is-done', does: 'takes no job for a job that is done', app: noneIsDone }],
    async run(world, app) {
      const layers = [{ format: 'raw', writes: [WRITTEN] }] as const;
      const vm = await world.start({ capacityBytes: 8 * MIB, isDeclared: true, layers });
      const faults = fate === 'failed' ? [FULL] : [];
      await world.session.control?.(vm.domain.name, { control: 'add-faults', faults });
      const follow = app(vm);
      const slow = fate === 'cancelled' ? { bandwidth: 64 * 1024 } : {};
      await vm.domain.blockCopy(vm.disk, copyTargetXml(vm.target(), 'raw'), slow);
      await ENDS[fate](vm);
      expectEqual<string>(await untilDone(world, follow(), 10_000), fate, 'what the application believes');
      expectEqual(await vm.info(), null, 'job of the disk');
      expectEqual(
        (await vm.view()).chain[0],
        fate === 'completed' ? vm.target() : vm.source,
        'image of the disk',
      );
    },
  }),
);

/** A controller: told each event, and when the guest stands still or runs; asked at the end whether the job is over. */
interface Controller {
  hear(event: WireMessage): void;
  isOver(): boolean;
}

const listens = (): Controller => {
  let isOver = false;
  return {
    hear: ({ event }) => {
      isOver ||= event === 'BLOCK_JOB_COMPLETED';
    },
    isOver: () => isOver,
  };
};
const deafWhilePaused = (): Controller => {
  let [isOver, isPaused] = [false, false];
  return {
    hear: ({ event }) => {
      if (event === 'STOP' || event === 'RESUME') isPaused = event === 'STOP';
      else if (!isPaused) isOver ||= event === 'BLOCK_JOB_COMPLETED';
    },
    isOver: () => isOver,
  };
};

/** The play of guest/paused-on-io-error-events-still-flow. */
export const pausedPlays: readonly Play[] = [
  play<() => Controller>(
    'guest/paused-on-io-error-events-still-flow',
    'KubeVirt #16778, #18648; CloudStack #12821',
    {
      id: 'completed-while-paused',
      title: 'A guest is stopped by an I/O error, and the mirror of its disk completes meanwhile',
      needs: ['qmp', 'qmpDisks', 'faults', 'virtualTime'],
      stage: { werror: 'stop', errno: 'ENOSPC' },
      right: listens,
      wrong: [
        { name: 'deaf-while-paused', does: 'drops events while the guest is paused', app: deafWhilePaused },
      ],
      async run(world, app) {
        const bench = await Bench.withBus(world);
        const { monitor, server } = bench;
        await bench.pair();
        const device = { driver: 'virtio-blk-pci', id: 'disk', drive: 'source', werror: 'stop' };
        await monitor.succeed('device_add', device);
        await bench.mirror();
        await bench.ready();
        await monitor.succeed('cont');
        const control = async (request: WireMessage) => server?.control?.(request);
        await control({
          control: 'add-faults',
          faults: [{ at: 'guest.write', do: 'error', errno: 'ENOSPC', times: 1 }],
        });
        await control({ control: 'guest-io', disk: 'disk', op: 'write', offset: 0, bytes: 512, byte: 1 });
        await monitor.until('STOP', () => monitor.eventData('STOP').length > 0);
        await monitor.succeed('job-complete', { id: JOB });
        await monitor.reach(JOB, 'null');
        const controller = app();
        for (const message of monitor.received) if (message.event !== undefined) controller.hear(message);
        expectEqual(controller.isOver(), true, 'whether the controller knows that the job is over');
        const { status } = (await monitor.succeed('query-status')) as WireMessage;
        expectEqual(status, 'io-error', 'run state, which a job does not change');
        await monitor.succeed('cont');
        await sleep(world, 100);
        const { status: now } = (await monitor.succeed('query-status')) as WireMessage;
        expectEqual(now, 'running', 'run state after cont');
      },
    },
  ),
];
