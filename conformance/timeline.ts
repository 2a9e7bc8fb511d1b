/** What happened in one case, as rows: commands, replies and events of two targets side by side. */

/** One thing that crossed the wire (or, for a driver without one, the API). */
export interface TimelineEntry {
  /** The target's own time, in ms since its first entry. */
  readonly ms: number;
  readonly kind: 'command' | 'reply' | 'error' | 'event';
  readonly text: string;
}

/** What stands on one line; an empty side had nothing like it. */
export interface TimelineRow {
  readonly left?: TimelineEntry;
  readonly right?: TimelineEntry;
}

/** Bytes that a copy still had to move, at a time in ms. */
export type DirtySample = readonly [ms: number, dirtyBytes: number];

/** The same case on one or two targets. */
export interface Timeline {
  /** What the sides are called: the target that failed, then the one to compare with. */
  readonly sides: readonly string[];
  readonly rows: readonly TimelineRow[];
  /** Index of the first row whose sides differ; left out where there is one side, or no difference. */
  readonly firstDifference?: number;
  /** How much each side's copies still had to move, by side; sides without a copy have none. */
  readonly dirty: readonly (readonly DirtySample[])[];
}

/** What was kept of one case on one target. */
export interface CaseRecord {
  readonly side: string;
  /** Lines of `MS CONNECTION > MESSAGE` and `<`, as {@link Session.trace} gives them. */
  readonly trace: string;
  /** What the target sampled itself; without it, what the wire said of the progress is used. */
  readonly dirty?: readonly DirtySample[];
}

const LINE = /^(\d+(?:\.\d+)?) (\S+) ([<>]) (.*)$/;
/** More of one message is not read by anybody. */
const MAX_TEXT_CHARS = 2_000;
/** Longer cases keep their beginning: aligning costs the product of both lengths. */
const MAX_ENTRIES = 1_000;
/** What a driver asks a QEMU before it uses it; how often depends on what it still remembers. */
const PROBES = /^(?:qmp_capabilities|quit|query-(?:version|commands|qmp-schema|kvm|target|machines))$/;

interface Line {
  readonly ms: number;
  readonly connection: string;
  readonly isCommand: boolean;
  readonly text: string;
  readonly message: Readonly<Record<string, unknown>>;
}

/** Puts one or two records of a case side by side. */
export function timelineOf(records: readonly CaseRecord[]): Timeline {
  const [left = [], right] = records.map(({ trace }) => comparedOf(trace));
  const rows: TimelineRow[] = right ? align(left, right) : left.map(({ entry }) => ({ left: entry }));
  const firstDifference = right ? commonPrefix(left, right) : -1;
  return {
    sides: records.map(({ side }) => side),
    rows,
    ...(firstDifference < 0 || firstDifference === rows.length ? {} : { firstDifference }),
    dirty: records.map(({ trace, dirty }) => dirty ?? dirtyOnTheWire(trace)),
  };
}

/** An entry, and what another target must agree in: of all of its text, however long. */
interface Compared {
  readonly entry: TimelineEntry;
  readonly essence: string;
}

/** The entries of a trace, without the greeting and the questions that come before the work. */
export function entriesOf(trace: string): TimelineEntry[] {
  return comparedOf(trace).map(({ entry }) => entry);
}

function comparedOf(trace: string): Compared[] {
  const lines = linesOf(trace);
  const startMs = lines[0]?.ms ?? 0;
  const probes = new Set<string>();
  const entries: Compared[] = [];
  for (const line of lines) {
    const { execute, id, QMP: greeting } = line.message;
    const key = `${line.connection} ${JSON.stringify(id)}`;
    if (line.isCommand && typeof execute === 'string' && PROBES.test(execute)) probes.add(key);
    if (greeting !== undefined || (id !== undefined && probes.has(key))) continue;
    const [kind, ms] = [kindOf(line), round(line.ms - startMs)];
    entries.push({
      entry: { ms, kind, text: line.text.slice(0, MAX_TEXT_CHARS) },
      essence: essence(kind, line.text),
    });
    if (entries.length === MAX_ENTRIES) break;
  }
  return entries;
}

/** How much jobs still had to do, as far as events and answers about them said so. */
export function dirtyOnTheWire(trace: string): DirtySample[] {
  const lines = linesOf(trace);
  const startMs = lines[0]?.ms ?? 0;
  return lines.flatMap(({ ms, message }) =>
    progressIn(message).map((bytes): DirtySample => [round(ms - startMs), bytes]),
  );
}

/** `len - offset` of every mirror that a message speaks of. */
function progressIn(message: Readonly<Record<string, unknown>>): number[] {
  const told = [message.data, ...(Array.isArray(message.return) ? message.return : [])];
  return told.filter(isRecord).flatMap(({ type, len, offset }) => {
    const isMirror = type === 'mirror' && typeof len === 'number' && typeof offset === 'number';
    return isMirror ? [Math.max(0, len - offset)] : [];
  });
}

function linesOf(trace: string): Line[] {
  return trace.split('\n').flatMap((raw) => {
    const [, ms, connection = '', arrow, text = ''] = LINE.exec(raw) ?? [];
    if (ms === undefined) return [];
    return [{ ms: Number(ms), connection, isCommand: arrow === '>', text, message: parse(text) }];
  });
}

function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : {};
  } catch {
    return {};
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function kindOf({ isCommand, message }: Line): TimelineEntry['kind'] {
  if (isCommand) return 'command';
  if ('event' in message) return 'event';
  return 'error' in message ? 'error' : 'reply';
}

/**
 * What two targets must agree in: not in time stamps, where their directories are, the numbering of ids, the names that
 * QEMU makes up for nodes (their end is random), nor how much of a host's disk an image takes.
 */
function essence(kind: TimelineEntry['kind'], text: string): string {
  const stable = text
    .replace(/"timestamp":\s*\{[^}]*\},?\s*/g, '')
    .replace(/,?\s*"id":\s*"libvirt-\d+"/g, '')
    .replace(/#block\d+/g, '#block')
    .replace(/"actual-size":\s*\d+/g, '"actual-size":0')
    .replace(/\/[^"\s]*\/(?=[\w.-]+")/g, '')
    .replace(/\s+/g, '');
  return `${kind} ${kind === 'reply' ? withSortedMembers(stable) : stable}`;
}

/** Members of an object come in any order; two QEMUs need not agree on it. */
function withSortedMembers(text: string): string {
  const sort = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sort);
    if (!isRecord(value)) return value;
    const names = Object.keys(value).sort();
    return Object.fromEntries(names.map((name) => [name, sort(value[name])]));
  };
  const value = parse(text);
  return Object.keys(value).length === 0 ? text : JSON.stringify(sort(value));
}

/** How many entries both begin with. */
function commonPrefix(left: readonly Compared[], right: readonly Compared[]): number {
  const count = left.findIndex(({ essence: own }, index) => own !== right[index]?.essence);
  return count < 0 ? left.length : count;
}

/** Equal rows, then the first two entries that differ, then the rest. */
function align(left: readonly Compared[], right: readonly Compared[]): TimelineRow[] {
  const count = commonPrefix(left, right);
  const pair = (index: number) => rowOf(left[index], right[index]);
  return [
    ...left.slice(0, count + 1).map((_, index) => pair(index)),
    ...(left.length <= count && right.length > count ? [pair(count)] : []),
    ...alignRest(left.slice(count + 1), right.slice(count + 1)),
  ];
}

function rowOf(left: Compared | undefined, right: Compared | undefined): TimelineRow {
  return { ...(left ? { left: left.entry } : {}), ...(right ? { right: right.entry } : {}) };
}

/** Rows of the longest common subsequence, with what is on one side only in between. */
function alignRest(left: readonly Compared[], right: readonly Compared[]): TimelineRow[] {
  const [a, b] = [left, right].map((side) => side.map((each) => each.essence)) as [string[], string[]];
  const lengths = commonLengths(a, b);
  const width = b.length + 1;
  const rows: TimelineRow[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const [here, there] = [left[i], right[j]];
    const isCommon = here && there && a[i] === b[j];
    const isLeftFirst = !there || at(lengths, (i + 1) * width + j) >= at(lengths, i * width + j + 1);
    const takesLeft = here && (isCommon || isLeftFirst);
    const takesRight = there && (isCommon || !takesLeft);
    rows.push(rowOf(takesLeft ? here : undefined, takesRight ? there : undefined));
    if (takesLeft) i++;
    if (takesRight) j++;
  }
  return rows;
}

/** How long a common subsequence the rest of both can have, from every pair of positions on. */
function commonLengths(a: readonly string[], b: readonly string[]): Uint16Array {
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      lengths[i * width + j] =
        a[i] === b[j]
          ? at(lengths, (i + 1) * width + j + 1) + 1
          : Math.max(at(lengths, (i + 1) * width + j), at(lengths, i * width + j + 1));
  return lengths;
}

const at = (lengths: Uint16Array, index: number): number => lengths[index] ?? 0;
const round = (ms: number): number => Math.round(ms * 1000) / 1000;
