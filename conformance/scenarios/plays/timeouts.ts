/** job/wait-timeout-but-job-runs: a client gives up waiting; the job does not. */
import {
  BlockJobAbortFlags,
  BlockJobStatus,
  DeviceModifyFlags,
  type Domain,
  ErrorCode,
  isVirtError,
  SnapshotCreateFlags,
} from '../../../src/index.ts';
import { expect, expectEqual } from '../../expect.ts';
import { diskXml, Lab } from '../../lab.ts';
import type { World } from '../../world.ts';
import { readDisk } from '../../xml.ts';
import { type Play, play, sleep } from '../play.ts';

const STAGE = { jobMs: 3000, patienceMs: 1000 } as const;
const SOURCE = 'CloudStack #14030, #6836, #13914';

/** A client of the pivot of vda, with a database that holds the path of the disk. */
interface Client {
  readonly world: World;
  readonly domain: Domain;
  /** The path that it had stored. */
  readonly stored: string;
  /** Resolves when the event of the pivot's end has come. */
  readonly pivot: Promise<unknown>;
}

/** Waits for as long as it has patience, then lets it be; called once more when the job may be over. */
interface Application {
  /** Resolves to whether it saw the end. */
  wait(client: Client): Promise<boolean>;
  /** The path of the disk. */
  path(client: Client): Promise<string>;
}

const patience = async ({ world, pivot }: Client): Promise<boolean> =>
  Promise.race([pivot.then(() => true), sleep(world, STAGE.patienceMs).then(() => false)]);

const readsAgain: Application = {
  wait: patience,
  path: async ({ domain }) => readDisk(await domain.getXMLDesc(), 'vda').chain[0] ?? '',
};
const keepsPath: Application = { wait: patience, path: async ({ stored }) => stored };
const assumesSuccess: Application = {
  ...readsAgain,
  wait: async (client) => (await patience(client)) || true,
};

/** What is refused while the pivot is under way, and with what; the whole table is in `api/guards/`. */
const GUARDS: readonly (readonly [what: string, code: number, call: (lab: Lab) => Promise<unknown>])[] = [
  ['a resize', ErrorCode.INTERNAL_ERROR, ({ domain }) => domain.blockResize('vda', 65_536)],
  ['a migration', ErrorCode.OPERATION_INVALID, ({ domain }) => domain.migrateToURI('qemu:///x')],
  ['a second copy', ErrorCode.BLOCK_COPY_ACTIVE, (lab) => lab.copy(0, 'other-copy')],
  ['a commit', ErrorCode.BLOCK_COPY_ACTIVE, (lab) => lab.domain.blockCommit('vda', null, lab.path('mid'))],
  ['a snapshot', ErrorCode.BLOCK_COPY_ACTIVE, (lab) => lab.snapshot(SnapshotCreateFlags.DISK_ONLY)],
  ['a save', ErrorCode.OPERATION_INVALID, (lab) => lab.domain.save(lab.path('saved'))],
  [
    'an unplugging',
    ErrorCode.BLOCK_COPY_ACTIVE,
    (lab) => lab.domain.detachDeviceFlags(diskXml('vda', lab.path('top')), DeviceModifyFlags.LIVE),
  ],
  ['a second pivot', ErrorCode.OPERATION_INVALID, ({ domain }) => domain.blockJobAbort('vda', 2)],
];

async function run(world: World, app: Application): Promise<void> {
  const lab = await Lab.start(world);
  const { domain } = lab;
  const stored = (await lab.view()).chain[0] ?? '';
  await lab.copy();
  await lab.ready();
  // Something for the last flush to write.
  await world.session.guest(domain.name, 'vda').write({ offsetBytes: 0, lengthBytes: 4096, byte: 0x11 });
  const slow = { at: 'mirror.target-flush', do: 'delay', delayNs: STAGE.jobMs * 1e6, times: 1 };
  await world.session.control?.(domain.name, { control: 'add-faults', faults: [slow] });
  const isEnd = (line: string) =>
    line.startsWith('job vda ') && line.endsWith(` ${BlockJobStatus.COMPLETED}`);
  await domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT | BlockJobAbortFlags.ASYNC);
  const pivot = lab.until('the end of the pivot', isEnd);
  const client: Client = { world, domain, stored, pivot };
  const sawTheEnd = await app.wait(client);
  const isOver = (await domain.getBlockJobInfo('vda')) === null;
  expect(!isOver, 'the pivot was over before anybody lost patience');
  expectEqual(sawTheEnd, isOver, 'whether the application believes that the job is over');
  for (const [what, code, call] of GUARDS) await expectGuard(what, code, call(lab));
  await pivot;
  await lab.idle();
  // Housekeeping: the disk has moved, so what it was on goes.
  await world.connection.volumes.remove(stored);
  const path = await app.path(client);
  expect((await world.connection.volumes.stat(path)) !== undefined, `path points to a removed file: ${path}`);
  expectEqual(path, lab.path('copy'), 'path of the disk');
}

async function expectGuard(what: string, code: number, call: Promise<unknown>): Promise<void> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(isVirtError(error), `${what} during the pivot was not refused`);
  expectEqual<number>(error.code, code, `code of the refusal of ${what} (${error.message})`);
}

/** The play of job/wait-timeout-but-job-runs. */
export const timeoutPlays: readonly Play[] = [
  play<Application>('job/wait-timeout-but-job-runs', SOURCE, {
    id: 'late-pivot',
    title: 'A pivot takes three seconds, and its client gives up after one',
    needs: ['copy', 'activeCommit', 'extras', 'faults', 'virtualTime'],
    stage: { ...STAGE, refused: GUARDS.map(([what]) => what) },
    right: readsAgain,
    wrong: [
      { name: 'keeps-path', does: 'keeps the path from before, since its wait had failed', app: keepsPath },
      {
        name: 'assumes-success',
        does: 'takes the end of its patience for the end of the job',
        app: assumesSuccess,
      },
    ],
    run,
  }),
];
