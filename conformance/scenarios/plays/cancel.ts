/** abort/ready-cancel-keeps-source: each way to end a mirror, in each of its states. */
import { expectEqual } from '../../expect.ts';
import { Bench, HELD_SPEED, JOB } from '../../qmp/bench.ts';
import { isObject, type WireMessage } from '../../wire.ts';
import type { World } from '../../world.ts';
import { type Play, play } from '../play.ts';

const NAME = 'abort/ready-cancel-keeps-source';
const SOURCE = 'Proxmox 51302088; tp-qemu #2968, #2661; QAPI block-job-cancel, job-cancel, job-complete';

const VERBS = {
  'block-job-cancel': { execute: 'block-job-cancel', args: { device: JOB } },
  'block-job-cancel-force': { execute: 'block-job-cancel', args: { device: JOB, force: true } },
  'job-cancel': { execute: 'job-cancel', args: { id: JOB } },
  'job-complete': { execute: 'job-complete', args: { id: JOB } },
} as const;

type Verb = keyof typeof VERBS;
type State = 'running' | 'ready' | 'standby' | 'pending';
/** How the job ends, and which node the disk is on then; `refused`: it stays as it was. */
type Cell = 'cancelled' | 'kept' | 'switched' | 'refused';

const TABLE: { readonly [S in State]: { readonly [V in Verb]: Cell } } = {
  running: {
    'block-job-cancel': 'cancelled',
    'block-job-cancel-force': 'cancelled',
    'job-cancel': 'cancelled',
    'job-complete': 'refused',
  },
  ready: {
    'block-job-cancel': 'kept',
    'block-job-cancel-force': 'cancelled',
    'job-cancel': 'cancelled',
    'job-complete': 'switched',
  },
  standby: {
    'block-job-cancel': 'refused',
    'block-job-cancel-force': 'cancelled',
    'job-cancel': 'cancelled',
    'job-complete': 'switched',
  },
  pending: {
    'block-job-cancel': 'cancelled',
    'block-job-cancel-force': 'cancelled',
    'job-cancel': 'cancelled',
    'job-complete': 'refused',
  },
};

const EVENTS = {
  cancelled: 'BLOCK_JOB_CANCELLED',
  kept: 'BLOCK_JOB_COMPLETED',
  switched: 'BLOCK_JOB_COMPLETED',
} as const;

/** Says whether the disk is on the target now. */
type Judge = (bench: Bench, verb: Verb) => Promise<boolean>;

async function activeNode({ monitor }: Bench): Promise<string> {
  const [disk = {}] = await monitor.list('query-block');
  return isObject(disk.inserted) ? String(disk.inserted['node-name']) : 'none';
}

const asks: Judge = async (bench) => (await activeNode(bench)) === 'target';
const completedIsSwitched: Judge = async ({ monitor }) => monitor.eventData('BLOCK_JOB_COMPLETED').length > 0;

/** A mirror of a guest's disk in a state. */
async function into(world: World, state: State): Promise<Bench> {
  const bench = await Bench.withBus(world);
  const { monitor } = bench;
  await bench.pair();
  await monitor.succeed('device_add', { driver: 'virtio-blk-pci', id: 'disk', drive: 'source' });
  const more: WireMessage = {
    ...(state === 'running' ? { speed: HELD_SPEED } : {}),
    ...(state === 'pending' ? { 'auto-finalize': false } : {}),
  };
  await bench.mirror({ 'auto-dismiss': false, ...more });
  if (state === 'running') await bench.moving();
  else await bench.ready();
  if (state === 'standby') {
    await monitor.succeed('job-pause', { id: JOB });
    await monitor.reach(JOB, 'standby');
  }
  if (state === 'pending') {
    await monitor.succeed('job-complete', { id: JOB });
    await monitor.until('PENDING', () => monitor.eventData('BLOCK_JOB_PENDING').length > 0);
  }
  return bench;
}

async function run(world: World, state: State, verb: Verb, judge: Judge): Promise<void> {
  const bench = await into(world, state);
  const { monitor } = bench;
  const cell = TABLE[state][verb];
  const { execute, args } = VERBS[verb];
  const reply = await monitor.execute(execute, args);
  expectEqual('error' in reply, cell === 'refused', `whether ${verb} is refused in ${state}`);
  if (cell === 'refused') {
    expectEqual((await monitor.job(JOB))?.status, state, 'state after the refusal');
    return;
  }
  if (state === 'standby' && cell === 'switched') await monitor.succeed('job-resume', { id: JOB });
  await monitor.reach(JOB, 'concluded');
  const ends = ['BLOCK_JOB_COMPLETED', 'BLOCK_JOB_CANCELLED'].filter(
    (name) => monitor.eventData(name).length > 0,
  );
  expectEqual<readonly string[]>(ends, [EVENTS[cell]], 'event of the end');
  expectEqual(
    await judge(bench, verb),
    cell === 'switched',
    'whether the disk is on the target, as it is believed',
  );
  expectEqual(await activeNode(bench), cell === 'switched' ? 'target' : 'source', 'node of the disk');
  await monitor.succeed('quit');
  await monitor.until('the end of the connection', () => monitor.isClosed);
  if (cell === 'cancelled') return;
  const contents = async (name: string) => world.session.contents(bench.path(`${name}.raw`));
  expectEqual(await contents('target'), await contents('source'), 'contents of the target');
}

/** The plays of the table. */
export const cancelPlays: readonly Play[] = (Object.keys(TABLE) as State[]).flatMap((state) =>
  (Object.keys(VERBS) as Verb[]).map((verb) =>
    play<Judge>(NAME, SOURCE, {
      id: `${state}-${verb}`,
      title: `${verb} in ${state}: ${TABLE[state][verb]}`,
      needs: ['qmp', 'qmpDisks'],
      stage: { state, verb, comesTo: TABLE[state][verb] },
      right: asks,
      wrong:
        TABLE[state][verb] === 'kept'
          ? [
              {
                name: 'completed-is-switched',
                does: 'takes BLOCK_JOB_COMPLETED for a switch to the target',
                app: completedIsSwitched,
              },
            ]
          : [],
      run: (world, app) => run(world, state, verb, app),
    }),
  ),
);
