/** Trays and media: blockdev-open-tray and its family, eject, and the older change. */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import { refuse } from '../../core/errors.ts';
import type { BlockBackend } from '../../core/graph/backend.ts';
import {
  changeMedium,
  closeTray,
  type Drive,
  eject,
  insertMedium,
  type MediumRights,
  openTray,
  removeMedium,
} from '../../core/media.ts';
import { refusalOf } from '../../core/snapshots.ts';
import type { Vm } from '../../core/vm.ts';
import { type CommandContext, type CommandTable, choice, type Handler, needText, text } from './table.ts';

const refuseDevice = (device: string): never =>
  refuse(`Device '${device}' not found`, 'DeviceNotFound', { kind: 'device-not-found', device });

/** The backend of a named drive. */
export function driveNamed(vm: Vm, name: string): BlockBackend {
  return vm.graph.backends.find((each) => each.name !== '' && each.name === name) ?? refuseDevice(name);
}

/** The backend of a device, by the device's id or path. */
export function driveOfDevice(vm: Vm, id: string): BlockBackend {
  const backend = vm.graph.backends.find(({ qdev }) => qdev === id);
  if (backend) return backend;
  // A proxy of a block device, too, has no backend itself.
  const exists = vm.devices.some((device) => device.id === id || device.path === id);
  return exists ? refuse('Device does not have a block device backend') : refuseDevice(id);
}

/** The drive of commands that take `device` or `id`. */
export function driveOf(vm: Vm, args: JsonObject): Drive {
  const device = text(args, 'device');
  const id = text(args, 'id');
  if ((device === undefined) === (id === undefined)) refuse("Need exactly one of 'device' and 'id'");
  const backend = device === undefined ? driveOfDevice(vm, id ?? '') : driveNamed(vm, device);
  return { backend, called: device ?? id ?? '' };
}

const onDrive =
  (act: (vm: Vm, drive: Drive, args: JsonObject) => void): Handler =>
  ({ vm }, args) => {
    act(vm, driveOf(vm, args), args);
    return undefined;
  };

/** `change` of the generations before blockdev-change-medium; the password of a screen is nothing here. */
const change: Handler = ({ vm }, args) => {
  const device = needText(args, 'device');
  const drive = { backend: driveNamed(vm, device), called: device };
  changeMedium(vm, drive, { path: needText(args, 'target'), format: text(args, 'arg'), rights: 'retain' });
  return undefined;
};

const blockPasswd: Handler = ({ vm }, args) => {
  const device = needText(args, 'device');
  driveNamed(vm, device);
  return refuse(`Device '${device}' is not encrypted`, 'GenericError', { kind: 'not-encrypted', device });
};

/** Commands about media. */
export const mediaCommands: CommandTable = {
  'blockdev-open-tray': onDrive(openTray),
  'blockdev-close-tray': onDrive(closeTray),
  'blockdev-remove-medium': onDrive(removeMedium),
  'blockdev-insert-medium': onDrive((vm, drive, args) =>
    insertMedium(vm, drive, needText(args, 'node-name')),
  ),
  'blockdev-change-medium': onDrive((vm, drive, args) =>
    changeMedium(vm, drive, {
      path: needText(args, 'filename'),
      format: text(args, 'format'),
      rights: choice<MediumRights>(args, 'read-only-mode', 'retain'),
    }),
  ),
  eject: onDrive(eject),
  change,
  block_passwd: blockPasswd,
};

const complaintOf = (run: () => void): string => {
  const complaint = refusalOf(run);
  return complaint === undefined ? '' : `Error: ${complaint}\r\n`;
};

const drive = ({ vm }: CommandContext, called: string): Drive => ({
  backend: driveNamed(vm, called),
  called,
});

/** eject and change of the human monitor. */
export const mediaHmp: Readonly<
  Record<string, (context: CommandContext, words: readonly string[]) => string>
> = {
  eject(context, words) {
    const [name = ''] = words.filter((word) => word !== '-f');
    return complaintOf(() => eject(context.vm, drive(context, name)));
  },
  change(context, words) {
    const [name = '', path = '', format, rights = 'retain'] = words.filter((word) => word !== '-f');
    const medium = { path, format, rights: rights as MediumRights };
    return complaintOf(() => changeMedium(context.vm, drive(context, name), medium));
  },
};
