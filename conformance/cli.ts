/** The suite on the command line: arguments in, a matrix and a report out, and an exit code that CI can use. */
import { writeSync } from 'node:fs';
import { appendFile, type FileHandle, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { canaries as allCanaries } from './canaries/index.ts';
import {
  type CliParts,
  checkAgainst,
  helpText,
  parseArguments,
  parsed,
  type Settings,
  settingsOf,
  UsageError,
} from './cli-settings.ts';
import { contracts as allContracts } from './contracts/index.ts';
import {
  type Baseline,
  EMPTY_BASELINE,
  type GateContext,
  holdAgainst,
  parseBaseline,
  targetsOf,
  updatedBaseline,
} from './gate.ts';
import { mergeReports, missingParts } from './merge.ts';
import { ProgressLine } from './progress.ts';
import { readReport, writeReportFiles } from './report/files.ts';
import { annotations, stepSummary } from './report/github.ts';
import { type Report, renderReport } from './report/report.ts';
import { runConformance } from './run.ts';
import type { Target } from './target.ts';

export type { CliParts, TargetChoice } from './cli-settings.ts';

/** Exit codes of the command. */
export const ExitCode = { OK: 0, FAILED: 1, USAGE: 2 } as const;
/** One of {@link ExitCode}. */
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

type FullParts = CliParts & Required<Pick<CliParts, 'contracts' | 'canaries'>>;

/** Runs `mockvirt conformance` with these arguments; resolves to its exit code. */
export async function conformanceCli(argv: readonly string[], parts: CliParts): Promise<ExitCode> {
  const full: FullParts = { contracts: allContracts, canaries: allCanaries, ...parts };
  try {
    return argv[0] === 'merge' ? await mergeCli(argv.slice(1), full) : await suiteCli(argv, full);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    parts.stderr.write(`mockvirt conformance: ${error.message}\n`);
    return ExitCode.USAGE;
  }
}

async function suiteCli(argv: readonly string[], parts: FullParts): Promise<ExitCode> {
  const values = parseArguments(argv);
  if (values.help) {
    parts.stdout.write(helpText(parts.targets));
    return ExitCode.OK;
  }
  if (values.list) {
    for (const { id, title } of parts.contracts) parts.stdout.write(`${id}  ${title}\n`);
    return ExitCode.OK;
  }
  return runChosen(settingsOf(values, parts), parts);
}

async function runChosen(settings: Settings, parts: FullParts): Promise<ExitCode> {
  // What cannot be written or read is noticed now, not after the run.
  if (settings.report !== undefined) await usable(mkdir(settings.report, { recursive: true }));
  const baseline = await readBaseline(settings);
  const isOnStdout = settings.trace === '-';
  const file =
    settings.trace === undefined || isOnStdout ? undefined : await usable(open(settings.trace, 'w'));
  try {
    const onTrace = traceSink(file, isOnStdout ? parts.stdout : undefined);
    const found = await runTargets(await makeTargets(settings), settings, parts, onTrace);
    const report = { ...found, ...(settings.shard === undefined ? {} : { shard: settings.shard }) };
    // The matrix makes way for a trace on stdout, which has to be the same for every run with one seed.
    const stream = isOnStdout ? parts.stderr : parts.stdout;
    return await conclude(report, { ...settings, loaded: baseline }, { ...parts, stdout: stream });
  } finally {
    await file?.close();
  }
}

const MERGE_OPTIONS = {
  report: { type: 'string' },
  baseline: { type: 'string' },
  'update-baseline': { type: 'boolean' },
  against: { type: 'string' },
} as const;

/** `merge REPORT...`: joins what the shards of a run found. */
async function mergeCli(argv: readonly string[], parts: FullParts): Promise<ExitCode> {
  const options = { args: [...argv], options: MERGE_OPTIONS, strict: true, allowPositionals: true } as const;
  const { values, positionals } = parsed(() => parseArgs(options), MERGE_OPTIONS);
  if (positionals.length === 0) throw new UsageError('merge needs the reports to join: files or directories');
  const settings = {
    report: values.report,
    baseline: values.baseline,
    updateBaseline: values['update-baseline'] ?? false,
    against: values.against,
  };
  checkAgainst(values);
  const reports: Report[] = [];
  for (const path of positionals) reports.push(await usable(readReport(path), 'cannot read'));
  const missing = missingParts(reports);
  if (missing.length > 0) throw new UsageError(`the parts ${missing.join(', ')} are missing from the merge`);
  if (settings.report !== undefined) await usable(mkdir(settings.report, { recursive: true }));
  const loaded = await readBaseline(settings);
  const order = parts.contracts.map(({ id }) => id);
  return conclude(mergeReports(reports, order), { ...settings, loaded }, parts);
}

interface Outcome extends Pick<Settings, 'report' | 'baseline' | 'updateBaseline' | 'against'> {
  readonly loaded: Baseline | undefined;
}

/** Holds a report against its baseline, writes what was asked for, and prints it. */
async function conclude(found: Report, outcome: Outcome, parts: FullParts): Promise<ExitCode> {
  const context: GateContext = {
    known: parts.contracts.map(({ id }) => id),
    today: parts.today ?? new Date().toISOString().slice(0, 10),
    ...(outcome.against === undefined ? {} : { against: outcome.against }),
  };
  let baseline = outcome.loaded;
  if (outcome.updateBaseline && outcome.baseline !== undefined) {
    baseline = updatedBaseline(found, baseline ?? EMPTY_BASELINE, context);
    await usable(writeFile(outcome.baseline, `${JSON.stringify(baseline, undefined, 2)}\n`));
  }
  const report = baseline ? holdAgainst(found, baseline, context) : found;
  if (outcome.report !== undefined) await usable(writeReportFiles(outcome.report, report));
  await tellGithub(report, parts);
  parts.stdout.write(`${renderReport(report)}\n`);
  return report.summary.ok ? ExitCode.OK : ExitCode.FAILED;
}

async function tellGithub(report: Report, { stdout, environment = {} }: FullParts): Promise<void> {
  const { GITHUB_ACTIONS: isThere, GITHUB_STEP_SUMMARY: page } = environment;
  if (isThere) stdout.write(annotations(report));
  if (page) await usable(appendFile(page, stepSummary(report)));
}

/** undefined where none was named, or where it is going to be made. */
async function readBaseline(
  settings: Pick<Settings, 'baseline' | 'updateBaseline' | 'against'>,
): Promise<Baseline | undefined> {
  const { baseline, updateBaseline, against } = settings;
  if (baseline === undefined) return undefined;
  const text = await readFile(baseline, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (updateBaseline && error.code === 'ENOENT') return undefined;
    throw new UsageError(`cannot read: ${error.message}; --update-baseline makes a baseline`);
  });
  if (text === undefined) return undefined;
  const read = parsedBaseline(baseline, text);
  const known = targetsOf(read);
  if (against !== undefined && !known.includes(against))
    throw new UsageError(`unknown target '${against}' for --against; ${baseline} knows: ${known.join(', ')}`);
  return read;
}

function parsedBaseline(file: string, text: string): Baseline {
  try {
    return parseBaseline(text);
  } catch (error) {
    const [what] = (error instanceof Error ? error.message : String(error)).split('\n');
    throw new UsageError(`${file} is not a baseline: ${what}`);
  }
}

/** Traces are many and long, so each is written as it comes. */
function traceSink(
  file: FileHandle | undefined,
  stream: { write(text: string): unknown } | undefined,
): ((text: string) => void) | undefined {
  if (stream) return (text) => void stream.write(`${text}\n`);
  return file && ((text) => void writeSync(file.fd, `${text}\n`));
}

async function runTargets(
  targets: readonly Target[],
  settings: Settings,
  { stderr, command, now }: FullParts,
  onTrace: ((text: string) => void) | undefined,
): Promise<Report> {
  const { seed, runs, path, minutes, planted, contracts, canaries } = settings;
  const progress = new ProgressLine(stderr);
  stderr.write(`seed ${seed}\n`);
  const report = await runConformance({
    targets,
    contracts,
    canaries,
    seed,
    ...(runs === undefined ? {} : { runs }),
    ...(path === undefined ? {} : { path }),
    ...(minutes === undefined ? {} : { budgetMs: minutes * 60_000 }),
    ...(planted ? { planted } : {}),
    ...(command === undefined ? {} : { command }),
    ...(now ? { now } : {}),
    evidence: settings.report !== undefined,
    onProgress: (state) => progress.show(state),
    ...(onTrace ? { onTrace } : {}),
  });
  progress.clear();
  return report;
}

/** Makes the targets and sees to it that the required ones, and at least one of all, can be used. */
async function makeTargets({ chosen, directory }: Pick<Settings, 'chosen' | 'directory'>): Promise<Target[]> {
  const targets: Target[] = [];
  const reasons: string[] = [];
  for (const { choice, argument, required } of chosen)
    for (const target of await choice.make(argument, directory)) {
      const availability = await target.available();
      if (!availability.ok) {
        if (required)
          throw new UsageError(`required target ${choice.name} is missing: ${availability.reason}`);
        reasons.push(availability.reason);
      }
      const word = argument === undefined ? choice.name : `${choice.name}=${argument}`;
      targets.push(withOwnId({ choice: word, ...target }, targets));
    }
  if (reasons.length === targets.length) throw new UsageError(`no target to run on: ${reasons.join('; ')}`);
  return targets;
}

/** Two emulators of one version get a column each. */
function withOwnId(target: Target, others: readonly Target[]): Target {
  const same = others.filter(({ id }) => id === target.id || id.startsWith(`${target.id}#`)).length;
  return same === 0 ? target : { ...target, id: `${target.id}#${same + 1}` };
}

/** A file that cannot be used is the caller's to put right. */
async function usable<T>(work: Promise<T>, what = 'cannot write'): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new UsageError(`${what}: ${error instanceof Error ? error.message : error}`);
  }
}
