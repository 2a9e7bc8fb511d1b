/** Deaths around a pivot: whoever is asked afterwards tells the truth, and no flush that a guest was promised is lost. */
import { BlockJobAbortFlags, ErrorCode } from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual, expectRefused } from '../../expect.ts';
import { dieAt, dieUnheard, expectTruth, PivotLab, type PivotPlan } from '../../pivot-lab.ts';
import type { World } from '../../world.ts';
import { readDisk } from '../../xml.ts';

const SOURCE =
  'libvirt 400ac797 (block pivot safer), 1.0.0 to 1.2.14 (guest paused around pivots); docs/fault-points.md';

/** Where QEMU dies. */
export const CRASH_POINTS = [
  'accepted',
  'before-reply',
  'after-reply',
  'drained',
  'final-sync',
  'before-graph-change',
  'after-graph-change',
  'before-event',
  'after-event',
  'unheard',
] as const;

/** The steps that a reopened disk does not take. */
const OF_A_VERB: readonly string[] = ['accepted', 'drained', 'final-sync', 'before-event', 'after-event'];

/** At which of them several disks are worth the time. */
const WITH_MORE_DISKS = ['before-graph-change', 'unheard'] as const;

interface Row extends PivotPlan {
  readonly point: (typeof CRASH_POINTS)[number];
}

const ROWS: readonly Row[] = (['copy', 'active-commit'] as const).flatMap((kind) =>
  [false, true].flatMap((pause) => [
    ...CRASH_POINTS.map((point) => ({ kind, pause, disks: 1, point })),
    ...[2, 3].flatMap((disks) =>
      WITH_MORE_DISKS.map((point) => ({
        kind,
        pause,
        disks,
        point,
      })),
    ),
  ]),
);

/** QEMU dies; then the management process is replaced, too. */
async function checkCrash(world: World, { point, ...plan }: Row): Promise<void> {
  const lab = await PivotLab.ready(world, plan);
  lab.write();
  await lab.settle();
  const told = point === 'unheard' ? await dieUnheard(lab) : await dieAt(lab, `pivot.${point}`);
  await world.until('the end of the domain', async () => {
    const domains = await lab.manager.connection.listAllDomains();
    return domains.every(({ name }) => name !== lab.name);
  });
  expect(
    lab.guests.every(({ acknowledged }) => acknowledged > 0),
    'a guest was never told that a write is safe',
  );
  const before = lab.outcomes();
  await expectTruth(lab, told);
  await lab.restart();
  expectEqual<unknown>(lab.outcomes(), before, 'what the next management process tells');
  await expectTruth(lab, told);
}

const KINDS = { copy: 'copy', 'active-commit': 'active commit' } as const;

const crashes: readonly Contract[] = ROWS.map((row) => {
  const { kind, pause, disks, point } = row;
  const tells = pause ? 'completed or failed, never unknown' : 'the truth';
  return example({
    id: `api/pivot-crash/${pause ? 'paused-' : ''}${kind}-${point}${disks > 1 ? `-${disks}-disks` : ''}`,
    title:
      `QEMU dies at ${point} of the pivot of ${disks > 1 ? `the last of ${disks} disks` : 'a disk'} (${KINDS[kind]})` +
      `${pause ? ', the guest paused around it' : ''}: what is told is ${tells}, and no flushed write is lost`,
    source: SOURCE,
    needs: [
      ...([kind === 'copy' ? 'copy' : 'activeCommit', 'faults', 'restart', 'virtualTime'] as const),
      ...(OF_A_VERB.includes(point) ? (['pivotVerb'] as const) : []),
    ],
    check: (world) => checkCrash(world, row),
  });
});

/** The management process dies in a pivot whose machine lives on; the next one finds it and brings it to its end. */
async function checkTakeover(world: World, plan: PivotPlan): Promise<void> {
  const lab = await PivotLab.ready(world, plan);
  const domain = await lab.domain();
  // Held where nothing has been decided, as far as the target can be told to.
  if (world.session.control)
    await lab.fail({
      at: 'monitor.event',
      event: 'BLOCK_JOB_COMPLETED',
      do: 'delay',
      delayNs: 200e6,
      times: 1,
    });
  const pivot = domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT);
  pivot.catch(() => {});
  // A pivot that is asked for is in the XML before it is sent.
  const isUnderWay = async () =>
    (await domain.getXMLDesc()).includes("ready='pivot'") || (await domain.getBlockJobInfo('vda')) === null;
  while (!(await isUnderWay())) await lab.settle(0);
  if (world.session.control) await lab.settle();
  await lab.restart();
  const found = await lab.domain();
  await world.until('a disk without a job', async () => (await found.getBlockJobInfo('vda')) === null);
  await world.until('a guest that runs', async () => (await found.getState()).state === 1);
  const active = readDisk(await found.getXMLDesc(), 'vda').chain[0] ?? '';
  const open: unknown = JSON.parse(await found.qemuMonitorCommand('{"execute":"query-block"}'));
  expect(
    JSON.stringify(open).includes(active),
    `the XML says ${active}, the machine has something else open`,
  );
  expectEqual(active, lab.disks[0]?.destination, 'image after a pivot that was under way');
}

/** The contracts about deaths. */
export const pivotCrashContracts: readonly Contract[] = [
  ...crashes,
  ...[false, true].map((pause) =>
    example({
      id: `api/takeover/pivot${pause ? '-paused' : ''}`,
      title: `A pivot${pause ? ', and a guest paused around it,' : ''} that a dead management process left is found and finished by the next`,
      source: `${SOURCE}; scenario pivot/daemon-restart-reply-lost`,
      needs: ['copy', 'restart'],
      check: (world) => checkTakeover(world, { kind: 'copy', disks: 1, pause }),
    }),
  ),
  example({
    id: 'api/takeover/one-at-a-time',
    title:
      'A second connection on a state that is in use is refused, and after the end of the first one it is not',
    source: 'docs/decisions/0003-state-and-recovery.md',
    needs: ['copy', 'restart'],
    async check(world) {
      const lab = await PivotLab.ready(world, { kind: 'copy', disks: 1, pause: false });
      await expectRefused(world.manage(), ErrorCode.OPERATION_INVALID, 'a second connection on one state');
      // Whoever was refused has not touched anything.
      const { state } = await (await lab.domain()).getState();
      expectEqual(state, 1, 'state of the domain');
      await lab.restart();
      expectEqual((await lab.manager.connection.listAllDomains()).length, 1, 'domains that the next one has');
    },
  }),
];
