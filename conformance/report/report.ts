/** What a run found: the report as data, and as text for people. */
import type { DirtySample, Timeline } from '../timeline.ts';

/** A failure in its parts. */
export interface FailureReport {
  /** What broke, as one sentence. */
  readonly message: string;
  /** The smallest input that breaks it; examples have none. */
  readonly counterexample?: string;
  /** Where that input is in what the seed generates. */
  readonly path?: string;
  /** One line for a shell that runs this very case again. */
  readonly replay?: string;
  /** The case once more, written down; beside it the same case on a target that passes. */
  readonly timeline?: Timeline;
}

/** How one contract fared on one target. */
export interface ContractResult {
  readonly status: 'pass' | 'fail' | 'skip';
  /** Cases that were run. */
  readonly runs: number;
  readonly seed: number;
  readonly ms: number;
  /** Why it was skipped or how it failed, with the counterexample. */
  readonly reason?: string;
  /** Skipped for how the target is met, not for what it is: a gate does not mind. */
  readonly isOutOfReach?: true;
  /** Set for `fail`. */
  readonly failure?: FailureReport;
  /** Why this failure is put up with: an entry of the ledger of deviations. */
  readonly deviation?: string;
}

/** How one copy of the run went on. */
export interface CopyReport {
  readonly contract: string;
  readonly target: string;
  readonly dirty: readonly DirtySample[];
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
  /** A few copies, one case each, to look at; only where evidence was asked for. */
  readonly copies?: readonly CopyReport[];
  /** `I/N`: this is one part of a run that several machines share. */
  readonly shard?: string;
  /** What the comparison with a baseline found; each is a reason why the run fails. */
  readonly gate?: readonly string[];
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
    ...(report.gate ?? []).map((finding) => `GATE ${finding}`),
    renderSummary(report.summary),
  ].join('\n');
}

function renderCell(result: ContractResult | undefined): string {
  if (!result) return '-';
  if (result.status === 'skip') return 'skip';
  const status = result.deviation === undefined ? result.status : 'known';
  return `${status}  ${result.runs} in ${renderDuration(result.ms)}`;
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
    for (const [target, { status, reason = '', failure, deviation }] of Object.entries(results)) {
      if (deviation !== undefined) lines.push(`known failure of ${id} on ${target}: ${deviation}`, '');
      else if (status === 'fail') {
        lines.push(`FAIL ${id} on ${target}: ${title}`, indent(reason));
        if (failure?.replay !== undefined) lines.push(`  replay: ${failure.replay}`);
        lines.push('');
      }
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

/** Milliseconds as people read them. */
export function renderDuration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '  ');
}

/** Counts a report's lines; `before` gives what cannot be counted: seed, targets, time. */
export function summarize(
  { contracts, canaries, gate = [] }: Omit<Report, 'summary'>,
  before: Pick<Summary, 'seed' | 'ms' | 'targets'>,
): Summary {
  const results = contracts.flatMap(({ results }) => Object.values(results));
  const count = (status: ContractResult['status']) =>
    results.filter((result) => result.status === status && result.deviation === undefined).length;
  const caught = canaries.filter((canary) => canary.caught).length;
  return {
    ...before,
    passed: count('pass'),
    failed: count('fail'),
    skipped: count('skip'),
    canariesCaught: caught,
    canariesPlanted: canaries.length,
    ok: count('fail') === 0 && caught === canaries.length && gate.length === 0,
  };
}
