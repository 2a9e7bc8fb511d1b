/** Which events a job sends in which order: one contract per course of events. */
import { type Contract, example } from '../../contract.ts';
import { expectEqual } from '../../expect.ts';
import { Bench, DISK_BYTES, HELD_SPEED, JOB } from '../../qmp/bench.ts';
import type { WireMessage } from '../../wire.ts';

/** One command, and the events of the job that follow it; pauses of a drain are left out. */
export interface SequenceStep {
  readonly execute: string;
  readonly args: WireMessage;
  readonly events: readonly string[];
}

/** One course of events. */
export interface Sequence {
  readonly id: string;
  readonly title: string;
  readonly disks: (bench: Bench) => Promise<void>;
  readonly steps: readonly SequenceStep[];
  /** Whether the job must have moved something before the next step. */
  readonly held?: true;
}

const pair = (bench: Bench) => bench.pair();
const chain = (bench: Bench) => bench.chain(['base', 'mid', 'top']);
const step = (execute: string, args: WireMessage, ...events: string[]): SequenceStep => ({
  execute,
  args,
  events,
});

const START = ['J:created', 'J:running'] as const;
const READY = [...START, 'J:ready', 'BLOCK_JOB_READY'] as const;
const SUCCESS = ['J:waiting', 'J:pending', 'BLOCK_JOB_COMPLETED', 'J:concluded', 'J:null'] as const;
const CANCEL = ['J:aborting', 'BLOCK_JOB_CANCELLED', 'J:concluded', 'J:null'] as const;
const FAILURE = ['J:aborting', 'BLOCK_JOB_COMPLETED', 'J:concluded', 'J:null'] as const;

const job = { 'job-id': JOB } as const;
const small = { 'buf-size': 65_536, granularity: 65_536 } as const;
const mirror = { ...job, ...small, device: 'source', target: 'target', sync: 'full' } as const;
const backup = { ...job, device: 'source', target: 'target', sync: 'full' } as const;
const slowBackup = { 'x-perf': { 'max-chunk': 65_536, 'max-workers': 1 }, speed: HELD_SPEED } as const;
const byDevice = { device: JOB } as const;
const byId = { id: JOB } as const;

/** Every course that is held to the letter. */
const COURSES: readonly Sequence[] = [
  {
    id: 'stream',
    title: 'A stream runs, finishes and is gone',
    disks: chain,
    steps: [step('block-stream', { ...job, device: 'top' }, ...START, ...SUCCESS)],
  },
  {
    id: 'stream-to-base-node',
    title: 'A stream down to a base node runs, finishes and is gone',
    disks: chain,
    steps: [step('block-stream', { ...job, device: 'top', 'base-node': 'base' }, ...START, ...SUCCESS)],
  },
  {
    id: 'stream-without-backing',
    title: 'A stream with nothing to do finishes at once',
    disks: (bench) => bench.chain(['top']),
    steps: [step('block-stream', { ...job, device: 'top' }, ...START, ...SUCCESS)],
  },
  {
    id: 'stream-cancelled',
    title: 'A cancelled stream is CANCELLED, never COMPLETED',
    disks: chain,
    held: true,
    steps: [
      step('block-stream', { ...job, device: 'top', speed: HELD_SPEED }, ...START),
      step('block-job-cancel', byDevice, ...CANCEL),
    ],
  },
  {
    id: 'stream-cancelled-by-job-cancel',
    title: 'job-cancel ends a stream as block-job-cancel does',
    disks: chain,
    held: true,
    steps: [
      step('block-stream', { ...job, device: 'top', speed: HELD_SPEED }, ...START),
      step('job-cancel', byId, ...CANCEL),
    ],
  },
  {
    id: 'stream-manual-finalize',
    title: 'Without auto-finalize a stream stops in pending until it is finalized',
    disks: chain,
    steps: [
      step(
        'block-stream',
        { ...job, device: 'top', 'auto-finalize': false },
        ...START,
        'J:waiting',
        'J:pending',
        'BLOCK_JOB_PENDING',
      ),
      step('block-job-finalize', byId, 'BLOCK_JOB_COMPLETED', 'J:concluded', 'J:null'),
    ],
  },
  {
    id: 'stream-manual-dismiss',
    title: 'Without auto-dismiss a stream stays concluded until it is dismissed',
    disks: chain,
    steps: [
      step(
        'block-stream',
        { ...job, device: 'top', 'auto-dismiss': false },
        ...START,
        ...SUCCESS.slice(0, -1),
      ),
      step('block-job-dismiss', byId, 'J:null'),
    ],
  },
  {
    id: 'commit-intermediate',
    title: 'A commit below the active layer needs no completion',
    disks: chain,
    steps: [
      step(
        'block-commit',
        { ...job, device: 'top', 'top-node': 'mid', 'base-node': 'base' },
        ...START,
        ...SUCCESS,
      ),
    ],
  },
  {
    id: 'commit-active',
    title: 'A commit of the active layer gets READY once, and ends when completed',
    disks: chain,
    steps: [
      step('block-commit', { ...job, device: 'top' }, ...READY),
      step('job-complete', byId, ...SUCCESS),
    ],
  },
  {
    id: 'commit-active-cancelled-ready',
    title: 'An active commit that is cancelled in READY ends as COMPLETED',
    disks: chain,
    steps: [
      step('block-commit', { ...job, device: 'top' }, ...READY),
      step('block-job-cancel', byDevice, ...SUCCESS),
    ],
  },
  {
    id: 'mirror-completed',
    title: 'A mirror gets READY once, and ends when completed',
    disks: pair,
    steps: [step('blockdev-mirror', mirror, ...READY), step('block-job-complete', byDevice, ...SUCCESS)],
  },
  {
    id: 'mirror-cancelled-ready',
    title: 'A cancel in READY is a success: COMPLETED',
    disks: pair,
    steps: [step('blockdev-mirror', mirror, ...READY), step('block-job-cancel', byDevice, ...SUCCESS)],
  },
  {
    id: 'mirror-force-cancelled-ready',
    title: 'A forced cancel in READY is CANCELLED',
    disks: pair,
    steps: [
      step('blockdev-mirror', mirror, ...READY),
      step('block-job-cancel', { ...byDevice, force: true }, ...CANCEL),
    ],
  },
  {
    id: 'mirror-job-cancelled-ready',
    title: 'job-cancel in READY is a forced cancel',
    disks: pair,
    steps: [step('blockdev-mirror', mirror, ...READY), step('job-cancel', byId, ...CANCEL)],
  },
  {
    id: 'mirror-cancelled-early',
    title: 'Any cancel before READY is CANCELLED',
    disks: pair,
    held: true,
    steps: [
      step('blockdev-mirror', { ...mirror, speed: HELD_SPEED }, ...START),
      step('block-job-cancel', byDevice, ...CANCEL),
    ],
  },
  {
    id: 'mirror-nothing-to-copy',
    title: 'A mirror of nothing (sync=none) is READY at once',
    disks: pair,
    steps: [
      step('blockdev-mirror', { ...mirror, sync: 'none' }, ...READY),
      step('job-cancel', byId, ...CANCEL),
    ],
  },
  {
    id: 'mirror-size-mismatch',
    title: 'A mirror onto a disk of another size is accepted and fails',
    disks: async (bench) => {
      await bench.raw('source');
      await bench.raw('target', [], DISK_BYTES / 2);
    },
    steps: [step('blockdev-mirror', mirror, ...START, ...FAILURE)],
  },
  {
    id: 'mirror-paused',
    title: 'A pause before READY is paused, and resume is running',
    disks: pair,
    held: true,
    steps: [
      step('blockdev-mirror', { ...mirror, speed: HELD_SPEED }, ...START),
      step('block-job-pause', byDevice, 'J:paused'),
      step('block-job-resume', byDevice, 'J:running'),
    ],
  },
  {
    id: 'mirror-paused-cancelled',
    title: 'A paused job that is cancelled by force first runs again',
    disks: pair,
    held: true,
    steps: [
      step('blockdev-mirror', { ...mirror, speed: HELD_SPEED }, ...START),
      step('block-job-pause', byDevice, 'J:paused'),
      step('block-job-cancel', { ...byDevice, force: true }, 'J:running', ...CANCEL),
    ],
  },
  {
    id: 'mirror-standby',
    title: 'A pause in READY is standby, and resume is ready without a second READY',
    disks: pair,
    steps: [
      step('blockdev-mirror', mirror, ...READY),
      step('job-pause', byId, 'J:standby'),
      step('job-resume', byId, 'J:ready'),
    ],
  },
  {
    id: 'mirror-completed-in-standby',
    title: 'A completion in standby is carried out after the resume',
    disks: pair,
    steps: [
      step('blockdev-mirror', mirror, ...READY),
      step('job-pause', byId, 'J:standby'),
      step('job-complete', byId),
      step('job-resume', byId, 'J:ready', ...SUCCESS),
    ],
  },
  {
    id: 'mirror-manual-finalize',
    title: 'Without auto-finalize a completed mirror stops in pending',
    disks: pair,
    steps: [
      step('blockdev-mirror', { ...mirror, 'auto-finalize': false }, ...READY),
      step('job-complete', byId, 'J:waiting', 'J:pending', 'BLOCK_JOB_PENDING'),
      step('job-finalize', byId, 'BLOCK_JOB_COMPLETED', 'J:concluded', 'J:null'),
    ],
  },
  {
    id: 'mirror-cancelled-pending',
    title: 'A cancel in pending is CANCELLED, also without force',
    disks: pair,
    steps: [
      step('blockdev-mirror', { ...mirror, 'auto-finalize': false }, ...READY),
      step('job-complete', byId, 'J:waiting', 'J:pending', 'BLOCK_JOB_PENDING'),
      step('block-job-cancel', byDevice, ...CANCEL),
    ],
  },
  {
    id: 'backup',
    title: 'A backup ends by itself',
    disks: pair,
    steps: [step('blockdev-backup', backup, ...START, ...SUCCESS)],
  },
  {
    id: 'backup-cancelled',
    title: 'A cancelled backup is CANCELLED',
    disks: pair,
    held: true,
    steps: [
      step('blockdev-backup', { ...backup, ...slowBackup }, ...START),
      step('block-job-cancel', byDevice, ...CANCEL),
    ],
  },
  {
    id: 'create',
    title: 'A create job has no BLOCK_JOB event and stays concluded',
    disks: async () => {},
    steps: [
      step(
        'blockdev-create',
        { ...job, options: { driver: 'qcow2', file: 'nonode', size: DISK_BYTES } },
        ...START,
        'J:aborting',
        'J:concluded',
      ),
      step('job-dismiss', byId, 'J:null'),
    ],
  },
];

/** The same, with the ids of their contracts. */
export const sequences: readonly Sequence[] = COURSES.map((course) => ({
  ...course,
  id: `qmp/sequence/${course.id}`,
}));

/** One contract per course. */
export const sequenceContracts: readonly Contract[] = sequences.map((sequence) =>
  example({
    id: sequence.id,
    title: sequence.title,
    source: 'QEMU job.c: job_state_transition; QAPI job.json JOB_STATUS_CHANGE, block-core.json BLOCK_JOB_*',
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await sequence.disks(bench);
      let seen = 0;
      for (const [index, { execute, args, events }] of sequence.steps.entries()) {
        await bench.monitor.succeed(execute, args);
        const since = () => withoutDrains(bench.monitor.jobEvents(JOB).slice(seen));
        await bench.monitor.until(
          `${events.length} events after ${execute}`,
          () => since().length >= events.length,
        );
        if (sequence.held && index === 0) await bench.moving();
        await bench.monitor.succeed('query-jobs');
        expectEqual<readonly string[]>(since(), events, `events after ${execute}`);
        seen = bench.monitor.jobEvents(JOB).length;
      }
    },
  }),
);

const FLAPS: { readonly [status: string]: string } = { 'J:paused': 'J:running', 'J:standby': 'J:ready' };

/** Leaves out the pauses of a drained section: a pause that is taken back at once. */
function withoutDrains(events: readonly string[]): string[] {
  const kept: string[] = [];
  for (const event of events) {
    const last = kept.at(-1);
    if (last !== undefined && FLAPS[last] === event) kept.pop();
    else kept.push(event);
  }
  return kept;
}
