/** What a run found: the report as data, and as text for people. */

/** How one contract fared on one target. */
export interface ContractResult {
  readonly status: 'pass' | 'fail' | 'skip';
  /** Cases that were run. */
  readonly runs: number;
  readonly seed: number;
  readonly ms: number;
  /** Why it was skipped or how it failed, with the counterexample. */
  readonly reason?: string;
}

/** A contract's line. */
export interface ContractReport {
  readonly id: string;
  readonly title: string;
  readonly source: string;
  /** By target id. */
  readonly results: { readonly [target: string]: ContractResult };
}

/** Whether a canary was caught by the contract that it names. */
export interface CanaryReport {
  readonly id: string;
  readonly contract: string;
  readonly caught: boolean;
}

/** The run in numbers. */
export interface Summary {
  readonly seed: number;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly canariesCaught: number;
  readonly canariesPlanted: number;
  readonly ms: number;
  /** By target id: what it said it is, or why it could not be used. */
  readonly targets: { readonly [target: string]: string };
  readonly ok: boolean;
}

/** All that a run found; `report.json` is exactly this. */
export interface Report {
  readonly contracts: readonly ContractReport[];
  readonly canaries: readonly CanaryReport[];
  readonly summary: Summary;
}

/** The matrix (one line a contract, one column a target), then failures, skips, canaries and the sum. */
export function renderReport(report: Report): string {
  const targets = Object.keys(report.summary.targets);
  const rows = [
    ['contract', ...targets],
    ...report.contracts.map((contract) => [
      contract.id,
      ...targets.map((target) => renderCell(contract.results[target])),
    ]),
  ];
  return [
    ...targets.map((target) => `${target}: ${report.summary.targets[target]}`),
    '',
    ...renderTable(rows),
    '',
    ...renderNotes(report),
    ...renderCanaries(report),
    renderSummary(report.summary),
  ].join('\n');
}

function renderCell(result: ContractResult | undefined): string {
  if (!result) return '-';
  if (result.status === 'skip') return 'skip';
  return `${result.status}  ${result.runs} in ${renderDuration(result.ms)}`;
}

function renderTable(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** Every failure in full; skips once per reason, since a missing target skips a whole column. */
function renderNotes(report: Report): string[] {
  const lines: string[] = [];
  const skips = new Map<string, number>();
  for (const { id, title, results } of report.contracts)
    for (const [target, { status, reason = '' }] of Object.entries(results)) {
      if (status === 'fail') lines.push(`FAIL ${id} on ${target}: ${title}`, indent(reason), '');
      if (status === 'skip') skips.set(`${target}: ${reason}`, (skips.get(`${target}: ${reason}`) ?? 0) + 1);
    }
  for (const [reason, count] of skips) lines.push(`skipped ${count} on ${reason}`);
  return lines;
}

function renderCanaries({ canaries, summary }: Report): string[] {
  if (canaries.length === 0) return [];
  const escaped = canaries.filter(({ caught }) => !caught);
  return [
    `canaries: ${summary.canariesCaught} of ${summary.canariesPlanted} caught`,
    ...escaped.map(({ id, contract }) => `ESCAPED ${id}: ${contract} did not fail`),
  ];
}

function renderSummary({ passed, failed, skipped, seed, ms }: Summary): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped in ${renderDuration(ms)}, seed ${seed}`;
}

function renderDuration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '  ');
}
