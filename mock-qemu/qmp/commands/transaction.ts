/** transaction, and the commands that are transactions of one action. */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import { CommandError, refuse } from '../../core/errors.ts';
import type { Job } from '../../core/jobs/job.ts';
import type { JobTransaction } from '../../core/jobs/transaction.ts';
import type { Vm } from '../../core/vm.ts';
import { bitmapActions } from './bitmaps.ts';
import { backupTarget, createBackup, startDrained } from './copy.ts';
import { prepareMirror, syncOf } from './early-copy.ts';
import { type PreparedSnapshot, prepareSnapshot, prepareSnapshotSync } from './nodes.ts';
import {
  type CommandContext,
  type CommandTable,
  type Finish,
  type Handler,
  isObject,
  LATER,
  needText,
  objects,
} from './table.ts';

/** An action that has done all that can fail. */
interface Prepared {
  commit(): void;
  abort(): void;
}

/** What actions of one transaction share. */
interface Scope {
  readonly vm: Vm;
  /** Set when the jobs of the transaction end together. */
  readonly group: JobTransaction | undefined;
  /** Jobs that start when every action has been prepared. */
  readonly jobs: Job[];
}

type Action = (scope: Scope, data: JsonObject, context: CommandContext) => Prepared;

const nothing = (): void => undefined;

const backupAction =
  (kind: 'blockdev-backup' | 'drive-backup'): Action =>
  ({ vm, group, jobs }, data) => {
    const target = backupTarget(vm, data, kind);
    const job = createBackup(vm, data, target, group);
    jobs.push(job);
    return {
      commit: nothing,
      abort() {
        job.task.clean?.(vm);
        job.transition('null');
        vm.jobs.forget(job);
      },
    };
  };

const snapshotAction =
  (prepare: (vm: Vm, data: JsonObject) => PreparedSnapshot): Action =>
  ({ vm }, data) =>
    prepare(vm, data);

const ACTIONS: Readonly<Record<string, Action>> = {
  abort: () => refuse('Transaction aborted using Abort action'),
  'blockdev-snapshot': snapshotAction(prepareSnapshot),
  'blockdev-snapshot-sync': snapshotAction(prepareSnapshotSync),
  'blockdev-backup': backupAction('blockdev-backup'),
  'drive-backup': backupAction('drive-backup'),
  'full-drive-mirror': (...action) => mirrorAction(...action),
  ...Object.fromEntries(
    Object.entries(bitmapActions).map(([name, action]): [string, Action] => [
      name,
      ({ vm }, data) => ({ commit: nothing, abort: action(vm, data) }),
    ]),
  ),
};

/** A mirror starts with the transaction's commit, so that all its images stand at one instant. */
const mirrorAction: Action = (_scope, data, context) => {
  const mirror = prepareMirror(context, data, syncOf(data));
  return { commit: () => mirror.start(), abort: () => mirror.abandon() };
};

const GROUPABLE = new Set(['blockdev-backup', 'drive-backup', 'abort', ...Object.keys(bitmapActions)]);
// These hold the graph still a second time, for their own node.
const DRAINING = new Set(['blockdev-snapshot', 'blockdev-snapshot-sync']);

interface Step {
  readonly type: string;
  readonly data: JsonObject;
}

/** Prepares all actions in order, then commits them; or takes back what was prepared, in reverse. */
function perform(context: CommandContext, steps: readonly Step[], grouped: boolean): void {
  const { vm, profile } = context;
  const scope: Scope = { vm, group: grouped ? vm.jobs.newTransaction() : undefined, jobs: [] };
  const prepared: Prepared[] = [];
  try {
    for (const { type, data } of steps) {
      if (grouped && !GROUPABLE.has(type)) {
        const property = profile.behaviour.transactionPropertyText;
        refuse(`Action '${type}' does not support ${property} completion-mode = grouped`);
      }
      const action =
        ACTIONS[profile.aliases[type] ?? type] ??
        refuse(`Action '${type}' is not supported by the simulation`);
      prepared.push(action(scope, data, context));
    }
  } catch (error) {
    for (const each of prepared.toReversed()) each.abort();
    throw error;
  }
  for (const each of prepared) each.commit();
  startDrained(vm, scope.jobs);
}

/** Holds all jobs still, lets them go on, holds those still that the steps touch, performs, answers. */
function drainAndPerform(
  context: CommandContext,
  steps: readonly Step[],
  grouped: boolean,
  finish: Finish,
): typeof LATER {
  const { vm } = context;
  const all = movingJobs(vm);
  vm.drain(all, () => {
    vm.undrain(all);
    const again = steps.some(({ type }) => DRAINING.has(type)) ? movingJobs(vm) : [];
    vm.drain(again, () => {
      let failure: CommandError | undefined;
      try {
        perform(context, steps, grouped);
      } catch (error) {
        if (!(error instanceof CommandError)) throw error;
        failure = error;
      }
      vm.undrain(again);
      finish(failure ?? {});
    });
  });
  return LATER;
}

const movingJobs = (vm: Vm): Job[] =>
  vm.jobs.jobs.filter((job) => !job.deferred && job.status !== 'concluded' && job.status !== 'created');

const transaction: Handler = (context, args, finish) => {
  const steps = objects(args.actions).map((action) => ({
    type: needText(action, 'type'),
    data: isObject(action.data) ? action.data : {},
  }));
  if (steps.length === 0) return undefined;
  const properties = isObject(args.properties) ? args.properties : {};
  return drainAndPerform(context, steps, properties['completion-mode'] === 'grouped', finish);
};

const single =
  (type: string): Handler =>
  (context, args, finish) =>
    drainAndPerform(context, [{ type, data: args }], false, finish);

/** Transactions. */
export const transactionCommands: CommandTable = {
  transaction,
  'blockdev-snapshot': single('blockdev-snapshot'),
  'blockdev-snapshot-sync': single('blockdev-snapshot-sync'),
};
