#!/usr/bin/env node
/** Writes docs/fault-points.md from the tables of the simulation. */
import { writeFileSync } from 'node:fs';
import { CONTROL_VERBS } from '../mock-qemu/core/control.ts';
import { FAULT_MEMBERS } from '../mock-qemu/core/faults/plan.ts';
import { actionsAt, FAULT_ACTIONS, FAULT_POINTS, type FaultPoint } from '../mock-qemu/core/faults/points.ts';

/** A table whose columns are as wide as their widest cell, as the formatter wants it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((_, column) =>
    Math.max(3, ...[head, ...rows].map((cells) => cells[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[], fill = ' ') =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0, fill)).join(' | ')} |`;
  const rule = head.map(() => '');
  return [line(head), line(rule, '-'), ...rows.map((cells) => line(cells))];
}

const code = (text: string): string => `\`${text}\``;

/** The page. */
export function faultPointsPage(): string {
  const points = Object.entries(FAULT_POINTS).map(([name, { kind, says }]) => [code(name), kind, says]);
  const actions = Object.entries(FAULT_ACTIONS).map(([name, { says }]) => [code(name), says]);
  const members = Object.entries(FAULT_MEMBERS).map(([name, { says }]) => [code(name), says]);
  const verbs = CONTROL_VERBS.map(([name, { members: names, says }]) => [
    code(name),
    names.map(code).join(', '),
    says,
  ]);
  const kinds = new Map<string, FaultPoint>();
  for (const name of Object.keys(FAULT_POINTS) as FaultPoint[]) {
    if (!kinds.has(FAULT_POINTS[name].kind)) kinds.set(FAULT_POINTS[name].kind, name);
  }
  const possible = [...kinds].map(([kind, point]) => [kind, actionsAt(point).map(code).join(', ')]);
  return [
    '# Fault points of the simulated QEMU',
    '',
    'Made by `node scripts/fault-points.ts` from the tables in `mock-qemu/core/faults`; a test holds it to them.',
    '',
    'A fault plan is a JSON list of faults, each `{"at": POINT, "do": ACTION}` with more members where wanted:',
    '',
    '```json',
    '[',
    '  { "at": "mirror.target-write", "do": "error", "errno": "ENOSPC", "after": 3, "times": 1 },',
    '  { "at": "monitor.reply", "command": "block-job-complete", "do": "drop" },',
    '  { "at": "pivot.after-graph-change", "do": "crash" }',
    ']',
    '```',
    '',
    'The same plan goes to `world.boot({ profile, argv, faults })` in process, to `mock-qemu --faults FILE`, and, while a',
    'machine runs, to `{"control": "add-faults", "faults": [...]}` on the socket of `mock-qemu --control unix:PATH`.',
    '',
    '## Points',
    '',
    ...table(['point', 'kind', 'where'], points),
    '',
    '## Actions',
    '',
    ...table(['action', 'what happens'], actions),
    '',
    '## What is possible where',
    '',
    ...table(['kind of point', 'actions'], possible),
    '',
    '## Members',
    '',
    ...table(['member', 'meaning'], members),
    '',
    '## Control requests',
    '',
    'One JSON object a line on the control socket, `{"control": VERB, ...members}`, answered by `{"return": ...}` or',
    '`{"error": TEXT}`; the same objects go to `control()` of a machine in process. Members with a question mark can be',
    'left out. The process adds `advance` (`ns`), which pushes its virtual time ahead.',
    '',
    ...table(['verb', 'members', 'what happens'], verbs),
    '',
  ].join('\n');
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(new URL('../docs/fault-points.md', import.meta.url), faultPointsPage());
}
