/** Internal snapshots: of one image, and of all disks together with the state of their machine. */
import { assert } from '../../src/util/assert.ts';
import { EPOCH_SECONDS } from './clock.ts';
import { CommandError, refuse } from './errors.ts';
import { flushNode, skipFilters } from './graph/data.ts';
import { displayName, hasBackend } from './graph/graph.ts';
import type { BlockNode } from './graph/node.ts';
import { type ImageFile, type InternalSnapshot, layoutOf } from './images.ts';
import type { Vm } from './vm.ts';

// What the devices of a small machine take; guest memory is not simulated.
const VM_STATE_BYTES = 396_304;
const NS_PER_SECOND = 1_000_000_000;
// QEMU knows the time of day to the microsecond.
const NS_PER_MICROSECOND = 1_000;

/** Which disks a snapshot of the machine takes in. */
export interface MachineSnapshot {
  readonly name: string;
  /** Names of nodes; left out: every disk that somebody may write to. */
  readonly devices?: readonly string[] | undefined;
  /** The node whose image keeps the machine's state; left out: the first. */
  readonly vmState?: string | undefined;
}

/** The image that keeps the snapshots of a node; undefined: its format has none. */
function ownerOf(node: BlockNode): ImageFile | undefined {
  const { driver, image } = skipFilters(node);
  return driver.name === 'qcow2' ? image : undefined;
}

/** All snapshots of a node's image, oldest first; undefined: its format has none. */
export const snapshotsOf = (node: BlockNode): readonly InternalSnapshot[] | undefined =>
  ownerOf(node)?.snapshots;

/** Whether a node can get a snapshot. */
export const canSnapshot = (node: BlockNode): boolean =>
  !node.readOnly && node.active && ownerOf(node) !== undefined;

const named = (node: BlockNode, name: string): InternalSnapshot | undefined =>
  ownerOf(node)?.snapshots.find((each) => each.name === name);

/** Keeps what a node holds now; its snapshots have been checked. Returns the id. */
export function takeSnapshot(vm: Vm, node: BlockNode, name: string, vmStateBytes = 0): string {
  const image = ownerOf(node);
  assert(image, `node ${node.name} has no snapshots`);
  flushNode(node);
  const nowNs = vm.clock.now();
  const ids = image.snapshots.map((each) => Number(each.id));
  const id = String(Math.max(0, ...ids) + 1);
  image.snapshots.push({
    id,
    name,
    dateSec: EPOCH_SECONDS + Math.floor(nowNs / NS_PER_SECOND),
    dateNsec: Math.floor((nowNs % NS_PER_SECOND) / NS_PER_MICROSECOND) * NS_PER_MICROSECOND,
    vmClockNs: vm.guestClock.ns,
    vmStateBytes,
    virtualSizeBytes: image.virtualSizeBytes,
    extents: image.extents.copy(),
  });
  layoutOf(image).share(image.virtualSizeBytes);
  image.save();
  vm.reach('internal-snapshot.taken');
  return id;
}

/** Drops a snapshot of a node's image. */
export function dropSnapshot(vm: Vm, node: BlockNode, snapshot: InternalSnapshot): void {
  const image = ownerOf(node);
  assert(image, `node ${node.name} has no snapshots`);
  image.snapshots.splice(image.snapshots.indexOf(snapshot), 1);
  image.layout = undefined;
  image.save();
  vm.reach('internal-snapshot.dropped');
}

/** Lets a node hold again what it held then. An id goes before a name that looks like it. */
function restore(vm: Vm, node: BlockNode, name: string): void {
  const below = skipFilters(node);
  const image = ownerOf(node);
  const snapshot = image?.snapshots.find(({ id }) => id === name) ?? named(node, name);
  assert(image && snapshot, `node ${node.name} has no snapshot ${name}`);
  below.pending?.truncate(0);
  image.virtualSizeBytes = snapshot.virtualSizeBytes;
  image.extents.become(snapshot.extents);
  image.layout = undefined;
  below.generation++;
  image.save();
  vm.reach('internal-snapshot.restored');
}

/** Every tree's top: what backends have open, then what nobody has open but the monitor. */
export function treesOf({ graph, bugs }: Vm): BlockNode[] {
  const byBackends = graph.backends.flatMap(({ node }) => (node ? [node] : []));
  const nodes = [...graph.nodes.values()];
  const byJobs = nodes.filter((node) =>
    node.parents.some(({ parent }) => parent.kind === 'job-backend' || parent.kind === 'export'),
  );
  const opened = [...new Set([...byBackends, ...byJobs])];
  const last = opened.at(-1);
  const owned = nodes.filter(({ monitorOwned }) => monitorOwned);
  const from = !bugs.olderNodesLeftOut || last === undefined ? 0 : owned.indexOf(last);
  return [...opened, ...(from < 0 ? [] : owned.slice(from).filter((node) => !hasBackend(node)))];
}

/** Whether a snapshot of everything takes a node in. */
const isIncluded = (node: BlockNode): boolean =>
  !node.readOnly && (hasBackend(node) || node.parents.length === 0);

/** The disks that a snapshot takes in. */
export function selected(vm: Vm, devices?: readonly string[]): BlockNode[] {
  if (devices === undefined) return treesOf(vm).filter(isIncluded);
  if (devices.length === 0) refuse('At least one device is required for snapshot');
  return devices.map((name) => vm.graph.nodes.get(name) ?? refuse(`No block device node '${name}'`));
}

/** Refuses a selection that has a disk without snapshots. */
function checkSelection(vm: Vm, devices?: readonly string[]): BlockNode[] {
  const nodes = selected(vm, devices);
  for (const node of nodes) {
    if (!canSnapshot(node)) {
      refuse(`Device '${displayName(node)}' is writable but does not support snapshots`);
    }
  }
  return nodes;
}

/** The node whose image keeps machine states; refuses if there is none. */
export function stateNode(vm: Vm, { devices, vmState }: Omit<MachineSnapshot, 'name'>): BlockNode {
  const nodes = selected(vm, devices);
  if (vmState !== undefined) {
    return (
      nodes.find((node) => node.name === vmState) ??
      refuse(`vmstate block device '${vmState}' does not exist`)
    );
  }
  return nodes.find(canSnapshot) ?? refuse('no block device can store vmstate for snapshot');
}

/** Whether every disk that a snapshot takes in has one of that name. */
export const isOnAll = (vm: Vm, name: string, devices?: readonly string[]): boolean =>
  selected(vm, devices).every((node) => named(node, name) !== undefined);

const ABSENT_TEXT = 'does not exist in one or more devices';

function flapAll(vm: Vm): void {
  vm.flapNow(vm.jobsOnAnyNode());
}

/** Snapshots all disks and the machine's state; one of the same name is replaced or an error. */
export function saveMachine(vm: Vm, wanted: MachineSnapshot, replaces: boolean): void {
  const { name, devices } = wanted;
  const nodes = checkSelection(vm, devices);
  if (replaces) deleteFrom(vm, nodes, name);
  else if (isOnAll(vm, name, devices)) {
    refuse(`Snapshot '${name}' already exists in one or more devices`);
  }
  const keeper = stateNode(vm, wanted);
  const wasRunning = vm.running;
  vm.pause('paused');
  flapAll(vm);
  flapAll(vm);
  for (const node of nodes) takeSnapshot(vm, node, name, node === keeper ? VM_STATE_BYTES : 0);
  if (wasRunning) vm.resume();
}

/** Goes back to a snapshot of the machine. A machine that ran stands still if that fails. */
export function loadMachine(vm: Vm, wanted: MachineSnapshot): void {
  const { name, devices } = wanted;
  const wasRunning = vm.running;
  if (wasRunning) vm.pause('restore-vm');
  flapAll(vm);
  const nodes = checkSelection(vm, devices);
  if (!isOnAll(vm, name, devices)) refuse(`Snapshot '${name}' ${ABSENT_TEXT}`);
  const keeper = stateNode(vm, wanted);
  const state = named(keeper, name) ?? refuse(`Snapshot '${name}' ${ABSENT_TEXT}`);
  if (state.vmStateBytes === 0) {
    refuse('This is a disk-only snapshot. Revert to it  offline using qemu-img');
  }
  const held = vm.jobsOnAnyNode();
  vm.drain(held, () => undefined);
  try {
    for (const node of nodes) goBack(vm, node, name);
  } finally {
    vm.undrain(held);
  }
  vm.guestClock.set(state.vmClockNs);
  if (wasRunning) vm.resume();
}

function goBack(vm: Vm, node: BlockNode, name: string): void {
  if (vm.bugs.loadUnderMirrorCrashes && node.driver.name === 'mirror_top') vm.die(null, 'SIGSEGV');
  if (node.bitmaps.length > 0 || node.driver.name === 'mirror_top') {
    refuse(`Could not load snapshot '${name}' on '${displayName(node)}': Device has active dirty bitmaps`);
  }
  restore(vm, node, name);
}

function deleteFrom(vm: Vm, nodes: readonly BlockNode[], name: string): void {
  for (const node of nodes) {
    const snapshot = named(node, name);
    if (!snapshot) continue;
    vm.flap(node, 1);
    dropSnapshot(vm, node, snapshot);
  }
}

/** Deletes a snapshot from every disk that has it; none needs to. */
export function deleteMachine(vm: Vm, { name, devices }: MachineSnapshot): void {
  deleteFrom(vm, checkSelection(vm, devices), name);
}

/** What a refusal says; anything else goes on. */
export function refusalOf(run: () => void): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof CommandError) return error.message;
    throw error;
  }
}
