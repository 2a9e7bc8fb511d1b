/** blockdev-*, snapshots, resize and what else changes the graph without a job. */
import type { Json, JsonObject } from '../../../src/qmp/messages.ts';
import { activate, activateAll, inactivate, inactivateAll } from '../../core/activity.ts';
import { HostError, strerror } from '../../core/errno.ts';
import { refuse } from '../../core/errors.ts';
import { flushFor } from '../../core/flushing.ts';
import { backingOf, chainOf } from '../../core/graph/data.ts';
import {
  blockedReason,
  checkNotBlocked,
  displayName,
  hasBackend,
  isRoot,
  refuseNoDevice,
  refuseNoMedium,
} from '../../core/graph/graph.ts';
import { fileNameOf } from '../../core/graph/names.ts';
import type { BlockNode } from '../../core/graph/node.ts';
import { openNode } from '../../core/graph/open.ts';
import { isRead } from '../../core/graph/permissions.ts';
import type { ImageHeader } from '../../core/images.ts';
import { CreateTask, checkMayEmpty, format } from '../../core/jobs/create.ts';
import type { Job } from '../../core/jobs/job.ts';
import { headerFormat, rewriteBacking } from '../../core/jobs/stream.ts';
import { ALL, RESIZE } from '../../core/rights.ts';
import type { Vm } from '../../core/vm.ts';
import { checkUsable } from './bitmaps.ts';
import {
  answerAfter,
  type CommandContext,
  type CommandTable,
  exactInteger,
  type Handler,
  integer,
  isObject,
  needText,
  text,
} from './table.ts';

const DEFAULT_CLUSTER_BYTES = 65536;

const blockdevAdd: Handler = ({ vm }, args, finish) => {
  if (text(args, 'node-name') === undefined) refuse("'node-name' must be specified for the root node");
  const file = vm.graph.nodes.get(text(args, 'file') ?? '');
  // Attaching to a node that others use holds them still.
  const hold = (then: () => void) => (file ? vm.flap(file, vm.traits.flaps.open, then) : then());
  return answerAfter(finish, hold, () => {
    openNode(vm, args, { monitorOwned: true });
    return undefined;
  });
};

function blockdevDel({ vm }: CommandContext, args: JsonObject): undefined {
  const name = needText(args, 'node-name');
  const node = vm.graph.nodes.get(name) ?? refuse(`Failed to find node with node-name='${name}'`);
  if (hasBackend(node)) refuse(`Node ${name} is in use`);
  checkNotBlocked(node, 'drive-del');
  if (!node.monitorOwned) refuse(`Node ${name} is not owned by the monitor`);
  if (node.parents.length > 0) refuse(`Block device ${name} is in use`);
  node.monitorOwned = false;
  vm.graph.collect(node);
  return undefined;
}

/** The header that creation options ask for. */
function headerOf(options: JsonObject): ImageHeader {
  const backingName = text(options, 'backing-file');
  const backingFormat = text(options, 'backing-fmt');
  return {
    clusterSizeBytes: integer(options, 'cluster-size') ?? DEFAULT_CLUSTER_BYTES,
    ...(backingName !== undefined && { backingName }),
    ...(backingFormat !== undefined && { backingFormat }),
  };
}

function blockdevCreate({ vm }: CommandContext, args: JsonObject): undefined {
  const options = isObject(args.options) ? args.options : {};
  const driver = needText(options, 'driver');
  const sizeBytes = integer(options, 'size') ?? 0;
  const where = createWhere(vm, driver, options);
  const task = new CreateTask({
    where,
    format: driver === 'qcow2' ? 'qcow2' : 'raw',
    sizeBytes,
    header: headerOf(options),
  });
  const job = vm.jobs.create({
    id: needText(args, 'job-id'),
    type: 'create',
    autoDismiss: false,
    nodes: [],
    task,
  });
  job.start();
  return undefined;
}

function createWhere(
  vm: Vm,
  driver: string,
  options: JsonObject,
): { readonly path: string } | { readonly node: () => BlockNode } {
  if (driver === 'file') return { path: needText(options, 'filename') };
  if (driver !== 'qcow2' && driver !== 'raw') refuse(`Driver '${driver}' does not support image creation`);
  const file: Json | undefined = options.file;
  // A missing node is the job's failure, not the command's.
  return {
    node: () =>
      typeof file === 'string' ? vm.graph.findNodeReference(file) : openNode(vm, isObject(file) ? file : {}),
  };
}

/** The node of commands that take `device` or `node-name`. */
export function byDeviceOrNode(vm: Vm, args: JsonObject): BlockNode {
  const device = text(args, 'device');
  const nodeName = text(args, 'node-name');
  const backend = vm.graph.backends.find((each) => each.name !== '' && each.name === device);
  if (backend) return backend.node ?? refuseNoMedium(backend.name);
  const node = vm.graph.nodes.get(nodeName ?? '');
  return node ?? refuseNoDevice(device ?? '', nodeName ?? '');
}

function blockResize({ vm, profile }: CommandContext, args: JsonObject): undefined {
  const node = byDeviceOrNode(vm, args);
  const sizeBytes = integer(args, 'size') ?? 0;
  if (sizeBytes < 0) refuse("Parameter 'size' expects a >0 size");
  const reason = blockedReason(node, 'resize');
  if (reason !== undefined) {
    const device = text(args, 'device') ?? '(null)';
    const desc = profile.behaviour.resizeBusyText === 'node-busy' ? reason : `Device '${device}' is in use`;
    refuse(desc, 'GenericError', { kind: 'in-use', device });
  }
  if (node.readOnly) refuse('Image is read-only');
  if (node.driver.supportsBacking && sizeBytes % 512 !== 0) refuse('The new size must be a multiple of 512');
  for (const bitmap of node.bitmaps) if (bitmap.persistent) checkUsable(bitmap);
  // Somebody who wants no other size says so here.
  vm.graph.letGo(vm.graph.hold({ kind: 'resizer' }, 'root', node, { needs: RESIZE, shares: ALL }));
  for (const { parent } of vm.traits.rawFollowsFile ? [] : node.parents) {
    if (parent.kind === 'node' && parent.node.driver.name === 'raw')
      parent.node.knownLengthBytes = parent.node.lengthBytes;
  }
  node.driver.truncate(node, sizeBytes);
  // The new size is in the file when the command returns, also of a guest that never flushes.
  node.image?.save();
  return undefined;
}

const changeBackingFile: Handler = ({ vm }, args, finish) => {
  const device = vm.graph.find(needText(args, 'device'));
  if (!isRoot(device)) refuse('Need a root block node');
  const name = needText(args, 'image-node-name');
  const node = vm.graph.findNode(name);
  if (!backingOf(node)) {
    refuse('not allowing backing file change on an image without a backing file');
  }
  checkNotBlocked(device, 'change');
  if (!chainOf(device).includes(node)) {
    refuse(`'${needText(args, 'device')}' and image file are not in the same chain`);
  }
  const backingName = needText(args, 'backing-file');
  if (backingName.length > 1023) {
    refuse(`Could not change backing file to '${backingName}': Invalid argument`);
  }
  // A read-only image is writable for that moment.
  const reopens = node.readOnly ? 2 * vm.traits.flaps.reopen : 0;
  const hold = (then: () => void) => vm.flapBelow(node, reopens, 'with', then);
  return answerAfter(finish, hold, () => {
    // Of what is below it is taken that it has the image's own format.
    rewriteBacking(node, node.backing?.child, backingName, node.driver.name);
    return undefined;
  });
};

/** Formats that cannot be opened by a file's name alone, with what comes of trying. */
const NEEDS_MORE: Readonly<Record<string, string>> = {
  'copy-before-write': "Parameter 'target' is missing",
  'copy-on-read': 'Block node is read-only',
};

const CREATABLE = new Set(['qcow2', 'raw', 'file', 'host_device']);

/**
 * Makes an overlay of a file: blockdev-snapshot-sync's and drive-mirror's way to create images.
 * @returns whether it is made of so many requests that others get on with theirs meanwhile
 */
export function createImageFile(
  vm: Vm,
  path: string,
  options: {
    readonly driver: string;
    readonly sizeBytes: number;
    readonly backing?: BlockNode | undefined;
    /** Opens the backing file by its name and format, for a moment. */
    readonly opensBacking?: boolean;
  },
): boolean {
  const { driver, sizeBytes, backing, opensBacking } = options;
  try {
    if (!CREATABLE.has(driver)) refuse(`Format driver '${driver}' does not support image creation`);
    if (path.startsWith('blkdebug:')) refuse("Protocol driver 'blkdebug' does not support image creation");
    if (backing && driver !== 'qcow2') refuse(`Backing file not supported for file format '${driver}'`);
    const backingName = backing && fileNameOf(backing);
    if (backingName === path) {
      refuse('Error: Trying to create an image with the same filename as the backing file');
    }
    const unopened = opensBacking && backing ? NEEDS_MORE[backing.driver.name] : undefined;
    if (unopened !== undefined) refuse(unopened);
    vm.options.print('stdout', formatting(path, options, backingName));
    checkMayEmpty(vm.images, path, vm.traits);
    format(vm.images.create(path), {
      format: driver === 'qcow2' ? 'qcow2' : 'raw',
      sizeBytes,
      header: {
        clusterSizeBytes: DEFAULT_CLUSTER_BYTES,
        ...(backing &&
          backingName !== undefined && { backingName, backingFormat: headerFormat(backing.driver.name) }),
      },
    });
    return driver === 'qcow2';
  } catch (error) {
    if (error instanceof HostError) {
      refuse(`Could not create '${path}': ${strerror(error.code)}`, 'GenericError', {
        kind: 'open-failed',
        filename: path,
      });
    }
    throw error;
  }
}

/** What QEMU says on its standard output when it formats an image. */
function formatting(
  path: string,
  {
    driver,
    sizeBytes,
    backing,
  }: { readonly driver: string; readonly sizeBytes: number; readonly backing?: BlockNode | undefined },
  backingName: string | undefined,
): string {
  if (driver !== 'qcow2') return `Formatting '${path}', fmt=${driver} size=${sizeBytes}\n`;
  const below = backing
    ? ` backing_file=${backingName?.replaceAll(',', ',,')} backing_fmt=${backing.driver.name}`
    : '';
  return (
    `Formatting '${path}', fmt=qcow2 cluster_size=${DEFAULT_CLUSTER_BYTES} extended_l2=off compression_type=zlib ` +
    `size=${sizeBytes}${below} lazy_refcounts=off refcount_bits=16\n`
  );
}

/** One external snapshot, prepared: `commit` cannot fail. */
export interface PreparedSnapshot {
  /** What becomes read-only. */
  readonly reopens: BlockNode;
  /** Jobs of the overlay. */
  readonly joined?: readonly Job[];
  commit(): void;
  abort(): void;
}

/** blockdev-snapshot: an overlay that is open already goes on top. */
export function prepareSnapshot(vm: Vm, data: JsonObject): PreparedSnapshot {
  const node = vm.graph.findNodeOrDevice(needText(data, 'node'));
  const overlayName = needText(data, 'overlay');
  checkSnapshotSource(vm, node);
  const overlay = vm.graph.findNodeOrDevice(overlayName);
  if (isRead(overlay)) refuse('The overlay is already in use');
  if (overlay.backing) refuse('The overlay already has a backing image');
  if (!overlay.driver.supportsBacking) refuse('The overlay does not support backing images');
  if (chainOf(node).includes(overlay))
    refuse(`Making '${node.name}' a backing child of '${overlay.name}' would create a cycle`);
  // Its own users are held still, too, from when it lies on the node.
  const joined = vm.jobsAbove(overlay);
  try {
    return { ...appendSnapshot(vm, node, overlay), joined };
  } catch (error) {
    vm.flap(overlay, 1);
    throw error;
  }
}

/**
 * blockdev-snapshot-sync: creates the overlay's file as well. The file stays behind if the transaction fails.
 * @returns the snapshot, or what prepares it once others have got on with their work
 */
export function prepareSnapshotSync(vm: Vm, data: JsonObject): PreparedSnapshot | (() => PreparedSnapshot) {
  const node = byDeviceOrNode(vm, data);
  checkSnapshotSource(vm, node);
  const path = needText(data, 'snapshot-file');
  const driver = text(data, 'format') ?? 'qcow2';
  const name = text(data, 'snapshot-node-name');
  if (text(data, 'node-name') !== undefined && name === undefined) refuse('New overlay node-name missing');
  if (name !== undefined && vm.graph.nodes.has(name)) refuse('New overlay node-name already in use');
  const append = (): PreparedSnapshot => {
    vm.reach('snapshot.created');
    const file = { driver: 'file', filename: path };
    const named = name !== undefined && { 'node-name': name };
    return appendSnapshot(vm, node, openNode(vm, { driver, file, backing: null, ...named }));
  };
  if (text(data, 'mode') === 'existing') return append();
  if (driver === 'raw') refuse("Backing file not supported for file format 'raw'");
  const takesLong = createImageFile(vm, path, { driver, sizeBytes: node.lengthBytes, backing: node });
  return takesLong ? append : append();
}

function checkSnapshotSource(vm: Vm, node: BlockNode): void {
  checkNotBlocked(node, 'external-snapshot');
  const error = flushFor(vm, node);
  if (error === undefined) return;
  const { snapshotErrorSaysWhy } = vm.traits;
  refuse(
    snapshotErrorSaysWhy
      ? `Write to node '${displayName(node)}' failed: ${strerror(error)}`
      : 'An IO error has occurred',
  );
}

/** Puts the overlay on top at once: the following actions of a transaction find it there. */
function appendSnapshot(vm: Vm, node: BlockNode, overlay: BlockNode): PreparedSnapshot {
  vm.reach('snapshot.before-graph-change');
  try {
    if (!node.active) inactivate(vm, overlay);
    vm.graph.insertAbove(overlay, 'backing', node);
  } catch (error) {
    vm.graph.collect(overlay);
    throw error;
  }
  return {
    reopens: node,
    commit() {
      vm.graph.tryReopen(node, true);
      vm.reach('snapshot.after-graph-change');
      // Nobody may have been there to hold it.
      vm.graph.collect(overlay);
    },
    abort() {
      vm.graph.forceReplace(overlay, node);
      vm.graph.letGo(overlay.backing);
      vm.graph.collect(overlay);
    },
  };
}

/** What QEMU calls the child that a filter filters, where that is not `file`. */
const FILTERED_CHILD: Readonly<Record<string, string>> = {
  mirror_top: 'backing',
  commit_top: 'backing',
  blkdebug: 'image',
};

const childNames = (node: BlockNode): readonly string[] => [
  ...(node.file ? ['file'] : []),
  ...(node.backing ? ['backing'] : []),
  ...(node.filtered ? [FILTERED_CHILD[node.driver.name] ?? 'file'] : []),
];

/** Only quorum takes and gives children, and there is none. */
function blockdevChange({ vm }: CommandContext, args: JsonObject): undefined {
  const name = needText(args, 'parent');
  const parent = vm.graph.find(name);
  const child = text(args, 'child');
  const node = text(args, 'node');
  if (child !== undefined && node !== undefined) refuse('The parameters child and node are in conflict');
  if (child === undefined && node === undefined) refuse('Either child or node must be specified');
  if (child !== undefined && !childNames(parent).includes(child)) {
    refuse(`Node '${name}' does not have child '${child}'`);
  }
  if (node !== undefined && !vm.graph.nodes.has(node)) refuse(`Node '${node}' not found`);
  const what = child === undefined ? 'adding' : 'removing';
  return refuse(`The node ${displayName(parent)} does not support ${what} a child`);
}

function setActive({ vm }: CommandContext, args: JsonObject): undefined {
  const name = text(args, 'node-name');
  const isActive = args.active === true;
  if (name === undefined) {
    if (isActive) activateAll(vm);
    else inactivateAll(vm);
    return undefined;
  }
  const node = vm.graph.nodes.get(name) ?? refuse(`Failed to find node with node-name='${name}'`);
  if (isActive) activate(node);
  else inactivate(vm, node);
  return undefined;
}

function setWriteThreshold({ vm }: CommandContext, args: JsonObject): undefined {
  const name = needText(args, 'node-name');
  const node = vm.graph.nodes.get(name) ?? refuse(`Device '${name}' not found`);
  const thresholdBytes = exactInteger(args, 'write-threshold') ?? 0;
  node.writeThresholdBytes = thresholdBytes;
  node.onThreshold = (exceededBytes) => {
    node.writeThresholdBytes = 0;
    vm.emit('BLOCK_WRITE_THRESHOLD', {
      'amount-exceeded': exceededBytes,
      'write-threshold': thresholdBytes,
      'node-name': name,
    });
  };
  return undefined;
}

/** Commands that change the graph. */
export const nodeCommands: CommandTable = {
  'blockdev-add': blockdevAdd,
  'blockdev-del': blockdevDel,
  'blockdev-create': blockdevCreate,
  block_resize: blockResize,
  'change-backing-file': changeBackingFile,
  'block-set-write-threshold': setWriteThreshold,
  'blockdev-set-active': setActive,
  'x-blockdev-change': blockdevChange,
};
