/** What the bench measures, and how it is told. */

/** One figure. Values that a real QEMU has too were taken in the same run, in turns. */
export interface Figure {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly simulated: number;
  /** Left out where a real QEMU has no such figure, or where none was found. */
  readonly real?: number;
  /** What it has to be, in words, and whether it is. */
  readonly goal?: { readonly text: string; readonly met: boolean };
  /** What exactly was measured, where the title does not say it. */
  readonly note?: string;
}

/** What a case may use. */
export interface BenchContext {
  /** The emulator to compare with; undefined if there is none. */
  readonly emulator: string | undefined;
}

/** Measures one thing. */
export type Measure = (context: BenchContext) => Promise<readonly Figure[]>;

/** One thing to measure. */
export interface BenchCase {
  readonly name: string;
  /** It gets a process of its own, so that time and memory are its alone. */
  readonly isolated?: boolean;
  /** Loads what measures it: what one case needs is not in the memory of the others. */
  load(): Promise<Measure>;
}

/** A goal of an upper bound. */
export const below = (value: number, bound: number, unit: string): NonNullable<Figure['goal']> => ({
  text: `< ${bound} ${unit}`,
  met: value < bound,
});

/** The value below which the given share of the sorted samples lies. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

const shown = (value: number | undefined): string =>
  value === undefined ? '-' : value.toLocaleString('en', { maximumSignificantDigits: 4 });

/** Figures as a table. */
export function renderFigures(figures: readonly Figure[]): string {
  const rows = figures.map(({ title, unit, simulated, real, goal }) => [
    title,
    unit,
    shown(simulated),
    shown(real),
    goal ? `${goal.text}: ${goal.met ? 'met' : 'MISSED'}` : '',
  ]);
  const table = [['figure', 'unit', 'simulated', 'real', 'goal'], ...rows];
  const widths =
    table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = table.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const notes = figures.flatMap(({ title, note }) => (note ? [`${title}: ${note}`] : []));
  return [...lines, '', ...notes].join('\n');
}
