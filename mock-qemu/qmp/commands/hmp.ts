/** human-monitor-command: the few commands of the human monitor that block work uses. */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import { CommandError } from '../../core/errors.ts';
import { BlockBackend } from '../../core/graph/backend.ts';
import { chainOf, skipImplicit } from '../../core/graph/data.ts';
import { fileNameOf } from '../../core/graph/names.ts';
import type { BlockNode, Edge } from '../../core/graph/node.ts';
import { WRITE } from '../../core/rights.ts';
import type { Vm } from '../../core/vm.ts';
import { refuseHmp } from './hmp-names.ts';
import { mediaHmp } from './media.ts';
import { ioCostNs, parseIo, performIo, requestOf } from './qemu-io.ts';
import { infoSnapshots, snapshotHmp } from './snapshots.ts';
import { type CommandContext, type CommandTable, type Finish, LATER, needText } from './table.ts';
import { throttleHmp, throttleLine } from './throttling.ts';

/** Splits a command line at blanks; quotes hold together, a backslash takes the next character as it is. */
function words(line: string): string[] {
  const found: string[] = [];
  for (const match of line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)) {
    found.push(match[1] === undefined ? (match[2] ?? '') : match[1].replace(/\\(.)/g, '$1'));
  }
  return found;
}

type Place = { readonly node: BlockNode; readonly backend: BlockBackend | undefined };

/** Where qemu-io goes: a device's backend follows filters and pivots, a node name is that node. */
function placeOf(vm: Vm, name: string, byDevice: boolean): Place | string {
  if (byDevice) return placeOfDevice(vm, name);
  const backend = vm.graph.backends.find((each) => each.name !== '' && each.name === name);
  const node = backend ? backend.node : vm.graph.nodes.get(name);
  if (node) return { node, backend };
  return backend
    ? `Error: Device '${name}' has no medium\r\n`
    : `Error: Cannot find device='' nor node-name='${name}'\r\n`;
}

function placeOfDevice(vm: Vm, name: string): Place | string {
  const device = vm.devices.find(({ id, path }) => id === name || path === name);
  const backend = vm.graph.backends.find(({ qdev }) => qdev === name);
  if (!device && !backend) return `Error: Device '${name}' not found\r\n`;
  if (!backend) return 'Error: Device does not have a block device backend\r\n';
  if (!backend.node) return `Error: Device '${name}' has no medium\r\n`;
  return { node: backend.node, backend };
}

/** Lets a command write through a backend, if that is what it does; what it got stays. A text: why it may not. */
function extendRights(vm: Vm, root: Edge, writes: boolean): string | undefined {
  const { needs, shares } = root.rights;
  if (!writes || needs & WRITE) return undefined;
  try {
    vm.graph.setRights(root, { needs: needs | WRITE, shares });
    return undefined;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const { message, lockedFile } = error;
    return lines(
      lockedFile === undefined ? [message] : [message, `Is another process using the image [${lockedFile}]?`],
    );
  }
}

const borrow = (vm: Vm, node: BlockNode): Edge =>
  vm.graph.hold({ kind: 'backend', backend: new BlockBackend('') }, 'root', node);

function qemuIo(vm: Vm, args: readonly string[], finish: Finish): string | typeof LATER {
  const byDevice = args[0] === '-d';
  const [name = '', command = ''] = byDevice ? args.slice(1) : args;
  const place = placeOf(vm, name, byDevice);
  if (typeof place === 'string') return place;
  // A backend that comes and goes for one command; it is its going that holds jobs still.
  const borrowed = place.backend ? undefined : borrow(vm, place.node);
  const answer = (text: string): void => {
    if (borrowed) vm.flap(place.node, vm.traits.flaps.borrow, () => finish(text));
    else finish(text);
    vm.graph.letGo(borrowed);
  };
  const io = parseIo(command);
  if (typeof io === 'string') {
    vm.options.print(io.startsWith('command ') ? 'stderr' : 'stdout', io);
    answer('');
    return LATER;
  }
  const root = borrowed ?? place.backend?.root;
  const conflict = root && extendRights(vm, root, io.op !== 'read' && io.op !== 'flush');
  if (conflict !== undefined) {
    answer(conflict);
    return LATER;
  }
  vm.whenGuestMay(place.node, () => {
    const heldNs = place.backend?.throttle?.delayNs(vm.clock.now(), requestOf(place.node, io)) ?? 0;
    vm.clock.after(heldNs + ioCostNs(vm, io) + vm.throttleNs(requestOf(place.node, io)), () => {
      // The disk may have been drained meanwhile, or have pivoted.
      vm.whenGuestMay(place.backend?.node ?? place.node, () => {
        const node = place.backend?.node ?? place.node;
        vm.options.print('stdout', performIo(vm, node, io));
        answer('');
      });
    });
  });
  return LATER;
}

function infoBlock(vm: Vm): string {
  return vm.graph.backends.map(describeBackend).join('\r\n');
}

function describeBackend(backend: BlockBackend): string {
  const node = backend.node && skipImplicit(backend.node);
  const title =
    backend.name === ''
      ? (node?.name ?? backend.qdev ?? '')
      : `${backend.name}${node ? ` (${node.name})` : ''}`;
  const attached = backend.qdev === undefined ? [] : [`    Attached to:      ${backend.qdev}`];
  const tray = `    Removable device: not locked, tray ${backend.trayOpen ? 'open' : 'closed'}`;
  const isDrive = backend.qdev === undefined && backend.name !== '';
  const removable = backend.removable || isDrive ? [tray] : [];
  if (!node) return lines([`${title}: [not inserted]`, ...attached, ...removable]);
  const depth = chainOf(node).length - 1;
  const below = chainOf(node)[1];
  return lines([
    `${title}: ${fileNameOf(node)} (${node.driver.name}${node.readOnly ? ', read-only' : ''})`,
    ...attached,
    ...removable,
    '    Cache mode:       writeback',
    ...(below ? [`    Backing file:     ${fileNameOf(below)} (chain depth: ${depth})`] : []),
    ...(backend.throttle ? [throttleLine(backend.throttle)] : []),
  ]);
}

const lines = (list: readonly string[]): string => list.map((line) => `${line}\r\n`).join('');

function infoBlockJobs(vm: Vm): string {
  const jobs = vm.jobs.jobs.filter((job) => job.isBlockJob);
  if (jobs.length === 0) return 'No active jobs\r\n';
  return lines(
    jobs.map(
      (job) =>
        `Type ${job.type}, device ${job.id}: Completed ${job.offset} of ${job.len} bytes, ` +
        `speed limit ${job.speedBytesPerSecond} bytes/s`,
    ),
  );
}

function infoStatus(vm: Vm): string {
  const detail = vm.runState === 'paused' || vm.runState === 'running' ? '' : ` (${vm.runState})`;
  return `VM status: ${vm.running ? 'running' : 'paused'}${detail}\r\n`;
}

const INFO: Readonly<Record<string, (context: CommandContext) => string>> = {
  block: ({ vm }) => infoBlock(vm),
  'block-jobs': ({ vm }) => infoBlockJobs(vm),
  snapshots: infoSnapshots,
  status: ({ vm }) => infoStatus(vm),
};

const COMMANDS = { ...snapshotHmp, ...mediaHmp, ...throttleHmp };

function execute(context: CommandContext, args: JsonObject, finish: Finish): string | typeof LATER {
  const [name = '', ...rest] = words(needText(args, 'command-line'));
  if (name === 'qemu-io') return qemuIo(context.vm, rest, finish);
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command) return command(context, rest);
  const info = name === 'info' ? INFO[rest[0] ?? ''] : undefined;
  return info ? info(context) : refuseHmp(name, rest);
}

/** The human monitor. */
export const hmpCommands: CommandTable = { 'human-monitor-command': execute };
