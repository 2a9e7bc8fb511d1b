/** One contract on one target: here or elsewhere, to a verdict. */
import type { Canary } from './canary.ts';
import { isBackendsFault, runCase } from './case.ts';
import type { Contract, Finding } from './contract.ts';
import { DeadlineViolation, SetupFailure } from './expect.ts';
import { replayLine } from './replay-line.ts';
import type { ContractResult } from './report/report.ts';
import type { Availability, Target, Verdict } from './target.ts';
import type { DirtySample } from './timeline.ts';

const DEFAULT_RUNS = 100;
const DEFAULT_SHRINKS = 100;
/** A canary that these many cases do not catch has escaped, unless it says otherwise. */
const CANARY_RUNS = 30;
const COMMAND = 'npx mockvirt conformance';

/** One contract on one target. */
export interface ContractRun {
  readonly target: Target;
  readonly contract: Contract;
  readonly seed: number;
  readonly runs?: number;
  readonly path?: string;
  readonly canary?: Canary;
  /** Stops at the first failure without making it smaller. */
  readonly quick?: boolean;
  /** Has the target look at the progress of copies, where it can. */
  readonly watch?: boolean;
  readonly onCase?: () => void;
  /** Gets the trace of every case; `number` counts them from 1. */
  readonly onTrace?: (trace: string, dirty: readonly DirtySample[] | undefined, number: number) => void;
}

/** Why a contract cannot be run on a target; undefined if it can. */
export function skipReason(contract: Contract, availability: Availability): string | undefined {
  return skipOf(contract, availability)?.reason;
}

/** As {@link skipReason}, as a result has it. */
export function skipOf(
  contract: Contract,
  availability: Availability,
): (Pick<ContractResult, 'isOutOfReach'> & { readonly reason: string }) | undefined {
  if (!availability.ok) return { reason: availability.reason };
  const { capabilities, version, own } = availability;
  const missing = contract.needs.filter((need) => !capabilities[need]);
  if (missing.length === 0) return undefined;
  const reason = `needs ${missing.join(', ')}, which ${version} lacks`;
  const isOutOfReach = own !== undefined && missing.some((need) => !own.includes(need));
  return isOutOfReach ? { reason, isOutOfReach } : { reason };
}

/** Runs one contract on one target, which must be available. */
export async function runContract(run: ContractRun & { readonly command?: string }): Promise<ContractResult> {
  const started = performance.now();
  const { runs, failure } = await judge(run);
  const base = { runs, seed: run.seed, ms: Math.round(performance.now() - started) };
  if (!failure) return { ...base, status: 'pass' };
  const { reason, message, counterexample, path } = failure;
  const found = path === undefined ? {} : { path };
  return {
    ...base,
    status: 'fail',
    reason,
    failure: {
      message,
      ...(counterexample === undefined ? {} : { counterexample }),
      ...found,
      replay: replayLine({ ...run, ...found }, run.command ?? COMMAND),
    },
  };
}

/** Runs one contract, elsewhere if the target can. */
async function judge(run: ContractRun): Promise<Verdict> {
  const { target, contract, canary, seed, path, quick, onCase, onTrace } = run;
  const isTiedHere = onTrace !== undefined || path !== undefined;
  const remote = isTiedHere
    ? undefined
    : target.elsewhere?.({
        contractId: contract.id,
        ...(canary ? { canaryId: canary.id } : {}),
        seed,
        runs: runsOf(run),
        ...(quick ? { quick } : {}),
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
    failure: {
      reason: describeFailure(failure),
      message: messageOf(failure.error),
      ...(failure.counterexample === undefined ? {} : { counterexample: failure.counterexample }),
      ...(failure.path === undefined ? {} : { path: failure.path }),
      isBackendsFault: isBackendsFault(failure.error),
    },
  };
}

function runsOf({ runs, target }: ContractRun): number {
  return runs ?? target.runs ?? DEFAULT_RUNS;
}

/** Explores one contract in this thread; with a path, runs that one case. */
export async function exploreContract(run: ContractRun): Promise<Finding> {
  const { target, contract, seed, canary, onTrace } = run;
  const shrinks = target.shrinks ?? DEFAULT_SHRINKS;
  // A path leads to one case; fast-check would go on to its neighbours.
  let budget = run.path === undefined ? Number.POSITIVE_INFINITY : 1;
  let number = 0;
  const finding = await contract.explore(
    async (check) => {
      // What a failing case costs is bounded: with the budget used up, shrinking sees only passes and stops.
      if (budget <= 0) return;
      budget--;
      const count = ++number;
      try {
        await runCase(
          target,
          {
            seed,
            ...(canary ? { canary } : {}),
            ...(run.watch ? { watch: true } : {}),
            ...(onTrace ? { onTrace: (trace, dirty) => onTrace(trace, dirty, count) } : {}),
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
      ...(run.quick || run.path !== undefined ? { quick: true } : {}),
    },
  );
  if (run.path === undefined || !finding.failure)
    return { ...finding, runs: run.path ? number : finding.runs };
  return { runs: number, failure: { ...finding.failure, path: run.path } };
}

function messageOf(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return isBackendsFault(error) || error instanceof SetupFailure
    ? text
    : `the suite itself broke: ${error instanceof Error ? error.stack : text}`;
}

function describeFailure({ error, counterexample, path }: NonNullable<Finding['failure']>): string {
  return [
    messageOf(error),
    ...(counterexample === undefined ? [] : [`counterexample: ${counterexample}`]),
    ...(path === undefined ? [] : [`path: ${path}`]),
  ].join('\n');
}

/** Whether a canary makes its contract fail, and by the backend's fault, not by a mistake in the canary. */
export async function isCaught(run: ContractRun & { readonly canary: Canary }): Promise<boolean> {
  const { failure } = await judge({ ...run, runs: run.canary.cases ?? CANARY_RUNS, quick: true });
  return failure?.isBackendsFault === true;
}
