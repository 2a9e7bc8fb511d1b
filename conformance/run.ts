/** The suite's core, free of any test runner: contracts over targets, then canaries, to a report. */
import type { Canary } from './canary.ts';
import type { Contract } from './contract.ts';
import { withEvidence } from './evidence.ts';
import { isCaught, runContract, skipOf, skipReason } from './judge.ts';
import {
  type CanaryReport,
  type ContractReport,
  type ContractResult,
  type Report,
  summarize,
} from './report/report.ts';
import type { Availability, Target } from './target.ts';

/** Seeds are 31-bit. */
const MAX_SEED = 0x8000_0000;

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
  /** Goes on with further seeds until so many ms are over; every contract is run at least once. */
  readonly budgetMs?: number;
  /** The time in ms that the budget and the report go by; the machine's when left out. */
  readonly now?: () => number;
  /** Runs one case of each property only: a failure's path. */
  readonly path?: string;
  /** Breaks every target on purpose, to see what a failure looks like. */
  readonly planted?: Canary;
  /** Records failed cases, and some copies, once more for the report. */
  readonly evidence?: boolean;
  /** What the suite is called in the lines that replay a failure; `npx mockvirt conformance` when left out. */
  readonly command?: string;
  readonly onProgress?: (progress: Progress) => void;
  /** Gets the wire trace of every case of the targets that keep one, under a heading. */
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
  const now = options.now ?? (() => performance.now());
  const started = now();
  const counter = { cases: 0 };
  const columns: Column[] = [];
  const isOver = () => now() - started >= (options.budgetMs ?? 0);
  for (const target of options.targets) {
    const availability = await target.available();
    columns.push({ target, availability, results: await runColumn(options, target, availability, counter) });
  }
  const canaries = await runCanaries(options, columns, counter);
  const explored = await exploreOn(options, columns, counter, isOver);
  const report = assemble(options, explored, canaries, now() - started);
  if (!options.evidence) return report;
  const { contracts, planted } = options;
  return withEvidence(report, { contracts, columns: explored, ...(planted ? { canary: planted } : {}) });
}

/** Runs what passed again with one further seed after the other, as long as there is time. */
async function exploreOn(
  options: RunOptions,
  columns: readonly Column[],
  counter: { cases: number },
  isOver: () => boolean,
): Promise<readonly Column[]> {
  if (isOver()) return columns;
  let explored = columns;
  for (let round = 1; !isOver(); round++) {
    const next = { ...options, seed: (options.seed + round) % MAX_SEED };
    const wider: Column[] = [];
    for (const column of explored) {
      const { target, availability } = column;
      const results = await runColumn(next, target, availability, counter, (row) =>
        isOver() || column.results[row]?.status !== 'pass' ? column.results[row] : undefined,
      );
      wider.push({
        ...column,
        results: results.map((result, row) => joinRounds(column.results[row], result)),
      });
    }
    explored = wider;
    // Without anything that can be run again, the rest of the time would be waiting.
    if (!explored.some(({ results }) => results.some(({ status }) => status === 'pass'))) break;
  }
  return explored;
}

/** One contract's results of two rounds; a failure keeps its own seed. */
function joinRounds(before: ContractResult | undefined, now: ContractResult): ContractResult {
  if (!before || before === now) return now;
  const seed = now.status === 'fail' ? now.seed : before.seed;
  return { ...now, seed, runs: before.runs + now.runs, ms: before.ms + now.ms };
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
  known: (row: number) => ContractResult | undefined = () => undefined,
): Promise<ContractResult[]> {
  const { contracts, seed, runs, path, planted, command, onProgress, onTrace } = options;
  let done = 0;
  // Traces of cases that run at once would come in any order.
  const width = onTrace ? 1 : (target.concurrency ?? 1);
  return inParallel(contracts, width, async (contract, row) => {
    const already = known(row);
    if (already) return already;
    const skip = skipOf(contract, availability);
    if (skip !== undefined) return { status: 'skip', runs: 0, seed, ms: 0, ...skip };
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
      ...(path === undefined ? {} : { path }),
      ...(planted ? { canary: planted } : {}),
      ...(command === undefined ? {} : { command }),
      ...(onTrace
        ? { onTrace: (text, _, number) => onTrace(`# ${target.id} ${contract.id} case ${number}\n${text}`) }
        : {}),
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
  work: (item: Item, index: number) => Promise<Result>,
): Promise<Result[]> {
  const results = new Map<number, Result>();
  const queue = items.entries();
  const worker = async () => {
    for (const [index, item] of queue) results.set(index, await work(item, index));
  };
  await Promise.all(Array.from({ length: width }, worker));
  return [...results].sort(([left], [right]) => left - right).map(([, result]) => result);
}

async function runCanaries(
  options: RunOptions,
  columns: readonly Column[],
  counter: { cases: number },
): Promise<CanaryReport[]> {
  const usable = columns.filter(({ availability, target }) => availability.ok && !target.isWithoutCanaries);
  // The simulation is the fastest to break; what that one cannot be held to is broken where it can.
  const homes = usable.toSorted(
    (left, right) => Number(right.target.id === 'sim') - Number(left.target.id === 'sim'),
  );
  const planted = options.canaries.flatMap((canary) => {
    const contract = options.contracts.find(({ id }) => id === canary.contract);
    const home = contract && homes.find((column) => canPlant(canary, contract, column));
    return home ? [{ canary, contract, home }] : [];
  });
  let done = 0;
  return inParallel(planted, homes[0]?.target.concurrency ?? 1, async ({ canary, contract, home }) => {
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

/** Whether a canary can sing in a column: its contract is run there, and there is something to break. */
function canPlant(canary: Canary, contract: Contract, column: Column): boolean {
  const isEarly = contract.needs.includes('earlyQmp');
  const hasWire = canary.wire === undefined || (column.target.hasEarlyWire ?? false) === isEarly;
  return hasWire && isBreakable(canary, column) && skipReason(contract, column.availability) === undefined;
}

/** A backend without QMP has no wire to break; such a canary could not sing there. */
function isBreakable({ wire, api }: Canary, { availability }: Column): boolean {
  if (wire === undefined || api !== undefined) return true;
  if (!availability.ok) return false;
  const { qmp, earlyQmp } = availability.capabilities;
  return qmp === true || earlyQmp === true;
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
  const targets = Object.fromEntries(
    columns.map(({ target, availability }) => [
      target.id,
      availability.ok ? availability.version : availability.reason,
    ]),
  );
  const found = { contracts: lines, canaries };
  return { ...found, summary: summarize(found, { seed, ms: Math.round(ms), targets }) };
}
