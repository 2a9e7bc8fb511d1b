/** What cannot match, with its reason: differences that are known and not told again. */
import { readFileSync } from 'node:fs';
import type { Divergence } from './compare.ts';

/** One entry of the data file. All that it says must hold of a difference; it says at least one thing. */
export interface LedgerEntry {
  /** What it is called in reports. */
  readonly name: string;
  /** The part of a transcript that it is about. */
  readonly subject?: string;
  /** What the command looks like that ended the real QEMU there or before. A regular expression. */
  readonly killer?: string;
  /** What the script's steps look like, one a line. A regular expression. */
  readonly script?: string;
  /** What the real QEMU's text looks like. A regular expression. */
  readonly real?: string;
  /** Why the simulation does not follow. */
  readonly reason: string;
}

/** The entries of the data file beside this one. */
export const readLedger = (): readonly LedgerEntry[] =>
  JSON.parse(readFileSync(new URL('./ledger.json', import.meta.url), 'utf8'));

const matches = (pattern: string | undefined, text: string | undefined): boolean =>
  pattern === undefined || (text !== undefined && new RegExp(pattern, 'm').test(text));

/** The entry that a difference falls under. A real one that ended by itself falls under those alone that say how. */
export const entryFor = (
  ledger: readonly LedgerEntry[],
  { subject, real, script, killer }: Divergence,
): LedgerEntry | undefined =>
  ledger.find(
    (entry) =>
      (entry.killer === undefined) === (killer === undefined) &&
      (entry.subject === undefined || entry.subject === subject) &&
      matches(entry.killer, killer) &&
      matches(entry.script, script) &&
      matches(entry.real, real),
  );
