#!/usr/bin/env node
/**
 * Writes docs/coverage.md: every QMP command and event of the block-job family of two QEMUs, and every call, flag and
 * event of the API around it, with the contract that judges it. A contract judges what a canary breaks alone for it.
 */
import { writeFileSync } from 'node:fs';
import { canaries as allCanaries } from '../conformance/canaries/index.ts';
import type { Canary } from '../conformance/canary.ts';
import { apiRows, CHECKPOINT_CALLS, DOMAIN_CALLS, type Row, SNAPSHOT_CALLS } from '../conformance/rows.ts';
import { profileNamed } from '../mock-qemu/profiles/index.ts';
import { Domain, DomainCheckpoint, DomainSnapshot } from '../src/index.ts';

/** The QEMUs whose own lists of commands and events are the rows. */
const PROFILES = ['qemu-7.2', 'qemu-10.0'] as const;
/** What belongs to block jobs, or to the nodes and images that they are about; or what applications do around them. */
const COMMANDS = [
  /(^|-)(block|blockdev|block_|job|jobs|drive|nbd|snapshot|blockstats|transaction)(-|_|$)/,
  /^(change-backing-file|query-named-block-nodes|block_.*)$/,
  /^(stop|cont|quit|eject|system_(reset|powerdown)|device_(add|del)|human-monitor-command)$/,
  /^(object-(add|del)|qom-(get|list|set)|query-(status|version|commands|qmp-schema))$/,
];
const EVENT = /^(BLOCK_.*|JOB_.*|STOP|RESUME|RESET|POWERDOWN|SHUTDOWN|DEVICE_(DELETED|TRAY_MOVED))$/;

/** Rows that no contract judges, each with the reason; one that is judged after all, or is no row, fails the build. */
const ELSEWHERE: readonly (readonly [names: RegExp, reason: string])[] = [
  [/^QMP command x-blockdev-amend/, 'unstable, and only encryption could be amended, which is not simulated'],
  [/^QMP command x-blockdev-change/, 'unstable, and only for quorum, which is not simulated'],
  [/^QMP command x-blockdev-set-iothread/, 'unstable, and for threads, which are not simulated'],
  [/^QMP command x-debug-/, "unstable, for QEMU's own tests: not simulated"],
  [/^QMP event BLOCK_IMAGE_CORRUPTED/, 'broken images: not simulated'],
  [/^flag blockJobAbort ASYNC/, 'a job may end with the call: `test/unit/src/block-job.test.ts`'],
  [/^flag updateDeviceFlags FORCE/, 'no guest here locks its tray'],
  [/^flag listAllCheckpoints TOPOLOGICAL/, 'every list is in that order'],
  [/^flag snapshotCreateXML (ATOMIC|VALIDATE)/, 'changes nothing about disk-only snapshots'],
  [
    /^flag listAllSnapshots (METADATA|DISK_ONLY|EXTERNAL|TOPOLOGICAL)/,
    'all snapshots that can be taken are so',
  ],
  [/^flag revertToSnapshot (FORCE|RESET_NVRAM)/, 'no effect here'],
  [/^flag (create START_VALIDATE|destroy GRACEFUL|getXMLDesc UPDATE_CPU)/, 'no effect here'],
  [/^flag undefine (NVRAM|KEEP_NVRAM)/, 'no effect here'],
  [/^event IO_ERROR/, 'no way to break a disk through the API: `test/unit/src`'],
  [/^event DEVICE_REMOVED/, 'needs a guest that lets go: `test/unit/src/lifecycle/devices.test.ts`'],
];

/** One line of the table. */
export interface Line {
  readonly row: Row;
  /** The QEMUs that have it; empty for rows of the API. */
  readonly versions: readonly string[];
  /** The contracts that judge it. */
  readonly judges: readonly string[];
  readonly elsewhere?: string;
}

const keyOf = ({ kind, name }: Row): string => `${kind} ${name}`;

function qmpRows(): { readonly row: Row; readonly versions: readonly string[] }[] {
  const found = new Map<string, { row: Row; versions: string[] }>();
  const note = (row: Row, version: string): void => {
    const known = found.get(keyOf(row)) ?? { row, versions: [] };
    known.versions.push(version);
    found.set(keyOf(row), known);
  };
  for (const profile of PROFILES) {
    const { commands, schema } = profileNamed(profile).introspection;
    const version = profile.replace('qemu-', '');
    const events = schema.filter((entity) => entity['meta-type'] === 'event').map(({ name }) => name);
    for (const name of commands.filter((each) => COMMANDS.some((some) => some.test(each))))
      note({ kind: 'QMP command', name }, version);
    for (const name of events.filter((each) => EVENT.test(each))) note({ kind: 'QMP event', name }, version);
  }
  return [...found.values()].sort((left, right) => (keyOf(left.row) < keyOf(right.row) ? -1 : 1));
}

/** The whole table, by what canaries say that they break. */
export function coverage(canaries: readonly Canary[] = allCanaries): readonly Line[] {
  const rows = [...qmpRows(), ...apiRows().map((row) => ({ row, versions: [] }))];
  return rows.map(({ row, versions }) => {
    const judges = canaries.flatMap((canary) =>
      canary.row && keyOf(canary.row) === keyOf(row) ? [canary.contract] : [],
    );
    const elsewhere = ELSEWHERE.find(([names]) => names.test(keyOf(row)))?.[1];
    return { row, versions, judges, ...(elsewhere === undefined ? {} : { elsewhere }) };
  });
}

/** What is wrong with the table: rows that nothing judges, judges of no row, reasons without need, calls without row. */
export function complaints(lines: readonly Line[], canaries: readonly Canary[] = allCanaries): string[] {
  const keys = new Set(lines.map(({ row }) => keyOf(row)));
  const rowsOf = canaries.flatMap(({ row }) => (row ? [keyOf(row)] : []));
  return [
    ...lines
      .filter(({ judges, elsewhere }) => judges.length === 0 && elsewhere === undefined)
      .map(({ row }) => `uncovered: ${keyOf(row)}`),
    ...lines
      .filter(({ judges, elsewhere }) => judges.length > 0 && elsewhere !== undefined)
      .map(({ row }) => `judged, and said not to be: ${keyOf(row)}`),
    ...rowsOf.filter((key) => !keys.has(key)).map((key) => `judged, and no row: ${key}`),
    ...ELSEWHERE.filter(([names]) => ![...keys].some((key) => names.test(key))).map(
      ([names]) => `excused, and no row: ${names}`,
    ),
    ...callsWithoutRow(),
  ];
}

/** `readOnly` gives the same domain, and asks nobody anything. */
const NO_CALLS = new Set(['constructor', 'readOnly']);

/** Methods that were added to the API without a row. */
function callsWithoutRow(): string[] {
  const methods = (prototype: object): string[] =>
    Object.getOwnPropertyNames(prototype).filter((name) => !NO_CALLS.has(name));
  return [
    ...methods(Domain.prototype).filter((name) => !Object.hasOwn(DOMAIN_CALLS, name)),
    ...methods(DomainCheckpoint.prototype).filter((name) => !Object.hasOwn(CHECKPOINT_CALLS, name)),
    ...methods(DomainSnapshot.prototype).filter((name) => !Object.hasOwn(SNAPSHOT_CALLS, name)),
  ].map((name) => `a call without a row: ${name}`);
}

/** A table whose columns are as wide as their widest cell, as the formatter wants it. */
function table(lines: readonly (readonly string[])[]): string[] {
  const widths = (lines[0] ?? []).map((_, column) =>
    Math.max(3, ...lines.map((cells) => cells[column]?.length ?? 0)),
  );
  const text = lines.map(
    (cells) => `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`,
  );
  return [
    ...text.slice(0, 1),
    `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`,
    ...text.slice(1),
  ];
}

/** The page. */
export function coveragePage(lines: readonly Line[]): string {
  const judged = lines.filter(({ judges }) => judges.length > 0);
  return [
    '# What the contracts cover',
    '',
    'Made by `node scripts/coverage.ts`. A row is covered by a contract that fails when exactly this row is broken: a command',
    'that succeeds and does nothing, an event that is lost, a flag that is ignored. That break is a canary of the suite, so',
    '`npm run conformance:canaries` shows each of these contracts to be able to fail. A test fails when a row is uncovered or',
    'this page is out of date. The QMP names are what QEMU 7.2 and 10.0 say of themselves (`query-commands`,',
    '`query-qmp-schema`), as far as they belong to block jobs, nodes, images and the machine around them; the calls are all that',
    `a domain and a snapshot have. ${judged.length} of ${lines.length} rows are judged; the others say why not.`,
    '',
    ...table([
      ['kind', 'name', 'QEMU', 'judged by'],
      ...lines.map(({ row, versions, judges, elsewhere }) => [
        row.kind,
        `\`${row.name}\``,
        versions.join(', '),
        judges.length > 0 ? judges.map((id) => `\`${id}\``).join(', ') : `— ${elsewhere ?? 'nothing'}`,
      ]),
    ]),
    '',
  ].join('\n');
}

if (process.argv[1] === import.meta.filename) {
  const lines = coverage();
  writeFileSync(new URL('../docs/coverage.md', import.meta.url), coveragePage(lines));
  const wrong = complaints(lines);
  if (wrong.length > 0) process.stderr.write(`${wrong.join('\n')}\n`);
  process.exitCode = wrong.length > 0 ? 1 : 0;
}
