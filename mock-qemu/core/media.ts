/** Trays and the media in them: drives that can be opened, emptied and filled. */
import type { Data } from './data.ts';
import { refuse } from './errors.ts';
import type { BlockBackend } from './graph/backend.ts';
import { checkNotBlocked, hasBackend } from './graph/graph.ts';
import { openNode, probeFormat } from './graph/open.ts';
import { deviceRights } from './rights.ts';
import type { Vm } from './vm.ts';

/** A drive, by the name that its client called it. */
export interface Drive {
  readonly backend: BlockBackend;
  readonly called: string;
}

/** Whether a medium can leave a drive: always where no device is in the way. */
export const isRemovable = ({ removable, qdev }: BlockBackend): boolean => removable || qdev === undefined;

const hasTray = ({ removable, qdev }: BlockBackend): boolean => removable && qdev !== undefined;

function checkRemovable({ backend, called }: Drive): void {
  if (isRemovable(backend)) return;
  refuse(`Device '${called}' is not removable`, 'GenericError', { kind: 'not-removable', device: called });
}

function checkTrayOpen({ backend, called }: Drive): void {
  if (hasTray(backend) && !backend.trayOpen) refuse(`Tray of device '${called}' is not open`);
}

function moveTray(vm: Vm, backend: BlockBackend, open: boolean): void {
  if (!hasTray(backend) || backend.trayOpen === open) return;
  backend.trayOpen = open;
  vm.emit('DEVICE_TRAY_MOVED', { device: backend.name, 'tray-open': open, id: backend.qdev ?? '' });
}

/** Opens the tray, if there is one. */
export function openTray(vm: Vm, drive: Drive): void {
  checkRemovable(drive);
  moveTray(vm, drive.backend, true);
}

/** Closes the tray, if there is one. */
export function closeTray(vm: Vm, drive: Drive): void {
  checkRemovable(drive);
  moveTray(vm, drive.backend, false);
}

/** Takes the medium out of an open drive; an empty one stays as it is. */
export function removeMedium(vm: Vm, drive: Drive): void {
  const { backend } = drive;
  checkRemovable(drive);
  checkTrayOpen(drive);
  const { node, root } = backend;
  if (!node) return;
  checkNotBlocked(node, 'eject');
  backend.readOnly = node.readOnly;
  backend.lastRights = root?.rights ?? backend.lastRights;
  backend.root = undefined;
  vm.graph.letGo(root);
}

/** Puts a node into an open drive that is empty. */
export function insertMedium(vm: Vm, drive: Drive, nodeName: string): void {
  const node = vm.graph.nodes.get(nodeName) ?? refuse(`Node '${nodeName}' not found`);
  if (hasBackend(node)) refuse(`Node '${nodeName}' is already in use`);
  const { backend } = drive;
  if (!isRemovable(backend)) refuse('Device is not removable');
  if (hasTray(backend) && !backend.trayOpen) refuse('Tray of the device is not open');
  if (backend.node) refuse('There already is a medium in the device');
  // A drive without a device goes on as it did with its last medium, if it had one.
  vm.fill(backend, node, backend.qdev === undefined ? backend.lastRights : deviceRights(true));
}

/** What a new medium may be written like. */
export type MediumRights = 'retain' | 'read-only' | 'read-write';

/** Opens a file, and exchanges it for the medium of a drive. */
export function changeMedium(
  vm: Vm,
  drive: Drive,
  medium: { readonly path: string; readonly format?: string | undefined; readonly rights: MediumRights },
): void {
  const { backend } = drive;
  const { path, rights } = medium;
  const readOnly = rights === 'retain' ? (backend.node ?? backend).readOnly : rights === 'read-only';
  const node = openNode(vm, optionsOf(vm, { ...medium, readOnly }), { monitorOwned: true });
  try {
    openTray(vm, drive);
    removeMedium(vm, drive);
    insertMedium(vm, drive, node.name);
    if (medium.format === undefined && node.driver.name === 'raw') warnOfProbing(vm, path);
  } finally {
    node.monitorOwned = false;
    vm.graph.collect(node);
  }
  closeTray(vm, drive);
}

function optionsOf(
  vm: Vm,
  {
    path,
    format,
    readOnly,
  }: { readonly path: string; readonly format?: string | undefined; readonly readOnly: boolean },
): Data {
  const rights = { 'read-only': readOnly };
  const driver = format ?? probeFormat(vm.images, path);
  return { driver, ...rights, file: { driver: 'file', filename: path, ...rights } };
}

/** A raw image that nobody called raw: its first block is not written to by just anybody. */
function warnOfProbing(vm: Vm, path: string): void {
  vm.options.print(
    'stderr',
    `WARNING: Image format was not specified for '${path}' and probing guessed raw.\n` +
      '         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be ' +
      "restricted.\n         Specify the 'raw' format explicitly to remove the restrictions.\n",
  );
}

/** Opens the tray and takes the medium out. */
export function eject(vm: Vm, drive: Drive): void {
  openTray(vm, drive);
  removeMedium(vm, drive);
}
