/** transaction, and the commands that are transactions of one action. */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import { CommandError, refuse } from '../../core/errors.ts';
import type { BlockNode } from '../../core/graph/node.ts';
import type { Job } from '../../core/jobs/job.ts';
import type { JobTransaction } from '../../core/jobs/transaction.ts';
import type { Vm } from '../../core/vm.ts';
import type { Behaviour } from '../../profiles/profile.ts';
import { type BitmapAction, bitmapActions, prepareRemoval } from './bitmaps.ts';
import { backupFile, createBackup } from './copy.ts';
import { prepareMirror, syncOf } from './early-copy.ts';
import { HeldJobs } from './held-jobs.ts';
import { byDeviceOrNode, prepareSnapshot, prepareSnapshotSync } from './nodes.ts';
import { prepareInternalSnapshot, rootOf } from './snapshots.ts';
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
  /** What is made read-only when the action is committed: that holds jobs still. */
  readonly reopens?: BlockNode;
  /** Jobs that the action has brought under the node that it holds still. */
  readonly joined?: readonly Job[];
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

/** One kind of action. */
interface Action {
  /** The node that the action holds still while it works, if it does; refuses when there is no such node. */
  readonly holds?: (vm: Vm, data: JsonObject) => BlockNode;
  /** Where making an image lets others get on with their work, the answer is what comes after that. */
  readonly prepare: (scope: Scope, data: JsonObject, context: CommandContext) => Prepared | (() => Prepared);
}

const nothing = (): void => undefined;

type BackupKind = 'blockdev-backup' | 'drive-backup';

const backupAction = (kind: BackupKind): Action => ({
  holds(vm, data) {
    const source = vm.graph.find(needText(data, 'device'));
    if (kind === 'blockdev-backup') vm.graph.find(needText(data, 'target'));
    return source;
  },
  prepare(scope, data) {
    const { vm } = scope;
    if (kind === 'blockdev-backup')
      return prepareBackup(scope, data, kind, vm.graph.find(needText(data, 'target')));
    const { tookLong, open } = backupFile(vm, data);
    const prepare = () => prepareBackup(scope, data, kind, open());
    return tookLong ? prepare : prepare();
  },
});

function prepareBackup(
  { vm, group, jobs }: Scope,
  data: JsonObject,
  kind: BackupKind,
  target: BlockNode,
): Prepared {
  try {
    const job = createBackup(vm, data, target, kind, group);
    jobs.push(job);
    return {
      commit: nothing,
      abort: () => job.transaction?.drop(job),
    };
  } finally {
    vm.graph.collect(target);
  }
}

/** A mirror starts with the transaction's commit, so that all its images stand at one instant. */
const mirrorAction: Action = {
  prepare(_scope, data, context) {
    const mirror = prepareMirror(context, data, syncOf(data));
    return { commit: () => mirror.start(), abort: () => mirror.abandon() };
  },
};

const bitmapAction = (action: BitmapAction): Action => ({
  prepare: ({ vm }, data) => ({ commit: nothing, abort: action(vm, data) }),
});

const ACTIONS: Readonly<Record<string, Action>> = {
  abort: { prepare: () => refuse('Transaction aborted using Abort action') },
  'blockdev-snapshot': {
    holds: (vm, data) => vm.graph.findNodeOrDevice(needText(data, 'node')),
    prepare: ({ vm }, data) => prepareSnapshot(vm, data),
  },
  'blockdev-snapshot-sync': {
    holds: byDeviceOrNode,
    prepare: ({ vm }, data) => prepareSnapshotSync(vm, data),
  },
  'blockdev-snapshot-internal-sync': {
    holds: (vm, data) => rootOf(vm, needText(data, 'device')),
    prepare: ({ vm }, data) => prepareInternalSnapshot(vm, data),
  },
  'blockdev-backup': backupAction('blockdev-backup'),
  'drive-backup': backupAction('drive-backup'),
  'full-drive-mirror': mirrorAction,
  ...Object.fromEntries(
    Object.entries(bitmapActions).map(([name, action]) => [name, bitmapAction(action)] as const),
  ),
  'block-dirty-bitmap-remove': { prepare: ({ vm }, data) => prepareRemoval(vm, data) },
};

const isJob = (type: string): boolean => type === 'blockdev-backup' || type === 'drive-backup';
const isGroupable = (type: string): boolean => isJob(type) || type === 'abort';

const refuseGrouping = (type: string, { transactionPropertyText: property }: Behaviour): never =>
  refuse(`Action '${type}' does not support ${property} completion-mode = grouped`);

interface Step {
  readonly type: string;
  readonly data: JsonObject;
}

/** The drained sections of a transaction. They end one by one, each for the jobs that it then meets. */
class Sections {
  readonly #vm: Vm;
  readonly #nodes: BlockNode[] = [];
  readonly #held: HeldJobs;

  constructor(vm: Vm) {
    this.#vm = vm;
    this.#held = new HeldJobs(vm);
  }

  /** Begins a section on a node, if there is one. */
  begin(node: BlockNode | undefined, then: () => void): void {
    if (node) this.#nodes.push(node);
    this.join(node ? this.#vm.jobsAbove(node) : [], then);
  }

  /** Holds jobs that have come under a node of a section. */
  join(jobs: readonly Job[], then: () => void): void {
    this.#held.hold(jobs, then);
  }

  /** Starts jobs on nodes of sections: each shows as paused as soon as it runs, and goes on when the last section ends. */
  start(jobs: readonly Job[]): void {
    for (const job of jobs) {
      job.pause();
      job.start();
    }
    const met = this.#nodes.flatMap((node) => this.#vm.jobsAbove(node));
    const timesMet = (job: Job): number => met.filter((each) => each === job).length;
    for (const job of jobs) {
      const sections = Math.max(1, timesMet(job));
      for (let more = sections - 1; more > 0; more--) job.pause();
      this.#held.add(job, sections);
    }
    // Others may be met more often than when the sections began: through a filter, and through its target that lies on the same node.
    for (const job of new Set(met)) this.#held.atLeast(job, timesMet(job));
  }

  end(inOrder: <T>(list: readonly T[]) => readonly T[]): void {
    for (const node of inOrder(this.#nodes))
      for (const job of this.#vm.jobsAbove(node)) this.#held.release(job);
    this.#held.releaseAll();
  }
}

/** A transaction on its way: prepares its steps in order, then commits them, or takes them back in reverse. */
class Performance {
  readonly #context: CommandContext;
  readonly #steps: readonly Step[];
  readonly #grouped: boolean;
  readonly #finish: Finish;
  readonly #scope: Scope;
  readonly #prepared: Prepared[] = [];
  readonly #sections: Sections;

  constructor(context: CommandContext, steps: readonly Step[], grouped: boolean, finish: Finish) {
    const { vm } = context;
    this.#context = context;
    this.#steps = steps;
    this.#grouped = grouped;
    this.#finish = finish;
    this.#scope = { vm, group: grouped ? vm.jobs.newTransaction() : undefined, jobs: [] };
    this.#sections = new Sections(vm);
  }

  /** Takes the next step; ends the transaction behind the last one. */
  next(): void {
    const { vm } = this.#scope;
    const step = this.#steps[this.#prepared.length];
    if (!step) {
      this.#commit(this.#inOrder(this.#prepared));
      return;
    }
    this.#try(() => {
      const action = this.#actionOf(step);
      this.#sections.begin(action.holds?.(vm, step.data), () => {
        this.#try(() => {
          const prepared = action.prepare(this.#scope, step.data, this.#context);
          if (typeof prepared === 'object') this.#hasPrepared(prepared);
          else vm.letOthersWork(() => this.#try(() => this.#hasPrepared(prepared())));
        });
      });
    });
  }

  #hasPrepared(prepared: Prepared): void {
    this.#prepared.push(prepared);
    const { joined = [] } = prepared;
    this.#sections.join(joined, () => this.next());
  }

  /** The order in which actions are committed. */
  #inOrder<T>(list: readonly T[]): readonly T[] {
    return this.#scope.vm.traits.transactionsCommit === 'newest-first' ? list.toReversed() : list;
  }

  #commit([prepared, ...rest]: readonly Prepared[]): void {
    const { vm, jobs } = this.#scope;
    if (!prepared) {
      this.#sections.start(this.#inOrder(jobs));
      this.#end(undefined);
      return;
    }
    const commit = () => {
      prepared.commit();
      this.#commit(rest);
    };
    if (prepared.reopens) vm.flapBelow(prepared.reopens, vm.traits.flaps.reopen, 'with', commit);
    else commit();
  }

  #actionOf({ type }: Step): Action {
    const { aliases, behaviour } = this.#context.profile;
    if (this.#grouped && !isGroupable(type)) refuseGrouping(type, behaviour);
    return ACTIONS[aliases[type] ?? type] ?? refuse(`Action '${type}' is not supported by the simulation`);
  }

  #try(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      for (const [index, each] of this.#prepared.toReversed().entries()) {
        if (index > 0 && this.#grouped && this.#context.profile.bugs.groupAbortHangs) this.#scope.vm.hang();
        each.abort();
      }
      this.#end(error);
    }
  }

  #end(failure: CommandError | undefined): void {
    this.#sections.end((list) => this.#inOrder(list));
    this.#finish(failure ?? {});
  }
}

/** Holds all jobs still, lets them go on, performs the steps, answers. */
function drainAndPerform(
  context: CommandContext,
  steps: readonly Step[],
  grouped: boolean,
  finish: Finish,
): typeof LATER {
  const { vm } = context;
  const all = vm.jobsOnAnyNode();
  vm.drain(all, () => {
    vm.undrain(all);
    new Performance(context, steps, grouped, finish).next();
  });
  return LATER;
}

const transaction: Handler = (context, args, finish) => {
  const steps = objects(args.actions).map((action) => ({
    type: needText(action, 'type'),
    data: isObject(action.data) ? action.data : {},
  }));
  const properties = isObject(args.properties) ? args.properties : {};
  const grouped = properties['completion-mode'] === 'grouped';
  const { behaviour } = context.profile;
  const alone =
    behaviour.groupChecked === 'first' && grouped ? steps.find(({ type }) => !isJob(type)) : undefined;
  if (alone) refuseGrouping(alone.type, behaviour);
  return drainAndPerform(context, steps, grouped, finish);
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
  'blockdev-snapshot-internal-sync': single('blockdev-snapshot-internal-sync'),
  'blockdev-backup': single('blockdev-backup'),
  'drive-backup': single('drive-backup'),
};
