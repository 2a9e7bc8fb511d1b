/** What cannot match, with its reason: differences that are known and not told again. */
import { readFileSync } from 'node:fs';
import type { Divergence } from './compare.ts';

/** One entry of the data file. */
export interface LedgerEntry {
  /** What it is called in reports. */
  readonly name: string;
  /** The part of a transcript that it is about; empty: any. */
  readonly subject: string;
  /** What the real QEMU's text contains, or its transcript's end. */
  readonly real: string;
  /** Why the simulation does not follow. */
  readonly reason: string;
}

/** The entries of the data file beside this one. */
export const readLedger = (): readonly LedgerEntry[] =>
  JSON.parse(readFileSync(new URL('./ledger.json', import.meta.url), 'utf8'));

/** The entry that a difference falls under. */
export const entryFor = (
  ledger: readonly LedgerEntry[],
  { subject, real, end }: Divergence,
): LedgerEntry | undefined =>
  ledger.find(
    (entry) =>
      (entry.subject === '' || entry.subject === subject) &&
      (real.includes(entry.real) || end.includes(entry.real)),
  );
