/** blockdev-reopen: gives nodes that are open other options, all of them or none. */
import type { Json, JsonObject } from '../../../src/qmp/messages.ts';
import { refuse } from '../../core/errors.ts';
import { chainOf, flushNode, skipFilters } from '../../core/graph/data.ts';
import { lock, reopen, unlock } from '../../core/graph/graph.ts';
import type { BlockNode, ChildRole } from '../../core/graph/node.ts';
import { imageBelow } from '../../core/graph/open.ts';
import { checkFormatMayUse, isWrittenTo } from '../../core/graph/permissions.ts';
import type { Vm } from '../../core/vm.ts';
import { type CommandTable, flag, type Handler, isObject, needText, objects, text } from './table.ts';

/** A change that has passed every check. */
type Change = () => void;

const refuseChange = (option: string): never => refuse(`Cannot change the option '${option}'`);

/** Checks new options of one node; what they leave out goes back to its default. */
function prepare(vm: Vm, options: JsonObject): readonly Change[] {
  const name = text(options, 'node-name');
  if (name === undefined) return refuse('node-name not specified');
  const node = vm.graph.nodes.get(name) ?? refuse(`Failed to find node with node-name='${name}'`);
  vm.flap(node, 1);
  if (needText(options, 'driver') !== node.driver.name) refuseChange('driver');
  if (node.driver.kind === 'filter') {
    refuse(`Block format '${node.driver.name}' used by node '${name}' does not support reopening files`);
  }
  const filename = text(options, 'filename');
  if (filename !== undefined && filename !== node.image?.path) refuseChange('filename');
  return [
    ...prepareFile(vm, node, options),
    ...prepareBacking(vm, node, options.backing),
    prepareRights(node, options),
  ];
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

function prepareFile(vm: Vm, node: BlockNode, options: JsonObject): readonly Change[] {
  const option = options.file;
  const child = option === undefined ? undefined : childOf(vm, node, 'file', option);
  if (!child || child === node.file?.child) return [];
  checkNoCycle(node, child, 'file');
  checkFormatMayUse(child, node, flag(options, 'read-only') !== true);
  const image = imageBelow(child);
  if (node.driver.supportsBacking && image?.format !== node.driver.name) {
    refuse(`Image is not in ${node.driver.name} format`);
  }
  return [
    () => {
      flushNode(node);
      unlock(node);
      replaceChild(vm, node, 'file', child);
      node.image = image;
      lock(node, vm.traits.imageLocking);
    },
  ];
}

function prepareBacking(vm: Vm, node: BlockNode, option: Json | undefined): readonly Change[] {
  if (option === undefined) {
    if (node.backing) refuse(`backing is missing for '${node.name}'`);
    return [];
  }
  const child = option === null ? undefined : childOf(vm, node, 'backing', option);
  if (child === node.backing?.child) return [];
  if (child) checkNoCycle(node, child, 'backing');
  return [() => replaceChild(vm, node, 'backing', child)];
}

function checkNoCycle(node: BlockNode, child: BlockNode, role: ChildRole): void {
  if (chainOf(child).includes(skipFilters(node))) {
    refuse(`Making '${child.name}' a ${role} child of '${node.name}' would create a cycle`);
  }
}

function replaceChild(vm: Vm, node: BlockNode, role: ChildRole, child: BlockNode | undefined): void {
  const before = node[role];
  node[role] = undefined;
  if (child) vm.graph.adopt(node, role, child);
  vm.graph.letGo(before);
}

function prepareRights(node: BlockNode, options: JsonObject): Change {
  const readOnly = flag(options, 'read-only') ?? false;
  if (readOnly && !node.readOnly && isWrittenTo(node)) {
    refuse(`Read-only block node '${node.name}' cannot support read-write users`);
  }
  const locks = node.driver.kind === 'format' ? node.image?.locks : undefined;
  if (!readOnly && node.readOnly && locks && locks.writers + locks.readers > 1) {
    refuse('Failed to get "write" lock');
  }
  return () => {
    reopen(node, readOnly);
    node.unmap = options.discard === 'unmap';
  };
}

const blockdevReopen: Handler = ({ vm, profile }, args) => {
  const list = objects(args.options);
  if (list.length === 0 && profile.bugs.emptyReopenAborts) {
    vm.options.print('stderr', "bdrv_reopen_multiple: Assertion `bs_queue != NULL' failed.\n");
    vm.die(null, 'SIGABRT');
  }
  const changes = list.flatMap((options) => prepare(vm, options));
  for (const change of changes) change();
  return undefined;
};

/** The command. */
export const reopenCommands: CommandTable = { 'blockdev-reopen': blockdevReopen };
