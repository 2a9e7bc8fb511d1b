/** block-dirty-bitmap-*: as commands, and as actions of a transaction. */
import type { Json, JsonObject } from '../../../src/qmp/messages.ts';
import { refuse } from '../../core/errors.ts';
import { DirtyBitmap } from '../../core/graph/bitmap.ts';
import { displayName } from '../../core/graph/graph.ts';
import type { BlockNode } from '../../core/graph/node.ts';
import { forgetBitmap } from '../../core/graph/stored-bitmaps.ts';
import type { Vm } from '../../core/vm.ts';
import { type CommandTable, flag, type Handler, integer, isObject, needText } from './table.ts';

/** Does an action at once; the answer undoes it. */
export type BitmapAction = (vm: Vm, data: JsonObject) => () => void;

const DEFAULT_GRANULARITY_BYTES = 65536;
const MAX_NAME_BYTES = 1023;

function find(vm: Vm, data: JsonObject): { readonly node: BlockNode; readonly bitmap: DirtyBitmap } {
  const node = nodeOf(vm, needText(data, 'node'));
  return { node, bitmap: named(node, needText(data, 'name')) };
}

/** The node or device that a bitmap is on. */
function nodeOf(vm: Vm, name: string): BlockNode {
  const backend = vm.graph.backends.find((each) => each.name !== '' && each.name === name);
  return backend?.node ?? vm.graph.nodes.get(name) ?? refuse(`Node '${name}' not found`);
}

function named(node: BlockNode, name: string): DirtyBitmap {
  const bitmap = node.bitmaps.find((each) => each.name === name);
  return bitmap ?? refuse(`Dirty bitmap '${name}' not found`);
}

/** What a use of a bitmap puts up with. */
type Tolerance = 'none' | 'read-only' | 'inconsistent';

/** Refuses a bitmap that a job works on, that cannot be written, or of which nobody knows what it marks. */
export function checkUsable(bitmap: DirtyBitmap, tolerance: Tolerance = 'none'): void {
  const { name, busy, readOnly, inconsistent } = bitmap;
  if (busy) refuse(`Bitmap '${name}' is currently in use by another operation and cannot be used`);
  if (readOnly && tolerance !== 'read-only') refuse(`Bitmap '${name}' is readonly and cannot be modified`);
  if (inconsistent && tolerance !== 'inconsistent') {
    refuse(`Bitmap '${name}' is inconsistent and cannot be used`);
  }
}

const add: BitmapAction = (vm, data) => {
  const name = needText(data, 'name');
  if (name === '') refuse('Bitmap name cannot be empty');
  const node = vm.graph.find(needText(data, 'node'));
  const granularity = integer(data, 'granularity');
  if (granularity !== undefined && (granularity < 512 || (granularity & (granularity - 1)) !== 0)) {
    refuse('Granularity must be power of 2 and at least 512');
  }
  const persistent = flag(data, 'persistent') ?? false;
  if (persistent && !node.driver.supportsBacking) {
    refuse(`Can't store persistent bitmaps to ${displayName(node)}: Operation not supported`);
  }
  if (node.bitmaps.some((each) => each.name === name)) refuse(`Bitmap already exists: ${name}`);
  if (name.length > MAX_NAME_BYTES) refuse(`Bitmap name too long: ${name}`);
  const bitmap = new DirtyBitmap({
    name,
    granularityBytes: granularity ?? node.image?.header.clusterSizeBytes ?? DEFAULT_GRANULARITY_BYTES,
    persistent,
    enabled: !(flag(data, 'disabled') ?? false),
  });
  node.bitmaps.push(bitmap);
  return () => drop(node, bitmap);
};

function drop(node: BlockNode, bitmap: DirtyBitmap): void {
  node.bitmaps.splice(node.bitmaps.indexOf(bitmap), 1);
}

/** Removes a bitmap in two steps: until the second one it is there, and in use. */
export function prepareRemoval(
  vm: Vm,
  data: JsonObject,
): { readonly commit: () => void; readonly abort: () => void } {
  const { node, bitmap } = find(vm, data);
  checkUsable(bitmap, 'inconsistent');
  bitmap.busy = true;
  // Not taken back with the rest of a transaction: the image has it again when the node is closed.
  if (bitmap.persistent) forgetBitmap(node, bitmap.name);
  const letGo = () => {
    bitmap.busy = false;
  };
  return {
    commit() {
      letGo();
      drop(node, bitmap);
    },
    abort: letGo,
  };
}

const remove: BitmapAction = (vm, data) => {
  const { commit, abort } = prepareRemoval(vm, data);
  commit();
  return abort;
};

const clear: BitmapAction = (vm, data) => {
  const { bitmap } = find(vm, data);
  checkUsable(bitmap);
  const before = bitmap.ranges.extents.slice();
  bitmap.ranges.truncate(0);
  return () => {
    for (const { start, end } of before) bitmap.force(start, end);
  };
};

const setEnabled =
  (enabled: boolean): BitmapAction =>
  (vm, data) => {
    const { bitmap } = find(vm, data);
    checkUsable(bitmap, 'read-only');
    const before = bitmap.enabled;
    bitmap.enabled = enabled;
    return () => {
      bitmap.enabled = before;
    };
  };

const merge: BitmapAction = (vm, data) => {
  const node = nodeOf(vm, needText(data, 'node'));
  const target = named(node, needText(data, 'target'));
  checkUsable(target);
  const sources = Array.isArray(data.bitmaps) ? (data.bitmaps as readonly Json[]) : [];
  const bitmaps = sources.map((source) =>
    isObject(source) ? find(vm, source).bitmap : named(node, String(source)),
  );
  for (const bitmap of bitmaps) checkUsable(bitmap, 'read-only');
  const before = target.ranges.extents.slice();
  for (const bitmap of bitmaps) for (const { start, end } of bitmap.ranges.extents) target.force(start, end);
  return () => {
    target.ranges.truncate(0);
    for (const { start, end } of before) target.force(start, end);
  };
};

/** The actions by their name, which is the command's and the transaction's. */
export const bitmapActions: Readonly<Record<string, BitmapAction>> = {
  'block-dirty-bitmap-add': add,
  'block-dirty-bitmap-remove': remove,
  'block-dirty-bitmap-clear': clear,
  'block-dirty-bitmap-enable': setEnabled(true),
  'block-dirty-bitmap-disable': setEnabled(false),
  'block-dirty-bitmap-merge': merge,
};

const asCommand =
  (action: BitmapAction): Handler =>
  ({ vm }, args) => {
    action(vm, args);
    return undefined;
  };

/** The commands. */
export const bitmapCommands: CommandTable = Object.fromEntries(
  Object.entries(bitmapActions).map(([name, action]) => [name, asCommand(action)]),
);
