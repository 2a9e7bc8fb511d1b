/** What a run is held against: the statuses of an earlier one, and the ledger of deviations that are put up with. */
import type { ContractReport, ContractResult, Report } from './report/report.ts';
import { summarize } from './report/report.ts';

/** A failure that is known and put up with for a while. */
export interface Deviation {
  readonly contract: string;
  readonly target: string;
  readonly reason: string;
  /** The last day on which it counts as known: YYYY-MM-DD. */
  readonly until: string;
}

/** What `--update-baseline` writes. */
export interface Baseline {
  /** Status by contract and target. */
  readonly contracts: {
    readonly [contract: string]: { readonly [target: string]: ContractResult['status'] };
  };
  readonly deviations: readonly Deviation[];
}

/** A baseline of nothing. */
export const EMPTY_BASELINE: Baseline = { contracts: {}, deviations: [] };

/** What the gate needs to know besides. */
export interface GateContext {
  /** Ids of all contracts there are, run or not. */
  readonly known: readonly string[];
  /** YYYY-MM-DD. */
  readonly today: string;
  /** The target of the baseline that every target is held against; each against its own when left out. */
  readonly against?: string;
}

/** How long a new deviation is put up with, in days, unless someone writes another date. */
const NEW_DEVIATION_DAYS = 30;
const RANK = { pass: 2, skip: 1, fail: 0 } as const;
const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** Marks known failures and adds what got worse, what vanished and what the ledger is wrong about. */
export function holdAgainst(report: Report, baseline: Baseline, context: GateContext): Report {
  const contracts = report.contracts.map((line) => ({
    ...line,
    results: mapResults(line, (result, target) => {
      const deviation = baseline.deviations.find(
        (item) => item.contract === line.id && item.target === (context.against ?? target),
      );
      const isKnown = deviation && result.status === 'fail' && context.today <= deviation.until;
      return isKnown ? { ...result, deviation: `${deviation.reason} (until ${deviation.until})` } : result;
    }),
  }));
  const gate = [
    ...vanished(baseline, context),
    ...contracts.flatMap((line) => worse(line, baseline, context)),
    ...baseline.deviations.flatMap((deviation) => ledgerErrors(deviation, contracts, context)),
  ];
  const held = { ...report, contracts, gate };
  return { ...held, summary: summarize(held, report.summary) };
}

function vanished({ contracts, deviations }: Baseline, { known }: GateContext): string[] {
  const ids = [...new Set([...Object.keys(contracts), ...deviations.map(({ contract }) => contract)])];
  return ids
    .filter((id) => !known.includes(id))
    .map((id) => `${id} vanished: the baseline has it, the suite has not`);
}

function worse({ id, results }: ContractReport, { contracts }: Baseline, { against }: GateContext): string[] {
  const before = contracts[id] ?? {};
  return Object.entries(results).flatMap(([target, { status, deviation, isOutOfReach }]) => {
    const was = before[against ?? target];
    const isPutUpWith = deviation !== undefined || isOutOfReach === true;
    const isWorse = was !== undefined && RANK[status] < RANK[was] && !isPutUpWith;
    const where = against === undefined || against === target ? '' : ` on ${against}`;
    return isWorse ? [`${id} on ${target} got worse: it was ${was}${where}, it is ${status}`] : [];
  });
}

/** The targets that a baseline knows, in the order of their first mention. */
export function targetsOf({ contracts }: Baseline): string[] {
  return [...new Set(Object.values(contracts).flatMap((statuses) => Object.keys(statuses)))];
}

function ledgerErrors(
  { contract, target, until }: Deviation,
  lines: readonly ContractReport[],
  { today }: GateContext,
): string[] {
  const status = lines.find(({ id }) => id === contract)?.results[target]?.status;
  if (status === 'pass')
    return [`${contract} on ${target} passes again: take its deviation out of the ledger`];
  if (status === 'fail' && today > until)
    return [`the deviation of ${contract} on ${target} was good until ${until}`];
  return [];
}

/** The baseline after a run: statuses as they are now, and a deviation for each failure. */
export function updatedBaseline(report: Report, before: Baseline, context: GateContext): Baseline {
  const contracts = Object.fromEntries(
    context.known.flatMap((id) => {
      const results = report.contracts.find((line) => line.id === id)?.results ?? {};
      const now = Object.entries(results).map(([target, { status }]) => [target, status]);
      const statuses = { ...before.contracts[id], ...Object.fromEntries(now) };
      return Object.keys(statuses).length === 0 ? [] : [[id, statuses]];
    }),
  );
  return { contracts, deviations: updatedLedger(report, before, context) };
}

/** Keeps what still fails or was not run, and adds what is new. */
function updatedLedger(report: Report, before: Baseline, { known, today }: GateContext): Deviation[] {
  const resultOf = ({ contract, target }: Pick<Deviation, 'contract' | 'target'>) =>
    report.contracts.find(({ id }) => id === contract)?.results[target];
  const kept = before.deviations.filter(
    (deviation) => known.includes(deviation.contract) && resultOf(deviation)?.status !== 'pass',
  );
  const isKept = (contract: string, target: string) =>
    kept.some((deviation) => deviation.contract === contract && deviation.target === target);
  const added = report.contracts.flatMap(({ id: contract, results }) =>
    Object.entries(results).flatMap(([target, { status, failure }]) => {
      if (status !== 'fail' || isKept(contract, target)) return [];
      const reason = failure?.message.split('\n')[0] ?? 'failed when the baseline was made';
      return [{ contract, target, reason, until: dayAfter(today, NEW_DEVIATION_DAYS) }];
    }),
  );
  return [...kept, ...added];
}

function dayAfter(day: string, days: number): string {
  const date = new Date(`${day}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + days);
  return date.toISOString().slice(0, 10);
}

/** Reads a baseline; throws an Error with one sentence for what is none. */
export function parseBaseline(text: string): Baseline {
  const value: unknown = JSON.parse(text);
  if (!isRecord(value) || !isRecord(value.contracts) || !Array.isArray(value.deviations))
    throw new Error("a baseline has 'contracts' and 'deviations'");
  for (const [id, statuses] of Object.entries(value.contracts)) {
    const isFine = isRecord(statuses) && Object.values(statuses).every((status) => String(status) in RANK);
    if (!isFine) throw new Error(`the statuses of ${id} are not all pass, fail or skip`);
  }
  for (const deviation of value.deviations) checkDeviation(deviation);
  return value as unknown as Baseline;
}

function checkDeviation(value: unknown): void {
  const fields = ['contract', 'target', 'reason', 'until'];
  const isFine =
    isRecord(value) && fields.every((name) => typeof value[name] === 'string' && value[name] !== '');
  if (!isFine) throw new Error(`a deviation has the strings ${fields.join(', ')}: ${JSON.stringify(value)}`);
  if (!DAY.test(String(value.until))) throw new Error(`until '${value.until}' is not a date like 2030-12-31`);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mapResults(
  { results }: ContractReport,
  change: (result: ContractResult, target: string) => ContractResult,
): ContractReport['results'] {
  return Object.fromEntries(
    Object.entries(results).map(([target, result]) => [target, change(result, target)]),
  );
}
