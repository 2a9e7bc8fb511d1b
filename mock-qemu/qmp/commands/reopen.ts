/** blockdev-reopen: gives nodes that are open other options, all of them or none. */
import type { Json, JsonObject } from '../../../src/qmp/messages.ts';
import { CommandError, refuse } from '../../core/errors.ts';
import { flushFor } from '../../core/flushing.ts';
import { skipImplicit } from '../../core/graph/data.ts';
import { checkFlushed, type Exchanged, type Reopening, reachableFrom } from '../../core/graph/graph.ts';
import type { BlockNode, ChildRole } from '../../core/graph/node.ts';
import { imageBelow, joinGroup, keepLength } from '../../core/graph/open.ts';
import { childrenOf } from '../../core/graph/permissions.ts';
import { lacksStoredBitmaps } from '../../core/graph/stored-bitmaps.ts';
import type { Job } from '../../core/jobs/job.ts';
import type { Vm } from '../../core/vm.ts';
import { HeldJobs } from './held-jobs.ts';
import {
  type CommandContext,
  type CommandTable,
  type Finish,
  flag,
  type Handler,
  isObject,
  LATER,
  needText,
  objects,
  resultOf,
  text,
} from './table.ts';

/** What becomes of a node, all but its rights checked. */
interface Change extends Reopening {
  readonly unmap: boolean;
  readonly detectZeroes: BlockNode['detectZeroes'];
  /** The options of a throttle node, whose group may be another one. */
  readonly throttle?: JsonObject;
}

const refuseChange = (option: string): never => refuse(`Cannot change the option '${option}'`);

/** A child to be exchanged; none: it is only taken away. */
interface Exchange {
  readonly node: BlockNode;
  readonly role: 'backing' | 'file';
  readonly child: BlockNode | undefined;
}

/**
 * Checks new options of one node; what is left out goes back to its default. Yields each child that is to be exchanged, and
 * goes on when that is done.
 */
function* prepare(vm: Vm, node: BlockNode, options: JsonObject): Generator<Exchange, Change, void> {
  // Unlike other options this one stays as it is where it is left out.
  const unmap = options.discard === undefined ? node.unmap : options.discard === 'unmap';
  if (options['detect-zeroes'] === 'unmap' && !unmap) {
    refuse('setting detect-zeroes to unmap is not allowed without setting discard operation to unmap');
  }
  if (node.driver.kind === 'filter' && !node.debug && !node.throttle) {
    refuse(`Block format '${node.driver.name}' used by node '${node.name}' does not support reopening files`);
  }
  const readOnly = flag(options, 'read-only') ?? false;
  // Before it becomes read-only its bitmaps are put back, whether it is so already or not.
  if (readOnly && lacksStoredBitmaps(node)) refuse('No write access');
  const changed = {
    node,
    readOnly,
    unmap,
    detectZeroes: (options['detect-zeroes'] ?? 'off') as BlockNode['detectZeroes'],
  };
  if (node.throttle) {
    if (needText(options, 'driver') !== node.driver.name) refuseChange('driver');
    const group = needText(options, 'throttle-group');
    if (!vm.throttles.find(group)) refuse(`Throttle group '${group}' does not exist`);
    return { ...changed, throttle: options };
  }
  // Children are exchanged before the driver is looked at.
  for (const role of ['backing', 'file'] as const) {
    const wanted =
      role === 'backing' ? backingOption(vm, node, options.backing) : fileOf(vm, node, options.file);
    if (wanted !== 'as it is') yield { node, role, child: wanted };
  }
  if (needText(options, 'driver') !== node.driver.name) refuseChange('driver');
  const filename = text(options, 'filename');
  if (filename !== undefined && filename !== node.image?.path) refuseChange('filename');
  return changed;
}

/** Another child, none, or the one that is there. */
type Wanted = BlockNode | undefined | 'as it is';

/** A child by name may be another one; one that is described in place stays the one that it is. */
function childOf(vm: Vm, node: BlockNode, role: ChildRole, option: Json): BlockNode | undefined {
  const present = node[role]?.child;
  if (typeof option === 'string') return vm.graph.findNode(option);
  if (!isObject(option) || !present) return present;
  if (option.driver !== present.driver.name) refuseChange(`${role}.driver`);
  const filename = text(option, 'filename');
  if (filename !== undefined && filename !== present.image?.path) refuseChange(`${role}.filename`);
  return present;
}

function fileOf(vm: Vm, node: BlockNode, option: Json | undefined): Wanted {
  const file = option === undefined ? undefined : childOf(vm, node, 'file', option);
  return file ? wantedChild(node, 'file', file) : 'as it is';
}

const headerBacking = (node: BlockNode): string | undefined =>
  node.driver.supportsBacking ? node.image?.header.backingName : undefined;

function backingOption(vm: Vm, node: BlockNode, option: Json | undefined): Wanted {
  if (option === undefined) {
    // Also where only its header names one.
    const has = node.backing !== undefined || headerBacking(node) !== undefined;
    return has ? refuse(`backing is missing for '${node.name}'`) : 'as it is';
  }
  const backing = option === null ? undefined : childOf(vm, node, 'backing', option);
  const wanted = wantedChild(node, 'backing', backing);
  if (wanted === 'as it is') return wanted;
  checkNotFrozen(vm, node);
  if (!node.driver.supportsBacking) {
    refuse(`Driver '${node.driver.name}' of node '${node.name}' does not support backing files`);
  }
  return wanted;
}

/** What a job has put between a node and its child stays there, if it is the same child, or keeps any other one away. */
function wantedChild(node: BlockNode, role: 'backing' | 'file', child: BlockNode | undefined): Wanted {
  if (child && reachableFrom(child).has(node)) {
    refuse(`Making '${child.name}' a ${role} child of '${node.name}' would create a cycle`);
  }
  const present = node[role]?.child;
  if (child === (present && skipImplicit(present)) || child === present) return 'as it is';
  if (present?.implicit) refuse(`Cannot replace implicit ${role} child of ${node.name}`);
  return child;
}

/** Parts of a chain that a job works through; the source and the target of a commit of the active image among them. */
const FROZEN_ROLES: ReadonlySet<string> = new Set([
  'active node',
  'source',
  'intermediate node',
  'base',
  'target',
]);

/** Streams and commits keep the links between their images as they are. */
function checkNotFrozen(vm: Vm, node: BlockNode): void {
  const below = node.backing?.child;
  if (!below) return;
  for (const { edges, type, status } of vm.jobs.jobs) {
    // A job that waits to be dismissed holds its nodes, but not their links.
    if (type === 'backup' || status === 'concluded') continue;
    const frozen = edges.filter(({ role }) => FROZEN_ROLES.has(role)).map(({ child }) => child);
    if (frozen.includes(node) && frozen.includes(below))
      refuse(`Cannot change frozen 'backing' link from '${node.name}' to '${below.name}'`);
  }
}

/** The drained sections of a reopening: each is over a node and all that it rests on, as that changes. */
class Sections {
  readonly #vm: Vm;
  readonly #roots: BlockNode[] = [];
  readonly #held: HeldJobs;

  constructor(vm: Vm) {
    this.#vm = vm;
    this.#held = new HeldJobs(vm);
  }

  begin(node: BlockNode, then: () => void): void {
    this.#roots.push(node);
    this.#held.hold(this.#vm.jobsAround(node), then);
  }

  /** A child comes under a node: those around it are held as well, by each section that the node is in. */
  join({ node, child }: Exchange, then: () => void): void {
    this.#held.hold(child ? this.#around(node, child) : [], then);
  }

  /** A child goes from under a node: those around it go on. */
  leave(node: BlockNode, child: BlockNode | undefined): void {
    if (child) for (const job of this.#around(node, child)) this.#held.release(job);
  }

  /** Ends all sections, the last one first. */
  end(): void {
    for (const root of this.#roots.splice(0).reverse())
      for (const job of this.#vm.jobsAround(root)) this.#held.release(job);
    this.#held.releaseAll();
  }

  #around(node: BlockNode, child: BlockNode): Job[] {
    const sections = this.#roots.reduce((sum, root) => sum + timesIn(root, node), 0);
    const jobs = this.#vm.jobsAroundChild(child, node);
    return Array.from({ length: sections }, () => jobs).flat();
  }
}

/** On how many ways a node can be reached from another one above it, or the same. */
const timesIn = (root: BlockNode, node: BlockNode): number =>
  (root === node ? 1 : 0) + childrenOf(root).reduce((sum, child) => sum + timesIn(child, node), 0);

/** One reopening on its way: all nodes are held still from the moment they are found until all is done. */
class Reopen {
  readonly #vm: Vm;
  readonly #list: readonly JsonObject[];
  readonly #finish: Finish;
  readonly #holdsTwice: boolean;
  /** What each node that was named is to have; one that is named twice gets what either says, the last one first. */
  readonly #queue = new Map<BlockNode, JsonObject>();
  readonly #changes: Change[] = [];
  /** What has been exchanged, with what was there before. */
  readonly #exchanges: { readonly made: Exchange; readonly before: BlockNode | undefined }[] = [];
  readonly #exchanged: Exchanged = { undo: [], dropped: [] };
  readonly #sections: Sections;
  readonly #twice: BlockNode[] = [];

  constructor({ vm, profile }: CommandContext, list: readonly JsonObject[], finish: Finish) {
    this.#vm = vm;
    this.#list = list;
    this.#finish = finish;
    this.#holdsTwice = profile.bugs.reopenTwiceStaysHeld;
    this.#sections = new Sections(vm);
  }

  /** Finds the nodes and holds them, then goes on with the first one. */
  start(index = 0): void {
    const options = this.#list[index];
    if (!options) {
      this.#try(() => {
        for (const node of this.#queue.keys()) checkFlushed(flushFor(this.#vm, node));
        this.#prepare([...this.#queue], 0);
      });
      return;
    }
    this.#try(() => {
      const name = text(options, 'node-name') ?? refuse('node-name not specified');
      const node = this.#vm.graph.nodes.get(name) ?? refuse(`Failed to find node with node-name='${name}'`);
      if (this.#queue.has(node)) this.#twice.push(node);
      this.#queue.set(node, { ...this.#queue.get(node), ...options });
      this.#sections.begin(node, () => this.start(index + 1));
    });
  }

  /** Checks what is asked of the nodes, one by one, and exchanges their children. */
  #prepare(queue: readonly (readonly [BlockNode, JsonObject])[], index: number): void {
    const next = queue[index];
    if (next) this.#goOn(prepare(this.#vm, ...next), () => this.#prepare(queue, index + 1));
    else this.#try(() => this.#end(this.#commit()));
  }

  #goOn(preparing: ReturnType<typeof prepare>, then: () => void): void {
    this.#try(() => {
      const { done, value } = preparing.next();
      if (!done) this.#exchange(value, () => this.#goOn(preparing, then));
      else {
        this.#changes.push(value);
        then();
      }
    });
  }

  #exchange(exchange: Exchange, then: () => void): void {
    const { node, role, child } = exchange;
    const before = node[role]?.child;
    this.#sections.leave(node, before);
    this.#vm.graph.exchange(node, role, child, this.#exchanged);
    this.#exchanges.push({ made: exchange, before });
    this.#sections.join(exchange, then);
  }

  #commit(): undefined {
    this.#vm.graph.reopenAll(this.#changes, this.#exchanged);
    for (const { node, unmap, detectZeroes, throttle } of this.#changes) {
      node.unmap = unmap;
      if (throttle) joinGroup(this.#vm, node, throttle);
      node.detectZeroes = detectZeroes;
      if (node.file) node.image = imageBelow(node);
      // It looks again how long its file is; 7.2 does not.
      if (!this.#vm.traits.rawFollowsFile) keepLength(node);
    }
  }

  /** Takes the exchanges back, the last one first. */
  #undo(then: () => void): void {
    const last = this.#exchanges.pop();
    if (!last) {
      then();
      return;
    }
    const { made, before } = last;
    this.#sections.leave(made.node, made.child);
    this.#exchanged.undo.pop()?.();
    this.#sections.join({ ...made, child: before }, () => this.#undo(then));
  }

  #try(run: () => void): void {
    const refused = resultOf(run);
    if (refused instanceof CommandError) this.#undo(() => this.#end(refused));
  }

  #end(outcome: CommandError | undefined): void {
    this.#sections.end();
    if (this.#holdsTwice) for (const node of this.#twice) this.#vm.holdForGood(node);
    this.#finish(outcome ?? {});
  }
}

const blockdevReopen: Handler = (context, args, finish) => {
  const { vm, profile } = context;
  const list = objects(args.options);
  if (list.length === 0 && profile.bugs.emptyReopenAborts) {
    vm.options.print('stderr', "bdrv_reopen_multiple: Assertion `bs_queue != NULL' failed.\n");
    vm.die(null, 'SIGABRT');
  }
  new Reopen(context, list, finish).start();
  return LATER;
};

/** The command. */
export const reopenCommands: CommandTable = { 'blockdev-reopen': blockdevReopen };
