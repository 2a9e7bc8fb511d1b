/** What one side did with a script, with the noise taken out. */
import type { JsonObject } from '../../src/qmp/messages.ts';
import { PLACE } from './script.ts';

/** What was heard between sending a command and coming to rest, and how the jobs stood then. */
export interface StepRecord {
  /** Replies and events in the order in which they came, one JSON text each. */
  readonly heard: readonly string[];
  /** query-jobs and query-block-jobs at rest. */
  readonly jobs: readonly string[];
}

/** One image file after the machine has gone. */
export interface FileRecord {
  readonly name: string;
  /** Format, size, header, and each stretch of the file's own layer. */
  readonly text: string;
}

/** Everything a run shows. */
export interface Transcript {
  readonly steps: readonly StepRecord[];
  /** The queries that end a script. */
  readonly graph: readonly string[];
  /** What was heard from `quit` to the end. */
  readonly end: readonly string[];
  /** Standard output, which is where the human monitor's qemu-io writes. */
  readonly stdout: string;
  readonly files: readonly FileRecord[];
}

/** Queries at rest after each command. */
export const JOB_QUERIES = ['query-jobs', 'query-block-jobs'] as const;
/** Queries at the end. */
export const GRAPH_QUERIES = ['query-named-block-nodes', 'query-block', 'query-status'] as const;

/** Members that depend on the host, the moment or chance, by name: each is left out. */
const MASKED: ReadonlySet<string> = new Set([
  'actual-size',
  'timestamp',
  'wr_highest_offset',
  'id-of-step',
  'date-sec',
  'date-nsec',
  'vm-clock-sec',
  'vm-clock-nsec',
]);

// A row of the human monitor's table of snapshots from the machine state's size to the clock, and a name made of a date.
const SNAPSHOT_ROW = / +[\d.]+ [KM]iB +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +[\d:.]+/g;
const DISK_SNAPSHOT_ROW = / +0 B +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +[\d:.]+/g;
const DATED_NAME = /vm-\d{14}/g;

/** Takes noise out of what one run says; auto names are numbered in the order in which they show. */
export class Normaliser {
  readonly #directory: string;
  readonly #names = new Map<string, string>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** A message or a value as one line: members sorted, noise gone. */
  value(value: unknown): string {
    return this.text(JSON.stringify(sorted(value)));
  }

  /** Text with the directory and the auto names replaced. */
  text(text: string): string {
    const timeless = text
      .replaceAll(SNAPSHOT_ROW, ' STATE')
      .replaceAll(DISK_SNAPSHOT_ROW, ' NO STATE')
      .replaceAll(DATED_NAME, 'vm-DATE');
    return timeless.replaceAll(this.#directory, PLACE).replaceAll(/#block\d+/g, (name) => {
      const known = this.#names.get(name) ?? `#${this.#names.size + 1}`;
      this.#names.set(name, known);
      return known;
    });
  }

  /** Standard output: how long qemu-io took says nothing. */
  output(text: string): string {
    return this.text(text.replaceAll(/, 1 ops; .*$/gm, ', 1 ops'));
  }
}

/** Rules of blkdebug in a file name: their order is that of hash tables that were copied more or less often. */
const RULES = /^json:(\{.*"(?:inject-error|set-state)\..*\})$/;

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  const rules = typeof value === 'string' ? RULES.exec(value)?.[1] : undefined;
  if (rules !== undefined) return `json:${JSON.stringify(sorted(JSON.parse(rules)))}`;
  if (typeof value !== 'object' || value === null) return value;
  const object = value as JsonObject;
  // Whether a job's coroutine runs at this very moment is chance; whether a bitmap is busy is not.
  const isJob = 'auto-finalize' in object;
  // How long a qcow2 file is on its host is its allocator's affair.
  const isContainer =
    ['file', 'raw', 'blkdebug'].includes(String(object.format)) &&
    /\.(qcow2|raw)$|"driver": ?"file", ?"filename": ?"[^"]*\.qcow2"\}/.test(String(object.filename));
  const names = Object.keys(object).filter(
    (name) => !MASKED.has(name) && !(isJob && name === 'busy') && !(isContainer && name === 'virtual-size'),
  );
  return Object.fromEntries(names.sort().map((name) => [name, memberOf(name, object[name])]));
}

/** How large a machine's state is depends on its devices; whether there is one does not. */
const memberOf = (name: string, value: unknown): unknown =>
  name === 'vm-state-size' ? Number(value) > 0 : sorted(value);
