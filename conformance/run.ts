/** The suite's core, free of any test runner: contracts over targets, then canaries, to a report. */
import type { Canary } from './canary.ts';
import { isBackendsFault, runCase } from './case.ts';
import type { Contract, Finding } from './contract.ts';
import { DeadlineViolation, SetupFailure } from './expect.ts';
import type { CanaryReport, ContractReport, ContractResult, Report } from './report.ts';
import type { Availability, Target, Verdict } from './target.ts';

const DEFAULT_RUNS = 100;
const DEFAULT_SHRINKS = 100;
/** A canary that these many cases do not catch has escaped. */
const CANARY_RUNS = 30;

/** Where a run stands; told after every case. */
export interface Progress {
  readonly target: string;
  readonly contract: string;
  /** Set while canaries are run. */
  readonly canary?: string;
  /** Contracts or canaries finished so far, of `total` in this target's column. */
  readonly done: number;
  readonly total: number;
  /** Cases run so far in all. */
  readonly cases: number;
}

/** What is run, and how far. */
export interface RunOptions {
  readonly targets: readonly Target[];
  readonly contracts: readonly Contract[];
  readonly canaries: readonly Canary[];
  /** A 32-bit integer; with it everything repeats on a simulated target. */
  readonly seed: number;
  /** Cases per property; each target's own default when left out. */
  readonly runs?: number;
  readonly onProgress?: (progress: Progress) => void;
  /** Gets the wire trace of every case of the targets that keep one, under a heading. */
  readonly onTrace?: (text: string) => void;
}

/** One contract on one target. */
export interface ContractRun {
  readonly target: Target;
  readonly contract: Contract;
  readonly seed: number;
  readonly runs?: number;
  readonly path?: string;
  readonly canary?: Canary;
  readonly onCase?: () => void;
  readonly onTrace?: (text: string) => void;
}

/** Runs every contract on every target and every canary on one; rejects only if the suite itself is broken. */
export async function runConformance(options: RunOptions): Promise<Report> {
  try {
    return await runAll(options);
  } finally {
    await Promise.all(options.targets.map((target) => target.close?.()));
  }
}

async function runAll(options: RunOptions): Promise<Report> {
  const started = performance.now();
  const counter = { cases: 0 };
  const columns: Column[] = [];
  for (const target of options.targets) {
    const availability = await target.available();
    columns.push({ target, availability, results: await runColumn(options, target, availability, counter) });
  }
  const canaries = await runCanaries(options, columns, counter);
  return assemble(options, columns, canaries, performance.now() - started);
}

interface Column {
  readonly target: Target;
  readonly availability: Availability;
  readonly results: readonly ContractResult[];
}

async function runColumn(
  options: RunOptions,
  target: Target,
  availability: Availability,
  counter: { cases: number },
): Promise<ContractResult[]> {
  const { contracts, seed, runs, onProgress, onTrace } = options;
  let done = 0;
  // Traces of cases that run at once would come in any order.
  const width = onTrace ? 1 : (target.concurrency ?? 1);
  return inParallel(contracts, width, async (contract) => {
    const skip = skipReason(contract, availability);
    if (skip !== undefined) return { status: 'skip', runs: 0, seed, ms: 0, reason: skip };
    const tell = () => {
      const { cases } = counter;
      onProgress?.({ target: target.id, contract: contract.id, done, total: contracts.length, cases });
    };
    tell();
    const result = await runContract({
      target,
      contract,
      seed,
      ...(runs === undefined ? {} : { runs }),
      ...(onTrace ? { onTrace } : {}),
      onCase() {
        counter.cases++;
        tell();
      },
    });
    done++;
    return result;
  });
}

/** Works through a list, `width` items at a time; the results keep the order of the items. */
async function inParallel<Item, Result>(
  items: readonly Item[],
  width: number,
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results = new Map<number, Result>();
  const queue = items.entries();
  const worker = async () => {
    for (const [index, item] of queue) results.set(index, await work(item));
  };
  await Promise.all(Array.from({ length: width }, worker));
  return [...results].sort(([left], [right]) => left - right).map(([, result]) => result);
}

/** Why a contract cannot be run on a target; undefined if it can. */
export function skipReason(contract: Contract, availability: Availability): string | undefined {
  if (!availability.ok) return availability.reason;
  const missing = contract.needs.filter((need) => !availability.capabilities[need]);
  return missing.length === 0
    ? undefined
    : `needs ${missing.join(', ')}, which ${availability.version} lacks`;
}

/** Runs one contract on one target, which must be available. */
export async function runContract(run: ContractRun): Promise<ContractResult> {
  const started = performance.now();
  const { runs, failure } = await judge(run);
  const base = { runs, seed: run.seed, ms: Math.round(performance.now() - started) };
  return failure ? { ...base, status: 'fail', reason: failure.reason } : { ...base, status: 'pass' };
}

/** Runs one contract, elsewhere if the target can. */
async function judge(run: ContractRun): Promise<Verdict> {
  const { target, contract, canary, seed, path, onCase, onTrace } = run;
  const isTiedHere = onTrace !== undefined || path !== undefined;
  const remote = isTiedHere
    ? undefined
    : target.elsewhere?.({
        contractId: contract.id,
        ...(canary ? { canaryId: canary.id } : {}),
        seed,
        runs: runsOf(run),
        ...(onCase ? { onCase } : {}),
      });
  return remote ?? judgeHere(run);
}

/** Runs one contract in this thread. */
export async function judgeHere(run: ContractRun): Promise<Verdict> {
  const { runs, failure } = await exploreContract(run);
  if (!failure) return { runs };
  return {
    runs,
    failure: { reason: describeFailure(failure), isBackendsFault: isBackendsFault(failure.error) },
  };
}

function runsOf({ runs, target }: ContractRun): number {
  return runs ?? target.runs ?? DEFAULT_RUNS;
}

async function exploreContract(run: ContractRun): Promise<Finding> {
  const { target, contract, seed, canary, onTrace } = run;
  const shrinks = target.shrinks ?? DEFAULT_SHRINKS;
  let budget = Number.POSITIVE_INFINITY;
  let number = 0;
  return contract.explore(
    async (check) => {
      // What a failing case costs is bounded: with the budget used up, shrinking sees only passes and stops.
      if (budget <= 0) return;
      budget--;
      const heading = `# ${target.id} ${contract.id} case ${++number}`;
      try {
        await runCase(
          target,
          {
            seed,
            ...(canary ? { canary } : {}),
            ...(onTrace ? { onTrace: (trace) => onTrace(`${heading}\n${trace}`) } : {}),
          },
          check,
        );
      } catch (error) {
        budget = Math.min(budget, shrinks);
        // Waiting for nothing is slow on a wall clock; a few such cases are enough.
        if (error instanceof DeadlineViolation) budget -= Math.ceil(shrinks / 4);
        throw error;
      } finally {
        run.onCase?.();
      }
    },
    {
      seed,
      runs: runsOf(run),
      ...(run.path === undefined ? {} : { path: run.path }),
      ...(canary ? { quick: true } : {}),
    },
  );
}

function describeFailure({ error, counterexample, path }: NonNullable<Finding['failure']>): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return [
    isBackendsFault(error) || error instanceof SetupFailure
      ? text
      : `the suite itself broke: ${error instanceof Error ? error.stack : text}`,
    ...(counterexample === undefined ? [] : [`counterexample: ${counterexample}`]),
    ...(path === undefined ? [] : [`path: ${path}`]),
  ].join('\n');
}

async function runCanaries(
  options: RunOptions,
  columns: readonly Column[],
  counter: { cases: number },
): Promise<CanaryReport[]> {
  const usable = columns.filter(({ availability }) => availability.ok);
  const home = usable.find(({ target }) => target.id === 'sim') ?? usable[0];
  if (!home) return [];
  const planted = options.canaries.flatMap((canary) => {
    const contract = options.contracts.find(({ id }) => id === canary.contract);
    const canRun = contract && skipReason(contract, home.availability) === undefined;
    const canPlant = canary.wire === undefined || home.target.hasEarlyWire !== true;
    return canRun && canPlant ? [{ canary, contract }] : [];
  });
  let done = 0;
  return inParallel(planted, home.target.concurrency ?? 1, async ({ canary, contract }) => {
    const tell = () => {
      const { target } = home;
      const position = { done, total: planted.length, cases: counter.cases };
      options.onProgress?.({ target: target.id, contract: contract.id, canary: canary.id, ...position });
    };
    const caught = await isCaught({
      target: home.target,
      contract,
      canary,
      seed: options.seed,
      onCase() {
        counter.cases++;
        tell();
      },
    });
    done++;
    return { id: canary.id, contract: contract.id, caught };
  });
}

/** Whether a canary makes its contract fail, and by the backend's fault, not by a mistake in the canary. */
export async function isCaught(run: ContractRun & { readonly canary: Canary }): Promise<boolean> {
  const { failure } = await judge({ ...run, runs: CANARY_RUNS });
  return failure?.isBackendsFault === true;
}

function assemble(
  { contracts, seed }: RunOptions,
  columns: readonly Column[],
  canaries: readonly CanaryReport[],
  ms: number,
): Report {
  const lines: ContractReport[] = contracts.map(({ id, title, source }, row) => ({
    id,
    title,
    source,
    results: Object.fromEntries(
      columns.flatMap(({ target, results }) => {
        const result = results[row];
        return result ? [[target.id, result]] : [];
      }),
    ),
  }));
  const count = (status: ContractResult['status']) =>
    columns.flatMap(({ results }) => results).filter((result) => result.status === status).length;
  const caught = canaries.filter((canary) => canary.caught).length;
  return {
    contracts: lines,
    canaries,
    summary: {
      seed,
      passed: count('pass'),
      failed: count('fail'),
      skipped: count('skip'),
      canariesCaught: caught,
      canariesPlanted: canaries.length,
      ms: Math.round(ms),
      targets: Object.fromEntries(
        columns.map(({ target, availability }) => [
          target.id,
          availability.ok ? availability.version : availability.reason,
        ]),
      ),
      ok: count('fail') === 0 && caught === canaries.length,
    },
  };
}
