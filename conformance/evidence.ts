/** Runs cases once more, to write down for the report what happens in them. */
import type { Canary } from './canary.ts';
import type { Contract } from './contract.ts';
import { exploreContract } from './judge.ts';
import type { ReplayCase } from './replay-line.ts';
import type { CopyReport, FailureReport, Report } from './report/report.ts';
import type { Availability, Target } from './target.ts';
import { type CaseRecord, type DirtySample, dirtyOnTheWire, timelineOf } from './timeline.ts';

/** How many failures of a run are recorded once more; the rest is told by their replay lines. */
const MAX_TIMELINES = 20;
/** How many passing copies of each target are recorded. */
const MAX_COPIES = 6;
/** The first case that a seed generates. */
const FIRST_CASE = '0';

/** A column of a finished run. */
export interface EvidenceColumn {
  readonly target: Target;
  readonly availability: Availability;
}

/** What a report is completed from. */
export interface EvidenceSources {
  readonly contracts: readonly Contract[];
  readonly columns: readonly EvidenceColumn[];
  /** The one that was planted in this run. */
  readonly canary?: Canary;
}

/** Runs failed cases and some copies once more, writing down what happens, and adds that to the report. */
export async function withEvidence(report: Report, sources: EvidenceSources): Promise<Report> {
  const timelines = await recordFailures(report, sources);
  const copies = await recordCopies(report, sources);
  return {
    ...report,
    contracts: report.contracts.map((line) => ({
      ...line,
      results: Object.fromEntries(
        Object.entries(line.results).map(([target, result]) => {
          const timeline = timelines.get(`${line.id} ${target}`);
          if (!result.failure || !timeline) return [target, result];
          return [target, { ...result, failure: { ...result.failure, timeline } }];
        }),
      ),
    })),
    ...(copies.length > 0 ? { copies } : {}),
  };
}

type Timelines = Map<string, NonNullable<FailureReport['timeline']>>;

async function recordFailures(report: Report, sources: EvidenceSources): Promise<Timelines> {
  const timelines: Timelines = new Map();
  for (const line of report.contracts)
    for (const { target } of sources.columns) {
      const result = line.results[target.id];
      const contract = sources.contracts.find(({ id }) => id === line.id);
      if (!result?.failure || !contract || timelines.size >= MAX_TIMELINES) continue;
      const { path } = result.failure;
      const { seed } = result;
      const { canary } = sources;
      const failed: ReplayCase = {
        target,
        contract,
        seed,
        ...(path ? { path } : {}),
        ...(canary ? { canary } : {}),
      };
      const records = [await record(failed, target.id)];
      const other = reference(failed, report, sources);
      if (other) records.push(await record(other.replay, other.side));
      timelines.set(`${line.id} ${target.id}`, timelineOf(records));
    }
  return timelines;
}

/** The same case where it passes: the target without its canary, or another target that kept this contract. */
function reference(
  { canary, ...failed }: ReplayCase,
  report: Report,
  { columns }: EvidenceSources,
): { readonly replay: ReplayCase; readonly side: string } | undefined {
  if (canary) return { replay: failed, side: `${failed.target.id} without ${canary.id}` };
  const results = report.contracts.find(({ id }) => id === failed.contract.id)?.results ?? {};
  const passing = columns.find(({ target }) => results[target.id]?.status === 'pass');
  return passing && { replay: { ...failed, target: passing.target }, side: passing.target.id };
}

/** Runs one case and keeps what crossed the wire, whether it passes or not. */
async function record(replay: ReplayCase, side: string): Promise<CaseRecord> {
  const { trace } = await runOnce(replay, false);
  // Once more for the plot: looking at a copy costs it time, which the trace should not show.
  const dirty = replay.contract.needs.includes('copy') ? (await runOnce(replay, true)).dirty : undefined;
  return { side, trace, ...(dirty ? { dirty } : {}) };
}

async function runOnce(
  replay: ReplayCase,
  watch: boolean,
): Promise<{ readonly trace: string; readonly dirty?: readonly DirtySample[] }> {
  let kept: { readonly trace: string; readonly dirty?: readonly DirtySample[] } = { trace: '' };
  await exploreContract({
    ...replay,
    runs: 1,
    watch,
    onTrace(trace, dirty) {
      kept = { trace, ...(dirty && dirty.length > 0 ? { dirty } : {}) };
    },
  });
  return kept;
}

async function recordCopies(
  report: Report,
  { contracts, columns, canary }: EvidenceSources,
): Promise<CopyReport[]> {
  if (canary) return [];
  const copies: CopyReport[] = [];
  for (const { target } of columns) {
    const passed = contracts.filter(
      ({ id, needs }) =>
        needs.includes('copy') &&
        report.contracts.some((line) => line.id === id && line.results[target.id]?.status === 'pass'),
    );
    for (const contract of passed.slice(0, MAX_COPIES)) {
      const seed = report.summary.seed;
      const path = contract.kind === 'property' ? { path: FIRST_CASE } : {};
      const { trace, dirty = dirtyOnTheWire(trace) } = await runOnce(
        { target, contract, seed, ...path },
        true,
      );
      if (dirty.length > 1) copies.push({ contract: contract.id, target: target.id, dirty });
    }
  }
  return copies;
}
