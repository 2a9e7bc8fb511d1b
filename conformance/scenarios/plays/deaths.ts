/** pivot/crash-points, pivot/daemon-restart-reply-lost and events/missed-or-reordered: who knows what happened. */
import fc from 'fast-check';
import {
  BlockJobAbortFlags,
  BlockJobStatus,
  type Connection,
  ErrorCode,
  EventId,
} from '../../../src/index.ts';
import { expect, expectEqual, expectRefused } from '../../expect.ts';
import { dieAt, dieUnheard, type LabDisk, PivotLab, type PivotPlan } from '../../pivot-lab.ts';
import type { WireMessage } from '../../wire.ts';
import type { World } from '../../world.ts';
import { readDisk } from '../../xml.ts';
import { type Play, play, sleep } from '../play.ts';

const NEEDS = ['copy', 'activeCommit', 'faults', 'restart', 'virtualTime', 'pivotVerb'] as const;

/** Says from which image a disk is started again after its machine died in a pivot. */
type Recoverer = (lab: PivotLab, disk: LabDisk) => Promise<string>;

/** How much of what the guest wrote an image holds: what a person looks at who has to decide. */
async function newest(lab: PivotLab, paths: readonly string[]): Promise<string> {
  const sizes = await Promise.all(
    paths.map(async (path) =>
      (await lab.world.session.contents(path)).reduce((sum, { lengthBytes }) => sum + lengthBytes, 0),
    ),
  );
  return paths[sizes.indexOf(Math.max(...sizes))] ?? '';
}

const asksWhatBecame: Recoverer = async (lab, { target, destination }) => {
  const outcome = lab.outcomes().find(({ disk }) => disk === target);
  // Without one, the caller of the pivot was told that it was done.
  if (!outcome) return destination;
  if (outcome.outcome === 'unknown') return newest(lab, [outcome.source, outcome.destination]);
  return outcome.outcome === 'completed' ? outcome.destination : outcome.source;
};
const assumesPivoted: Recoverer = async (_, { destination }) => destination;
const assumesNot: Recoverer = async (_, { source }) => source;

async function runCrash(world: World, plan: PivotPlan, point: string, app: Recoverer): Promise<void> {
  const lab = await PivotLab.ready(world, plan);
  lab.write();
  await lab.settle();
  await (point === 'unheard' ? dieUnheard(lab) : dieAt(lab, `pivot.${point}`));
  await lab.restart();
  const images = await Promise.all(lab.disks.map((disk) => app(lab, disk)));
  const expectSafe = () => Promise.all(images.map((image, index) => lab.expectSafe(index, image)));
  await expectSafe();
  // Whatever is done next is done on those images; it loses nothing, once or twice.
  for (let time = 0; time < 2; time++) {
    const domain = await lab.startAgain(images);
    await domain.destroy();
    await expectSafe();
  }
}

const CRASHES: readonly (readonly [point: string, wrong: 'pivoted' | 'not' | undefined])[] = [
  ['accepted', 'pivoted'],
  ['before-graph-change', undefined],
  ['after-graph-change', undefined],
  ['after-reply', undefined],
  ['after-event', undefined],
  ['unheard', 'not'],
];
const WRONG = {
  pivoted: {
    name: 'assumes-pivoted',
    does: 'starts the domain on the destination, since the pivot had been accepted',
    app: assumesPivoted,
  },
  not: {
    name: 'assumes-not',
    does: 'starts the domain on the source, since nobody said that the pivot was done',
    app: assumesNot,
  },
} as const;

/** The plays of pivot/crash-points. */
export const crashPlays: readonly Play[] = (['copy', 'active-commit'] as const).flatMap((kind) =>
  [1, 2, 3].flatMap((disks) =>
    CRASHES.map(([point, wrong]) =>
      play<Recoverer>('pivot/crash-points', 'KubeVirt VEP 321; libvirt 400ac797, eaba79d22e', {
        id: `${kind}-${point}${disks === 1 ? '' : `-${disks}-disks`}`,
        title: `QEMU dies at ${point} of the pivot of ${kind === 'copy' ? 'a copy' : 'an active commit'}, its guest writing to ${disks} disks`,
        needs: NEEDS,
        stage: { kind, disks, pause: false, fault: { at: `pivot.${point}`, do: 'crash' } },
        right: asksWhatBecame,
        // With more disks the last one has hardly been written to when its turn comes.
        wrong: wrong && disks === 1 ? [WRONG[wrong]] : [],
        run: (world, app) => runCrash(world, { kind, disks, pause: false }, point, app),
      }),
    ),
  ),
);

/** Says which image the disk is on, after a pivot whose caller was never told. */
type Manager = (lab: PivotLab) => Promise<string>;

const readsTheXml: Manager = async (lab) => {
  const domain = await lab.domain();
  return readDisk(await domain.getXMLDesc(), 'vda').chain[0] ?? '';
};
const trustsItsDatabase: Manager = async ({ disks }) => disks[0]?.source ?? '';

const AWAY_MS = 5000;
/** What of the news is lost with the process: it dies before they come. */
const LOST: readonly (readonly [id: string, faults: readonly WireMessage[]])[] = [
  ['reply', [{ at: 'monitor.reply', command: 'job-complete', do: 'delay', delayNs: 1e9 }]],
  ['event', [{ at: 'monitor.event', event: 'BLOCK_JOB_COMPLETED', do: 'delay', delayNs: 1e9 }]],
  ['dismissal', [{ at: 'monitor.command', command: 'job-dismiss', do: 'delay', delayNs: 1e9 }]],
];

async function runLost(world: World, pause: boolean, faults: readonly WireMessage[], app: Manager) {
  const lab = await PivotLab.ready(world, { kind: 'copy', disks: 1, pause });
  await lab.fail(...faults);
  void lab.pivot();
  await lab.settle();
  lab.manager.die();
  await sleep(world, AWAY_MS);
  await lab.restart();
  const domain = await lab.domain();
  await world.until('the end of the pivot', async () => (await domain.getBlockJobInfo('vda')) === null);
  const believed = await app(lab);
  expectEqual(believed, await lab.open(), 'image that the disk is on');
  const jobs: { readonly return: readonly unknown[] } = JSON.parse(
    await domain.qemuMonitorCommand('{"execute":"query-jobs"}'),
  );
  expectEqual(jobs.return, [], 'jobs that QEMU still has');
  const again = domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT);
  const refused = await expectRefused(again, ErrorCode.INVALID_ARG, 'a second pivot');
  expect(
    refused.message.includes('does not have an active block job'),
    `it was refused with: ${refused.message}`,
  );
  expectEqual((await domain.getState()).state, 1, 'state of the domain');
}

/** The plays of pivot/daemon-restart-reply-lost. */
export const lostReplyPlays: readonly Play[] = [false, true].flatMap((pause) =>
  LOST.map(([id, faults]) =>
    play<Manager>('pivot/daemon-restart-reply-lost', 'libvirt 400ac797, eaba79d22e, febf84c', {
      id: `${id}${pause ? '-paused' : ''}`,
      title: `The management process dies before the ${id} of a pivot has come, and begins again after five seconds`,
      needs: NEEDS,
      stage: { pause, awayMs: AWAY_MS, faults: [...faults] },
      right: readsTheXml,
      wrong: [
        {
          name: 'trusts-its-database',
          does: 'keeps the path that it stored before the pivot, which never returned',
          app: trustsItsDatabase,
        },
      ],
      run: (world, app) => runLost(world, pause, faults, app),
    }),
  ),
);

/** One disconnect, and what happens to events meanwhile. */
interface Disorder {
  readonly verb: 'pivot' | 'abort';
  readonly awayAfterMs: number;
  readonly faults: readonly WireMessage[];
}

/** What becomes of an event. */
const HOW: readonly WireMessage[] = [{ do: 'drop' }, { do: 'reorder' }, { do: 'delay', delayNs: 20e6 }];

const disorders: fc.Arbitrary<Disorder> = fc.record({
  verb: fc.constantFrom('pivot', 'abort'),
  awayAfterMs: fc.integer({ min: 0, max: 6 }),
  faults: fc.uniqueArray(
    fc
      .record({
        at: fc.constant('monitor.event'),
        event: fc.constantFrom(
          'JOB_STATUS_CHANGE',
          'BLOCK_JOB_COMPLETED',
          'BLOCK_JOB_CANCELLED',
          'BLOCK_JOB_READY',
        ),
        how: fc.constantFrom(...HOW),
        times: fc.integer({ min: 1, max: 4 }),
      })
      .map(({ how, ...rest }): WireMessage & { readonly event: string } => ({ ...rest, ...how })),
    { maxLength: 3, selector: ({ event }) => event },
  ),
});

/** Follows a disk over a disconnect; says at the end which image it is on. */
interface Follower {
  /** A connection is there, the first one or the next one. */
  connected(connection: Connection, lab: PivotLab): void;
  image(lab: PivotLab): Promise<string>;
}

const asksAgain = (): Follower => ({
  connected: () => {},
  image: (lab) => readsTheXml(lab),
});

/** Its callbacks stay with the connection that is gone: everything seems to be normal, but no events come any more. */
const listensOnly = (): Follower => {
  let [isPivoted, isRegistered] = [false, false];
  return {
    connected(connection) {
      if (isRegistered) return;
      isRegistered = true;
      connection.domainEventRegister(EventId.BLOCK_JOB_2, null, ({ status }) => {
        if (status === BlockJobStatus.COMPLETED) isPivoted = true;
      });
    },
    image: async ({ disks }) => (isPivoted ? disks[0]?.destination : disks[0]?.source) ?? '',
  };
};

async function runDisorder(
  world: World,
  { verb, awayAfterMs, faults }: Disorder,
  name: string,
  app: Follower,
) {
  const lab = await PivotLab.ready(world, { kind: 'copy', disks: 1, pause: false }, name);
  app.connected(lab.manager.connection, lab);
  if (faults.length > 0) await lab.fail(...faults);
  const flags = BlockJobAbortFlags.ASYNC | (verb === 'pivot' ? BlockJobAbortFlags.PIVOT : 0);
  const domain = await lab.domain();
  await domain.blockJobAbort('vda', flags);
  await sleep(world, awayAfterMs);
  lab.manager.die();
  await sleep(world, AWAY_MS);
  await lab.ask({ control: 'clear-faults' });
  await lab.restart();
  app.connected(lab.manager.connection, lab);
  const found = await lab.domain();
  await world.until('a disk without a job', async () => (await found.getBlockJobInfo('vda')) === null);
  const view = readDisk(await found.getXMLDesc(), 'vda');
  const [disk] = lab.disks;
  const wanted = { active: verb === 'pivot' ? disk?.destination : disk?.source, isMirrored: false, state: 1 };
  const { state } = await found.getState();
  const seen = { active: view.chain[0], isMirrored: view.mirror !== undefined, state };
  expectEqual<object>(
    seen,
    wanted,
    `view after ${verb}, away after ${awayAfterMs} ms, ${JSON.stringify(faults)} (${name} of seed ${SEED})`,
  );
  expectEqual(await app.image(lab), await lab.open(), 'image that the disk is on');
  await found.destroy();
  // Every manager after this one would read them.
  lab.manager.connection.forgetBlockJobOutcomes(found.uuid);
  lab.manager.die();
}

const DISORDERS = 500;
const SEED = 14;

/** The play of events/missed-or-reordered. */
export const disorderPlays: readonly Play[] = [
  play<() => Follower>(
    'events/missed-or-reordered',
    'KubeVirt #194; virtnbdbackup #205; libvirt c412383796c',
    {
      id: 'same-view',
      title:
        'Whatever events are lost or change places around a disconnect, the view after it is that of QEMU',
      needs: NEEDS,
      stage: { disorders: DISORDERS, seed: SEED, awayMs: AWAY_MS },
      right: asksAgain,
      wrong: [
        {
          name: 'listens-only',
          does: 'goes by the events alone, and registers for them once',
          app: listensOnly,
        },
      ],
      async run(world, app) {
        const all = fc.sample(disorders, { seed: SEED, numRuns: DISORDERS });
        for (const [index, disorder] of all.entries())
          await runDisorder(world, disorder, `disorder-${index}`, app());
      },
    },
  ),
];
