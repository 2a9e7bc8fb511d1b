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
  /** The options of a throttle node, whose group may be another one. */
  readonly throttle?: JsonObject;
}

const refuseChange = (option: string): never => refuse(`Cannot change the option '${option}'`);

/** Checks new options of one node; what they leave out goes back to its default. */
function prepare(vm: Vm, options: JsonObject): Change {
  const name = text(options, 'node-name');
  if (name === undefined) return refuse('node-name not specified');
  const node = vm.graph.nodes.get(name) ?? refuse(`Failed to find node with node-name='${name}'`);
  vm.flap(node, 1);
  if (needText(options, 'driver') !== node.driver.name) refuseChange('driver');
  if (node.driver.kind === 'filter' && !node.throttle) {
    refuse(`Block format '${node.driver.name}' used by node '${name}' does not support reopening files`);
  }
  const filename = text(options, 'filename');
  if (filename !== undefined && filename !== node.image?.path) refuseChange('filename');
  if (node.throttle) {
    const group = needText(options, 'throttle-group');
    if (!vm.throttles.find(group)) refuse(`Throttle group '${group}' does not exist`);
    const readOnly = flag(options, 'read-only') ?? false;
    return { node, readOnly, children: {}, unmap: options.discard === 'unmap', throttle: options };
  }
  const children = { ...fileOf(vm, node, options.file), ...backingOption(vm, node, options.backing) };
  return {
    node,
    readOnly: flag(options, 'read-only') ?? false,
    children,
    unmap: options.discard === 'unmap',
  };
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
  if (node.driver.supportsBacking && imageBelow(file)?.format !== node.driver.name) {
    refuse(`Image is not in ${node.driver.name} format`);
  }
  return { file };
}

function backingOption(vm: Vm, node: BlockNode, option: Json | undefined): Reopening['children'] {
  if (option === undefined) return node.backing ? refuse(`backing is missing for '${node.name}'`) : {};
  const backing = option === null ? undefined : childOf(vm, node, 'backing', option);
  if (backing === node.backing?.child) return {};
  if (backing) checkNoCycle(node, backing, 'backing');
  return { backing };
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
  const changes = list.map((options) => prepare(vm, options));
  vm.graph.reopenAll(changes);
  for (const { node, unmap, throttle } of changes) {
    node.unmap = unmap;
    if (throttle) joinGroup(vm, node, throttle);
    if (node.file) node.image = imageBelow(node);
  }
  return undefined;
};

/** The command. */
export const reopenCommands: CommandTable = { 'blockdev-reopen': blockdevReopen };
