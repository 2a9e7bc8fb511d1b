/** blockdev-reopen: gives nodes that are open other options, all of them or none. */
import type { Json, JsonObject } from '../../../src/qmp/messages.ts';
import { refuse } from '../../core/errors.ts';
import { chainOf, skipFilters } from '../../core/graph/data.ts';
import type { Reopening } from '../../core/graph/graph.ts';
import type { BlockNode, ChildRole } from '../../core/graph/node.ts';
import { imageBelow, joinGroup } from '../../core/graph/open.ts';
import type { Vm } from '../../core/vm.ts';
import { type CommandTable, flag, type Handler, isObject, needText, objects, text } from './table.ts';

/** What becomes of a node, all but its rights checked. */
interface Change extends Reopening {
  readonly unmap: boolean;
  readonly detectZeroes: BlockNode['detectZeroes'];
  /** The options of a throttle node, whose group may be another one. */
  readonly throttle?: JsonObject;
}

const refuseChange = (option: string): never => refuse(`Cannot change the option '${option}'`);

/** Nodes with the options that they are to have; a node that is named twice gets what either says, the last one first. */
function queueOf(
  vm: Vm,
  list: readonly JsonObject[],
  holdsTwice: boolean,
): ReadonlyMap<BlockNode, JsonObject> {
  const queue = new Map<BlockNode, JsonObject>();
  const twice: BlockNode[] = [];
  try {
    for (const options of list) {
      const name = text(options, 'node-name') ?? refuse('node-name not specified');
      const node = vm.graph.nodes.get(name) ?? refuse(`Failed to find node with node-name='${name}'`);
      if (queue.has(node)) twice.push(node);
      queue.set(node, { ...queue.get(node), ...options });
    }
  } finally {
    // Nodes stay drained from the moment they are found until all is done.
    vm.flapTogether([...queue.keys()]);
    if (holdsTwice) for (const node of twice) vm.holdForGood(node);
  }
  return queue;
}

/** Checks new options of one node; what they leave out goes back to its default. */
function prepare(vm: Vm, node: BlockNode, options: JsonObject): Change {
  // Unlike other options this one stays as it is where it is left out.
  const unmap = options.discard === undefined ? node.unmap : options.discard === 'unmap';
  if (options['detect-zeroes'] === 'unmap' && !unmap) {
    refuse('setting detect-zeroes to unmap is not allowed without setting discard operation to unmap');
  }
  if (node.driver.kind === 'filter' && !node.debug && !node.throttle) {
    refuse(`Block format '${node.driver.name}' used by node '${node.name}' does not support reopening files`);
  }
  const changed = {
    node,
    readOnly: flag(options, 'read-only') ?? false,
    unmap,
    detectZeroes: (options['detect-zeroes'] ?? 'off') as BlockNode['detectZeroes'],
  };
  if (node.throttle) {
    if (needText(options, 'driver') !== node.driver.name) refuseChange('driver');
    const group = needText(options, 'throttle-group');
    if (!vm.throttles.find(group)) refuse(`Throttle group '${group}' does not exist`);
    return { ...changed, children: {}, throttle: options };
  }
  // Children are looked at before the driver is.
  const children = { ...backingOption(vm, node, options.backing), ...fileOf(vm, node, options.file) };
  if (needText(options, 'driver') !== node.driver.name) refuseChange('driver');
  const filename = text(options, 'filename');
  if (filename !== undefined && filename !== node.image?.path) refuseChange('filename');
  return { ...changed, children };
}

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

function fileOf(vm: Vm, node: BlockNode, option: Json | undefined): Reopening['children'] {
  const file = option === undefined ? undefined : childOf(vm, node, 'file', option);
  if (!file || file === node.file?.child) return {};
  checkNoCycle(node, file, 'file');
  return { file };
}

function backingOption(vm: Vm, node: BlockNode, option: Json | undefined): Reopening['children'] {
  if (option === undefined) return node.backing ? refuse(`backing is missing for '${node.name}'`) : {};
  const backing = option === null ? undefined : childOf(vm, node, 'backing', option);
  if (backing === node.backing?.child) return {};
  checkNotFrozen(vm, node);
  if (backing) checkNoCycle(node, backing, 'backing');
  return { backing };
}

const FROZEN_ROLES: ReadonlySet<string> = new Set(['active node', 'intermediate node', 'base']);

/** Streams and commits keep the links between their images as they are. */
function checkNotFrozen(vm: Vm, node: BlockNode): void {
  const below = node.backing?.child;
  if (!below) return;
  for (const { edges, type } of vm.jobs.jobs) {
    if (type !== 'stream' && type !== 'commit') continue;
    const frozen = edges.filter(({ role }) => FROZEN_ROLES.has(role)).map(({ child }) => child);
    if (frozen.includes(node) && frozen.includes(below))
      refuse(`Cannot change frozen 'backing' link from '${node.name}' to '${below.name}'`);
  }
}

function checkNoCycle(node: BlockNode, child: BlockNode, role: ChildRole): void {
  if (chainOf(child).includes(skipFilters(node))) {
    refuse(`Making '${child.name}' a ${role} child of '${node.name}' would create a cycle`);
  }
}

const blockdevReopen: Handler = ({ vm, profile }, args) => {
  const list = objects(args.options);
  if (list.length === 0 && profile.bugs.emptyReopenAborts) {
    vm.options.print('stderr', "bdrv_reopen_multiple: Assertion `bs_queue != NULL' failed.\n");
    vm.die(null, 'SIGABRT');
  }
  const changes = [...queueOf(vm, list, profile.bugs.reopenTwiceStaysHeld)].map(([node, options]) =>
    prepare(vm, node, options),
  );
  vm.graph.reopenAll(changes);
  for (const { node, unmap, detectZeroes, throttle } of changes) {
    node.unmap = unmap;
    if (throttle) joinGroup(vm, node, throttle);
    node.detectZeroes = detectZeroes;
    if (node.file) node.image = imageBelow(node);
    // It looks again how long its file is.
    node.knownLengthBytes = undefined;
  }
  return undefined;
};

/** The command. */
export const reopenCommands: CommandTable = { 'blockdev-reopen': blockdevReopen };
