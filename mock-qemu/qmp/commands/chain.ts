/** Starting block-stream and block-commit. */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import { CommandError, refuse } from '../../core/errors.ts';
import { belowOf, chainOf, skipFilters } from '../../core/graph/data.ts';
import { backendName, checkNotBlocked, isRoot } from '../../core/graph/graph.ts';
import type { BlockNode } from '../../core/graph/node.ts';
import { rightsOn } from '../../core/graph/permissions.ts';
import { resolveBacking } from '../../core/images.ts';
import { CommitTask } from '../../core/jobs/commit.ts';
import type { Job } from '../../core/jobs/job.ts';
import type { ErrorPolicy } from '../../core/jobs/policy.ts';
import { StreamTask } from '../../core/jobs/stream.ts';
import { NO_RIGHTS, READ, WRITE, WRITE_UNCHANGED } from '../../core/rights.ts';
import type { Vm } from '../../core/vm.ts';
import {
  appendFilter,
  commitTargetRights,
  createJob,
  createOverFilter,
  openFilter,
  startMirrorJob,
  useIntermediate,
} from './copy.ts';
import {
  answerAfter,
  type CommandTable,
  choice,
  type Finish,
  type Handler,
  LATER,
  needText,
  quoted,
  resultOf,
  text,
} from './table.ts';

/** The image of a chain that a file name means, as the overlay above it would resolve it. */
function imageByName(chain: readonly BlockNode[], name: string): BlockNode | undefined {
  return chain.find((node, index) => {
    const path = node.image?.path;
    const overlayPath = chain[index - 1]?.image?.path;
    return path === name || (overlayPath !== undefined && path === resolveBacking(overlayPath, name));
  });
}

const refuseBase = (base: string): never =>
  refuse(`Can't find '${base}' in the backing chain`, 'GenericError', { kind: 'base-not-found', base });

/** The base of a stream: by file name, by node, or as the node above it. */
function streamBase(vm: Vm, device: BlockNode, args: JsonObject): BlockNode | undefined {
  const chain = chainOf(device);
  const base = text(args, 'base');
  if (base !== undefined) {
    return imageByName(chain.slice(1), base) ?? refuseBase(base);
  }
  const baseNode = text(args, 'base-node');
  if (baseNode !== undefined) {
    const node = vm.graph.findNode(baseNode);
    if (device === node || !chain.includes(skipFilters(node))) {
      refuse(`Node '${baseNode}' is not a backing image of '${needText(args, 'device')}'`);
    }
    return node;
  }
  const bottom = text(args, 'bottom');
  if (bottom === undefined) return undefined;
  const node = vm.graph.findNode(bottom);
  if (node.driver.kind === 'filter')
    refuse(`Node '${bottom}' is a filter, use a non-filter node as 'bottom'`);
  if (!chain.includes(node))
    refuse(`Node '${bottom}' is not in a chain starting from ${quoted(needText(args, 'device'))}`);
  return belowOf(node);
}

const EXCLUSIVE = [
  ['base', 'base-node'],
  ['base', 'bottom'],
  ['bottom', 'base-node'],
] as const;

/** A node and what is below it in its chain, filters too; `end` is not included. */
function* nodesDownTo(node: BlockNode, end: BlockNode | undefined): Generator<BlockNode> {
  for (let at: BlockNode | undefined = node; at && at !== end; at = (at.filtered ?? at.backing)?.child)
    yield at;
}

const blockStream: Handler = ({ vm }, args, finish) => {
  for (const [one, other] of EXCLUSIVE) {
    if (text(args, one) !== undefined && text(args, other) !== undefined) {
      refuse(`'${one}' and '${other}' cannot be specified at the same time`);
    }
  }
  const device = vm.graph.find(needText(args, 'device'));
  const base = streamBase(vm, device, args);
  // A filter in between is blocked by its own job, and named in the refusal.
  for (const node of nodesDownTo(device, base)) checkNotBlocked(node, 'stream');
  const isWhole = base === undefined || text(args, 'bottom') !== undefined;
  if (isWhole && text(args, 'backing-file') !== undefined) {
    refuse('backing file specified, but streaming the entire chain');
  }
  return startStream(vm, args, { device, base }, finish);
};

/** Starts a stream once the jobs above have been held still for its filter. */
function startStream(
  vm: Vm,
  args: JsonObject,
  where: { readonly device: BlockNode; readonly base: BlockNode | undefined },
  finish: Finish,
): typeof LATER {
  const { device, base } = where;
  const { flaps } = vm.traits;
  const wasReadOnly = device.readOnly;
  if (wasReadOnly) makeWritable(vm, device);
  const reopens = wasReadOnly ? flaps.reopen : 0;
  vm.flapBelow(device, reopens, 'with', () => {
    const filter = resultOf(() => openFilter(vm, 'copy-on-read', device, { args }));
    if (filter instanceof CommandError) {
      if (wasReadOnly) vm.graph.tryReopen(device, true);
      vm.flapBelow(device, reopens, 'with', () => finish(filter));
      return;
    }
    const task = new StreamTask({
      top: device,
      bottom: [...nodesDownTo(device, base)].at(-1) ?? device,
      backingName: text(args, 'backing-file'),
      filter,
      onError: choice<ErrorPolicy>(args, 'on-error', 'report'),
      wasReadOnly,
    });
    answerAfter(
      finish,
      (then) => vm.flap(device, flaps.streamStart, then),
      () => {
        createStreamJob(vm, args, task).start();
        return undefined;
      },
    );
  });
  return LATER;
}

function createStreamJob(vm: Vm, args: JsonObject, task: StreamTask): Job {
  const { top, bottom, filter } = task.options;
  const shares = READ | WRITE_UNCHANGED;
  const nodes = [{ node: filter, as: 'main node' }] as const;
  // The filter is above: the device's backend, if it has one, holds that.
  const defaultId = backendName(filter);
  const reader = { needs: READ, shares: shares | WRITE };
  let readsAs: string | undefined;
  try {
    return createOverFilter(vm, { args, defaultId, type: 'stream', task, nodes }, (job) => {
      vm.jobs.addBackend(job, filter, reader);
      readsAs = job.id;
      vm.jobs.use(job, { node: top, as: 'active node', rights: { needs: 0, shares: shares | WRITE } });
      // Every block is read only once, so nobody may write below.
      const base = belowOf(bottom);
      for (let node = belowOf(top); node && node !== base; node = belowOf(node)) {
        vm.jobs.use(job, { node, as: 'intermediate node', rights: { needs: 0, shares } });
      }
    });
  } catch (error) {
    // The backend takes the filter's place when that goes, and nobody has it any more.
    if (readsAs !== undefined && vm.bugs.refusedStreamStays)
      vm.graph.hold({ kind: 'job-backend', jobId: readsAs }, 'root', top, reader);
    throw error;
  }
}

/** Makes a node writable for a job. */
function makeWritable(vm: Vm, node: BlockNode): void {
  if (node.driver.kind === 'filter') {
    refuse(`Block format '${node.driver.name}' used by node '${node.name}' does not support reopening files`);
  }
  vm.graph.reopen(node, false);
}

/** The device of a commit: in words of its own, and an empty drive counts as not found. */
function commitDevice(vm: Vm, args: JsonObject): BlockNode {
  const name = needText(args, 'device');
  const backend = vm.graph.backends.find((each) => each.name !== '' && each.name === name);
  const node = backend ? backend.node : vm.graph.nodes.get(name);
  if (!node) {
    return refuse(`Device '${name}' not found`, 'DeviceNotFound', { kind: 'device-not-found', device: name });
  }
  if (!isRoot(node)) refuse('Need a root block node');
  return node;
}

function commitTop(vm: Vm, device: BlockNode, args: JsonObject): BlockNode {
  const chain = chainOf(device);
  const topNode = text(args, 'top-node');
  const top = text(args, 'top');
  if (topNode !== undefined && top !== undefined) refuse("'top-node' and 'top' are mutually exclusive");
  if (topNode !== undefined) {
    const node = vm.graph.findNode(topNode);
    if (!chain.includes(skipFilters(node))) refuse(`'${topNode}' is not in this backing file chain`);
    return node;
  }
  if (top === undefined || device.image?.path === top) return device;
  return imageByName(chain, top) ?? refuse(`Top image file ${top} not found`);
}

function commitBase(vm: Vm, top: BlockNode, args: JsonObject): BlockNode {
  const chain = chainOf(top);
  const baseNode = text(args, 'base-node');
  const base = text(args, 'base');
  if (baseNode !== undefined && base !== undefined) refuse("'base-node' and 'base' are mutually exclusive");
  if (baseNode !== undefined) {
    const node = vm.graph.findNode(baseNode);
    if (!chain.includes(skipFilters(node))) refuse(`'${baseNode}' is not in this backing file chain`);
    return node;
  }
  if (base !== undefined) {
    return imageByName(chain.slice(1), base) ?? refuseBase(base);
  }
  return chain.at(-1) ?? refuse('There is no backimg image');
}

const blockCommit: Handler = ({ vm }, args, finish) => {
  const device = commitDevice(vm, args);
  checkNotBlocked(device, 'commit-source');
  const top = commitTop(vm, device, args);
  const base = commitBase(vm, top, args);
  for (const node of nodesDownTo(top, belowOf(base))) checkNotBlocked(node, 'commit-target');
  if (top === base) refuse('cannot commit an image into itself');
  const backingName = text(args, 'backing-file');
  const isTop = skipFilters(top) === skipFilters(device);
  // What somebody writes to is copied until it stands still, wherever in the chain it is.
  const active = isTop || (rightsOn(top).needs & WRITE) !== 0;
  if (active && backingName !== undefined) {
    refuse(`'backing-file' specified, but 'top' ${isTop ? 'is the active layer' : 'has a writer on it'}`);
  }
  const onError = choice<ErrorPolicy>(args, 'on-error', 'report');
  if (active) startActiveCommit(vm, { args, device, top, base, onError }, finish);
  else startCommit(vm, { args, device, top, base, backingName, onError }, finish);
  return LATER;
};

/** Makes a commit's base writable and starts the job; where that is refused, the base is as it was. */
function startOverBase(vm: Vm, base: BlockNode, start: () => void, finish: Finish): void {
  const reopens = base.readOnly ? vm.traits.flaps.reopen : 0;
  const hold = (then: () => void) => vm.flapBelow(base, reopens, 'with', then);
  hold(() => {
    const unopened = resultOf(() => vm.graph.reopen(base, false));
    const refused = unopened ?? resultOf(start);
    if (refused && !unopened && reopens > 0) {
      vm.graph.tryReopen(base, true);
      hold(() => finish(refused));
    } else finish(refused ?? {});
  });
}

function startActiveCommit(
  vm: Vm,
  commit: {
    readonly args: JsonObject;
    readonly device: BlockNode;
    readonly top: BlockNode;
    readonly base: BlockNode;
    readonly onError: ErrorPolicy;
  },
  finish: Finish,
): void {
  const { args, device, top, base, onError } = commit;
  const baseWasReadOnly = base.readOnly;
  const job = { args, defaultId: backendName(device), type: 'commit' } as const;
  const start = () =>
    startMirrorJob(vm, job, {
      source: top,
      target: base,
      sync: 'top',
      commitBase: base,
      baseWasReadOnly,
      granularityBytes: base.image?.header.clusterSizeBytes ?? 65536,
      bufSizeBytes: 16 << 20,
      onSourceError: onError,
      onTargetError: onError,
      writeBlocking: false,
      targetIsZero: true,
      backing: 'leave',
      unmap: false,
      replaces: undefined,
    });
  startOverBase(vm, base, start, finish);
}

function startCommit(
  vm: Vm,
  commit: {
    readonly args: JsonObject;
    readonly device: BlockNode;
    readonly top: BlockNode;
    readonly base: BlockNode;
    readonly backingName: string | undefined;
    readonly onError: ErrorPolicy;
  },
  finish: Finish,
): void {
  const { args, device, top, base, backingName, onError } = commit;
  const baseWasReadOnly = base.readOnly;
  const task = new CommitTask({ top, base, backingName, onError, baseWasReadOnly });
  const nodes = [{ node: device, as: 'main node' }] as const;
  const defaultId = backendName(device);
  const job = createJob(vm, { args, defaultId, type: 'commit', task, nodes });
  const start = () => {
    task.filter = appendFilter(vm, 'commit_top', top, { args });
    for (let node: BlockNode | undefined = top; node && node !== base; node = belowOf(node)) {
      useIntermediate(vm, job, node, base);
    }
    vm.jobs.use(job, { node: base, as: 'base' });
    const { needs } = commitTargetRights(top, base);
    vm.jobs.addBackend(job, base, { needs: needs | READ, shares: READ | WRITE_UNCHANGED });
    vm.jobs.addBackend(job, top, NO_RIGHTS);
  };
  startOverBase(vm, base, start, (outcome) => {
    if (outcome instanceof CommandError) {
      vm.jobs.discard(job);
      if (task.filter) vm.graph.removeFilter(task.filter);
    } else job.start();
    finish(outcome);
  });
}

/** Start commands of jobs on a chain. */
export const chainCommands: CommandTable = {
  'block-stream': blockStream,
  'block-commit': blockCommit,
};
