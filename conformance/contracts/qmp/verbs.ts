/** Which verb a job takes in which state: one contract per command and state. */
import { type Contract, example } from '../../contract.ts';
import { expectEqual } from '../../expect.ts';
import { type Bench, benchIn, JOB, type JobState } from '../../qmp/bench.ts';
import type { WireMessage } from '../../wire.ts';

type Verb = 'cancel' | 'pause' | 'resume' | 'set-speed' | 'complete' | 'finalize' | 'dismiss';

/** The commands of every verb, with the member that names the job. */
const COMMANDS: readonly {
  readonly command: string;
  readonly verb: Verb;
  readonly member: 'device' | 'id';
}[] = [
  { command: 'block-job-cancel', verb: 'cancel', member: 'device' },
  { command: 'block-job-pause', verb: 'pause', member: 'device' },
  { command: 'block-job-resume', verb: 'resume', member: 'device' },
  { command: 'block-job-set-speed', verb: 'set-speed', member: 'device' },
  { command: 'block-job-complete', verb: 'complete', member: 'device' },
  { command: 'block-job-finalize', verb: 'finalize', member: 'id' },
  { command: 'block-job-dismiss', verb: 'dismiss', member: 'id' },
  { command: 'job-cancel', verb: 'cancel', member: 'id' },
  { command: 'job-pause', verb: 'pause', member: 'id' },
  { command: 'job-resume', verb: 'resume', member: 'id' },
  { command: 'job-complete', verb: 'complete', member: 'id' },
  { command: 'job-finalize', verb: 'finalize', member: 'id' },
  { command: 'job-dismiss', verb: 'dismiss', member: 'id' },
];

const JOB_STATES: readonly JobState[] = [
  'running',
  'paused',
  'ready',
  'standby',
  'waiting',
  'pending',
  'concluded',
];

/** Where a verb leads from where it is legal; `null`: the job is gone. */
const LEGAL: { readonly [V in Verb]: { readonly [S in JobState]?: JobState | 'null' } } = {
  cancel: {
    running: 'concluded',
    paused: 'concluded',
    ready: 'concluded',
    standby: 'concluded',
    waiting: 'concluded',
    pending: 'concluded',
  },
  pause: { running: 'paused', ready: 'standby' },
  resume: { paused: 'running', standby: 'ready' },
  'set-speed': { running: 'running', paused: 'paused', ready: 'ready', standby: 'standby' },
  complete: { ready: 'concluded', standby: 'standby' },
  finalize: { pending: 'concluded' },
  dismiss: { concluded: 'null' },
};

/** One cell of the table. */
export interface VerbCell {
  readonly id: string;
  readonly command: string;
  readonly state: JobState;
  readonly args: WireMessage;
  /** The refusal's text, or the state that follows. */
  readonly refusal?: string;
  readonly next?: JobState | 'null';
}

function cellOf(command: string, verb: Verb, member: 'device' | 'id', state: JobState): VerbCell {
  const args = { [member]: JOB, ...(verb === 'set-speed' ? { speed: 2048 } : {}) };
  const refusal = refusalOf(command, verb, state);
  const next = LEGAL[verb][state];
  const base = { id: `qmp/verb/${command}-in-${state}`, command, state, args };
  if (refusal !== undefined || next === undefined)
    return {
      ...base,
      refusal: refusal ?? `Job '${JOB}' in state '${state}' cannot accept command verb '${verb}'`,
    };
  return { ...base, next };
}

/** What is refused before the verb is looked at, or for a reason of its own. */
function refusalOf(command: string, verb: Verb, state: JobState): string | undefined {
  const isPaused = state === 'paused' || state === 'standby';
  if (verb === 'resume' && !isPaused) return "Can't resume a job that was not paused";
  if (verb === 'pause' && isPaused) return 'Job is already paused';
  if (command === 'block-job-cancel' && isPaused)
    return `The block job for device '${JOB}' is currently paused`;
  return undefined;
}

/** The whole table. */
export const verbCells: readonly VerbCell[] = COMMANDS.flatMap(({ command, verb, member }) =>
  JOB_STATES.map((state) => cellOf(command, verb, member, state)),
);

/** One contract per cell. */
export const verbContracts: readonly Contract[] = verbCells.map((cell) =>
  example({
    id: cell.id,
    title:
      cell.next === undefined
        ? `${cell.command} is refused in state ${cell.state}, with the reason, and changes nothing`
        : `${cell.command} is taken in state ${cell.state} and leads to ${cell.next}`,
    source: 'QEMU job.c: JobVerbTable and JobSTT; QAPI job.json, block-core.json',
    needs: ['qmp'],
    async check(world) {
      const bench = await benchIn(world, cell.state);
      const reply = await bench.monitor.execute(cell.command, cell.args);
      if (cell.next === undefined) await expectRefusal(bench, cell, reply);
      else await expectNext(bench, cell.next, reply);
    },
  }),
);

async function expectRefusal(bench: Bench, cell: VerbCell, reply: unknown): Promise<void> {
  const error = { class: 'GenericError', desc: cell.refusal };
  expectEqual<unknown>(reply, { error }, `reply to ${cell.command} in ${cell.state}`);
  expectEqual((await bench.monitor.job(JOB))?.status, cell.state, 'status of the job after the refusal');
}

async function expectNext(bench: Bench, next: JobState | 'null', reply: unknown): Promise<void> {
  expectEqual<unknown>(reply, { return: {} }, 'reply');
  if (next !== 'ready') await bench.monitor.reach(JOB, next);
  const job = await bench.monitor.job(JOB);
  expectEqual(job?.status ?? 'null', next, 'status of the job afterwards');
}
