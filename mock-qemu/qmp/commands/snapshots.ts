/** Internal snapshots: QMP's commands and transaction actions, and the human monitor's savevm family. */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import { EPOCH_SECONDS } from '../../core/clock.ts';
import { strerror } from '../../core/errno.ts';
import { refuse } from '../../core/errors.ts';
import { flushFor } from '../../core/flushing.ts';
import { backendName, checkNotBlocked, isRoot } from '../../core/graph/graph.ts';
import type { BlockNode } from '../../core/graph/node.ts';
import type { InternalSnapshot } from '../../core/images.ts';
import type { SnapshotJobType } from '../../core/jobs/job.ts';
import { SnapshotTask } from '../../core/jobs/snapshot.ts';
import {
  canSnapshot,
  deleteMachine,
  dropSnapshot,
  isOnAll,
  loadMachine,
  type MachineSnapshot,
  refusalOf,
  saveMachine,
  selected,
  snapshotsOf,
  stateNode,
  takeSnapshot,
} from '../../core/snapshots.ts';
import type { Vm } from '../../core/vm.ts';
import type { Behaviour } from '../../profiles/profile.ts';
import { type CommandContext, type CommandTable, type Handler, needText, text } from './table.ts';

const NS_PER_SECOND = 1_000_000_000;

/** QAPI SnapshotInfo. */
export const snapshotInfo = (snapshot: InternalSnapshot): JsonObject => ({
  'vm-clock-nsec': snapshot.vmClockNs % NS_PER_SECOND,
  name: snapshot.name,
  'date-sec': snapshot.dateSec,
  'date-nsec': snapshot.dateNsec,
  'vm-clock-sec': Math.floor(snapshot.vmClockNs / NS_PER_SECOND),
  id: snapshot.id,
  'vm-state-size': snapshot.vmStateBytes,
});

/** The top of a tree, by the name of its drive or its own. */
export function rootOf(vm: Vm, device: string): BlockNode {
  const node = vm.graph.find(device);
  if (!isRoot(node)) refuse('Need a root block node');
  return node;
}

/** An action that has been done and can be undone. */
interface Done {
  commit(): void;
  abort(): void;
}

/** blockdev-snapshot-internal-sync: the snapshot is there as soon as it is prepared. */
export function prepareInternalSnapshot(vm: Vm, data: JsonObject): Done {
  const device = needText(data, 'device');
  const name = needText(data, 'name');
  const node = rootOf(vm, device);
  checkNotBlocked(node, 'internal-snapshot');
  if (node.readOnly) refuse(`Device '${device}' is read only`);
  if (!canSnapshot(node)) {
    const format = `Block format '${node.driver.name}' used by device '${device}'`;
    refuse(`${format} does not support internal snapshots`);
  }
  if (name === '') refuse('Name is empty');
  if (snapshotsOf(node)?.some((each) => each.name === name)) {
    refuse(`Snapshot with name '${name}' already exists on device '${device}'`);
  }
  const error = flushFor(vm, node);
  if (error !== undefined) {
    refuse(`Failed to create snapshot '${name}' on device '${device}': ${strerror(error)}`);
  }
  const id = takeSnapshot(vm, node, name);
  return {
    commit: () => undefined,
    abort() {
      const taken = snapshotsOf(node)?.find((each) => each.id === id);
      if (taken) dropSnapshot(vm, node, taken);
    },
  };
}

const deleteInternal: Handler = ({ vm }, args) => {
  const device = needText(args, 'device');
  const id = text(args, 'id');
  const name = text(args, 'name');
  const node = rootOf(vm, device);
  if (id === undefined && name === undefined) refuse('Name or id must be provided');
  checkNotBlocked(node, 'internal-snapshot-delete');
  const list = snapshotsOf(node) ?? refuse('Failed to get a snapshot list: Operation not supported');
  const snapshot = list.find(
    (each) => (id === undefined || each.id === id) && (name === undefined || each.name === name),
  );
  if (!snapshot) {
    const looked = `id '${id ?? 'null'}' and name '${name ?? 'null'}'`;
    return refuse(`Snapshot with ${looked} does not exist on device '${device}'`);
  }
  vm.flap(node, 1);
  if (node.readOnly) refuse('Failed to remove snapshot from snapshot list: Operation not permitted');
  dropSnapshot(vm, node, snapshot);
  return snapshotInfo(snapshot);
};

type Work = (context: CommandContext, wanted: MachineSnapshot) => void;

const load: Work = ({ vm }, wanted) => loadMachine(vm, wanted);

const job =
  (type: SnapshotJobType, work: Work): Handler =>
  (context, args) => {
    const { vm } = context;
    const wanted: MachineSnapshot = {
      name: needText(args, 'tag'),
      devices: (args.devices ?? []) as readonly string[],
      vmState: text(args, 'vmstate'),
    };
    const task = new SnapshotTask(() => work(context, wanted));
    vm.jobs.create({ id: needText(args, 'job-id'), type, autoDismiss: false, nodes: [], task }).start();
    return undefined;
  };

/** Commands about internal snapshots; blockdev-snapshot-internal-sync is a transaction. */
export const snapshotCommands: CommandTable = {
  'blockdev-snapshot-delete-internal-sync': deleteInternal,
  'snapshot-save': job('snapshot-save', ({ vm }, wanted) => saveMachine(vm, wanted, false)),
  'snapshot-load': job('snapshot-load', load),
  'snapshot-delete': job('snapshot-delete', ({ vm }, wanted) => deleteMachine(vm, wanted)),
};

const pad2 = (value: number): string => String(value).padStart(2, '0');

/** A date of UTC; proleptic Gregorian, by the days since the Unix epoch. */
function dateOf(sinceEpochSec: number): { readonly day: string; readonly time: string } {
  const SECONDS_PER_DAY = 86_400;
  const days = Math.floor(sinceEpochSec / SECONDS_PER_DAY) + 719_468;
  const era = Math.floor(days / 146_097);
  const ofEra = days - era * 146_097;
  const yearOfEra = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  const ofYear = ofEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * ofYear + 2) / 153);
  const day = ofYear - Math.floor((153 * shifted + 2) / 5) + 1;
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const seconds = sinceEpochSec % SECONDS_PER_DAY;
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return { day: `${year}-${pad2(month)}-${pad2(day)}`, time: parts.map(pad2).join(':') };
}

const UNITS = ['', 'Ki', 'Mi', 'Gi', 'Ti'] as const;

/** Three digits and a unit. */
function shortSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 999.5 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${Number(value.toPrecision(3))} ${UNITS[unit]}B`;
}

function clockOf(ns: number, hourDigits: number): string {
  const seconds = Math.floor(ns / NS_PER_SECOND);
  const hours = String(Math.floor(seconds / 3600)).padStart(hourDigits, '0');
  const millis = String(Math.floor(ns / 1_000_000) % 1000).padStart(3, '0');
  return `${hours}:${pad2(Math.floor(seconds / 60) % 60)}:${pad2(seconds % 60)}.${millis}`;
}

type Row = readonly [id: string, tag: string, size: string, date: string, clock: string, icount: string];

/** One generation's table. */
interface TableStyle {
  readonly head: Row;
  readonly hourDigits: number;
  readonly noCount: string;
  readonly line: (row: Row) => string;
}

const STYLES: Readonly<Record<Behaviour['snapshotTable'], TableStyle>> = {
  wide: {
    head: ['ID', 'TAG', 'VM SIZE', 'DATE', 'VM CLOCK', 'ICOUNT'],
    hourDigits: 2,
    noCount: '',
    line: ([id, tag, size, date, clock, count]) =>
      `${id.padEnd(9)} ${tag.padEnd(16)} ${size.padStart(8)}${date.padStart(20)}${clock.padStart(13)}` +
      count.padStart(11),
  },
  underscored: {
    head: ['ID', 'TAG', 'VM_SIZE', 'DATE', 'VM_CLOCK', 'ICOUNT'],
    hourDigits: 4,
    noCount: '--',
    line: ([id, tag, size, date, clock, count]) =>
      `${id.padEnd(7)} ${tag.padEnd(16)} ${size.padStart(8)} ${date.padStart(19)} ${clock.padStart(15)} ` +
      count.padStart(10),
  },
};

function table(
  style: TableStyle,
  list: readonly InternalSnapshot[],
  idOf: (each: InternalSnapshot) => string,
) {
  const rows = list.map((each): Row => {
    const { day, time } = dateOf(each.dateSec);
    const clock = clockOf(each.vmClockNs, style.hourDigits);
    return [idOf(each), each.name, shortSize(each.vmStateBytes), `${day} ${time}`, clock, style.noCount];
  });
  return [style.head, ...rows].map((row) => `${style.line(row)}\r\n`).join('');
}

/** `info snapshots`. */
export function infoSnapshots({ vm, profile }: CommandContext): string {
  const complaint = refusalOf(() => stateNode(vm, {}));
  if (complaint !== undefined) return `${complaint}\r\n`;
  const style = STYLES[profile.behaviour.snapshotTable];
  const disks = selected(vm).map((node) => ({ node, list: snapshotsOf(node) ?? [] }));
  if (disks.every(({ list }) => list.length === 0)) return 'There is no snapshot available.\r\n';
  const everywhere = (snapshotsOf(stateNode(vm, {})) ?? []).filter(({ name }) => isOnAll(vm, name));
  const names = new Set(everywhere.map(({ name }) => name));
  const shared = everywhere.length === 0 ? 'None\r\n' : table(style, everywhere, () => '--');
  const partial = disks.map(({ node, list }) => {
    const rest = list.filter(({ name }) => !names.has(name));
    const title = `\r\nList of partial (non-loadable) snapshots on '${backendName(node)}':\r\n`;
    return rest.length === 0 ? '' : title + table(style, rest, ({ id }) => id);
  });
  return `List of snapshots present on all disks:\r\n${shared}${partial.join('')}`;
}

/** The name of a snapshot that got none. */
function nameByDate(vm: Vm): string {
  const { day, time } = dateOf(EPOCH_SECONDS + Math.floor(vm.clock.now() / NS_PER_SECOND));
  return `vm-${day.replaceAll('-', '')}${time.replaceAll(':', '')}`;
}

const hint = (command: string): string => `Try "help ${command}" for more information\r\n`;

/** A command of the human monitor that takes the name of a snapshot. */
const byName =
  (command: string, work: Work, otherwise?: (vm: Vm) => string) =>
  (context: CommandContext, words: readonly string[]): string => {
    const [name = otherwise?.(context.vm), ...rest] = words;
    if (name === undefined) return `${command}: string expected\r\n${hint(command)}`;
    if (rest.length > 0) return `${command}: extraneous characters at the end of line\r\n${hint(command)}`;
    const complaint = refusalOf(() => work(context, { name }));
    return complaint === undefined ? '' : `Error: ${complaint}\r\n`;
  };

/** savevm, loadvm and delvm, by name. */
export const snapshotHmp: Readonly<
  Record<string, (context: CommandContext, words: readonly string[]) => string>
> = {
  savevm: byName('savevm', ({ vm }, wanted) => saveMachine(vm, wanted, true), nameByDate),
  loadvm: byName('loadvm', load),
  delvm: byName('delvm', ({ vm }, wanted) => deleteMachine(vm, wanted)),
};
