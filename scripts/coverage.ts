#!/usr/bin/env node
/**
 * Writes docs/coverage.md: every QMP command and event of the block-job family, and every call, flag and event of the
 * API's, with the contracts that were seen to use it on the simulated QEMU.
 */
import { writeFileSync } from 'node:fs';
import { type Canary, overlay, withDomains } from '../conformance/canary.ts';
import { contracts } from '../conformance/contracts/index.ts';
import { runConformance } from '../conformance/run.ts';
import type { WireMutation } from '../conformance/wire.ts';
import { simTarget } from '../entry/targets/sim.ts';
import { DEFAULT_PROFILE, profileNamed } from '../mock-qemu/profiles/index.ts';
import * as api from '../src/index.ts';

const COMMAND =
  /^(block-job-.*|job-.*|query-jobs|query-block-jobs|block-stream|block-commit|drive-mirror|blockdev-mirror|drive-backup|blockdev-backup|blockdev-create|change-backing-file|transaction)$/;
const EVENT = /^(BLOCK_JOB_.*|BLOCK_IO_ERROR|JOB_STATUS_CHANGE)$/;

/** The calls of the family, with the flags they take and where in their arguments those stand. */
const CALLS: Readonly<
  Record<string, { readonly flags: Readonly<Record<string, number>>; readonly at: number }>
> = {
  blockPull: { flags: api.BlockPullFlags, at: 2 },
  blockRebase: { flags: api.BlockRebaseFlags, at: 3 },
  blockCopy: { flags: api.BlockCopyFlags, at: 3 },
  blockCommit: { flags: api.BlockCommitFlags, at: 4 },
  blockJobAbort: { flags: api.BlockJobAbortFlags, at: 1 },
  getBlockJobInfo: { flags: api.BlockJobInfoFlags, at: 1 },
  blockJobSetSpeed: { flags: api.BlockJobSetSpeedFlags, at: 2 },
  blockResize: { flags: api.BlockResizeFlags, at: 2 },
  setBlockThreshold: { flags: {}, at: 2 },
};
const EVENTS = ['BLOCK_JOB', 'BLOCK_JOB_2', 'BLOCK_THRESHOLD', 'LIFECYCLE'] as const;

/** What contracts were seen to use: the name of a command, event, call or flag, and who. */
export type Seen = ReadonlyMap<string, ReadonlySet<string>>;

/** Runs every contract once or twice, and listens. */
export async function observe(): Promise<Seen> {
  const seen = new Map<string, Set<string>>();
  let current = '';
  const note = (what: string): void => {
    const who = seen.get(what) ?? new Set();
    seen.set(what, who.add(current));
  };
  const listener = listen(note);
  const target = simTarget();
  const tapped = {
    ...target,
    open: async (options: Parameters<typeof target.open>[0]) => {
      const session = await target.open({ ...options, wire: () => listener.wire });
      return overlay(session, { connection: listener.api(session.connection) });
    },
  };
  for (const contract of contracts) {
    current = contract.id;
    await runConformance({ targets: [tapped], contracts: [contract], canaries: [], seed: 1, runs: 2 });
  }
  return seen;
}

/** Two ears, one on the wire and one on the API; neither changes anything. */
function listen(note: (what: string) => void): {
  readonly wire: WireMutation;
  readonly api: NonNullable<Canary['api']>;
} {
  return {
    wire: {
      toQemu(message, port) {
        if (typeof message.execute === 'string') note(message.execute);
        port.forward(message);
      },
      fromQemu(message, port) {
        if (typeof message.event === 'string') note(message.event);
        port.forward(message);
      },
    },
    api: (connection) => withDomains(withEvents(connection, note), (domain) => noted(domain, note)),
  };
}

function withEvents(connection: api.Connection, note: (what: string) => void): api.Connection {
  return overlay(connection, {
    domainEventRegister(id, domain, callback) {
      return connection.domainEventRegister(id, domain, (event) => {
        for (const name of EVENTS) if (api.EventId[name] === id) note(`event ${name}`);
        callback(event);
      });
    },
  });
}

function noted(domain: api.Domain, note: (what: string) => void): Partial<api.Domain> {
  return Object.fromEntries(
    Object.entries(CALLS).map(([name, { flags, at }]) => [
      name,
      (...args: unknown[]) => {
        note(`call ${name}`);
        for (const [flag, value] of Object.entries(flags))
          if (Number(args[at] ?? 0) & value) note(`${name} ${flag}`);
        const call: unknown = Reflect.get(domain, name, domain);
        return typeof call === 'function' ? call.apply(domain, args) : undefined;
      },
    ]),
  );
}

/** One row of the table: what it is, the name it is seen under, and how it is shown. */
interface Row {
  readonly kind: string;
  readonly key: string;
  readonly shown: string;
}

function rows(): Row[] {
  const { commands, schema } = profileNamed(DEFAULT_PROFILE).introspection;
  const events = schema.filter((entity) => entity['meta-type'] === 'event').map(({ name }) => name);
  return [
    ...commands
      .filter((name) => COMMAND.test(name))
      .sort()
      .map((name) => ({ kind: 'QMP command', key: name, shown: name })),
    ...events
      .filter((name) => EVENT.test(name))
      .sort()
      .map((name) => ({ kind: 'QMP event', key: name, shown: name })),
    ...Object.entries(CALLS).flatMap(([name, { flags }]) => [
      { kind: 'call', key: `call ${name}`, shown: name },
      ...Object.keys(flags).map((flag) => ({
        kind: 'flag',
        key: `${name} ${flag}`,
        shown: `${name} ${flag}`,
      })),
    ]),
    ...EVENTS.map((name) => ({ kind: 'event', key: `event ${name}`, shown: name })),
  ];
}

/** The rows that nothing covers. */
export function uncovered(seen: Seen): string[] {
  return rows().flatMap(({ key }) => (seen.has(key) ? [] : [key]));
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

const FEW = 3;

/** The contracts of a row: few by name, those first that are about nothing else. */
function covers(seen: Seen, key: string): readonly string[] {
  const who = [...(seen.get(key) ?? [])];
  const word = key
    .replace(/^(call|event) /, '')
    .toLowerCase()
    .replaceAll('_', '-');
  const rank = (id: string): number => (id.includes(word) ? 0 : 1);
  const named = [...who]
    .sort((left, right) => rank(left) - rank(right))
    .slice(0, FEW)
    .map((id) => `\`${id}\``);
  const text = named.length > 0 ? named.join(', ') : 'nothing';
  return [who.length > FEW ? `${text}, and more` : text];
}

/** The page. */
export function coveragePage(seen: Seen): string {
  return [
    '# What the contracts cover',
    '',
    'Made by `node scripts/coverage.ts`, which runs every contract on the simulated QEMU and notes what crosses the wire and',
    'the API. A test fails when a row is uncovered or this page is out of date. The QMP names are what QEMU 7.2 says of',
    'itself (`query-commands`, `query-qmp-schema`), as far as they belong to block jobs.',
    '',
    ...table([
      ['kind', 'name', 'contracts'],
      ...rows().map(({ kind, key, shown }) => [kind, `\`${shown}\``, ...covers(seen, key)]),
    ]),
    '',
  ].join('\n');
}

if (process.argv[1] === import.meta.filename) {
  const seen = await observe();
  writeFileSync(new URL('../docs/coverage.md', import.meta.url), coveragePage(seen));
  const missing = uncovered(seen);
  if (missing.length > 0) process.stderr.write(`uncovered: ${missing.join(', ')}\n`);
  process.exitCode = missing.length > 0 ? 1 : 0;
}
