/** The suite on the command line: arguments in, a matrix and `report.json` out, and an exit code that CI can use. */
import { writeSync } from 'node:fs';
import { type FileHandle, mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { canaries as allCanaries } from './canaries/index.ts';
import type { Canary } from './canary.ts';
import type { Contract } from './contract.ts';
import { contracts as allContracts } from './contracts/index.ts';
import { ProgressLine, type ProgressStream } from './progress.ts';
import { type Report, renderReport } from './report.ts';
import { runConformance } from './run.ts';
import type { Target } from './target.ts';

/** A target as the command line knows it. */
export interface TargetChoice {
  /** What `--target` and `--require` call it. */
  readonly name: string;
  /** What comes after `name=`, as the help shows it; left out if it takes nothing. */
  readonly argument?: string;
  readonly help: string;
  /** Makes the targets of that name, at least one; called only if they are going to be run. */
  make(argument?: string): Promise<readonly Target[]>;
}

/** What the command line stands on. */
export interface CliParts {
  readonly targets: readonly TargetChoice[];
  readonly stdout: { write(text: string): unknown };
  readonly stderr: ProgressStream;
  /** All of them when left out. */
  readonly contracts?: readonly Contract[];
  /** All of them when left out. */
  readonly canaries?: readonly Canary[];
}

/** Exit codes of the command. */
export const ExitCode = { OK: 0, FAILED: 1, USAGE: 2 } as const;
/** One of {@link ExitCode}. */
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** Something the caller got wrong, in one line. */
class UsageError extends Error {}

interface Chosen {
  readonly choice: TargetChoice;
  readonly argument: string | undefined;
  /** Its absence ends the run with exit code 2. */
  readonly required: boolean;
}

interface Settings {
  readonly chosen: readonly Chosen[];
  readonly seed: number;
  readonly runs: number | undefined;
  readonly report: string | undefined;
  readonly trace: string | undefined;
}

const OPTIONS = {
  target: { type: 'string', multiple: true },
  require: { type: 'string', multiple: true },
  seed: { type: 'string' },
  runs: { type: 'string' },
  report: { type: 'string' },
  trace: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** Runs `mockvirt conformance` with these arguments; resolves to its exit code. */
export async function conformanceCli(argv: readonly string[], parts: CliParts): Promise<ExitCode> {
  try {
    const values = parseArguments(argv);
    if (values.help) {
      parts.stdout.write(helpText(parts.targets));
      return ExitCode.OK;
    }
    return await runChosen(settingsOf(values, parts.targets), parts);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    parts.stderr.write(`mockvirt conformance: ${error.message}\n`);
    return ExitCode.USAGE;
  }
}

async function runChosen(settings: Settings, parts: CliParts): Promise<ExitCode> {
  // What cannot be written is noticed now, not after the run.
  if (settings.report !== undefined) await writable(mkdir(settings.report, { recursive: true }));
  const isOnStdout = settings.trace === '-';
  const file =
    settings.trace === undefined || isOnStdout ? undefined : await writable(open(settings.trace, 'w'));
  try {
    const onTrace = traceSink(file, isOnStdout ? parts.stdout : undefined);
    const report = await runTargets(await makeTargets(settings.chosen), settings, parts, onTrace);
    if (settings.report !== undefined) await writeReport(settings.report, report);
    // The matrix makes way for a trace on stdout, which has to be the same for every run with one seed.
    (isOnStdout ? parts.stderr : parts.stdout).write(`${renderReport(report)}\n`);
    return report.summary.ok ? ExitCode.OK : ExitCode.FAILED;
  } finally {
    await file?.close();
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
  { seed, runs }: Settings,
  { contracts = allContracts, canaries = allCanaries, stderr }: CliParts,
  onTrace: ((text: string) => void) | undefined,
): Promise<Report> {
  const progress = new ProgressLine(stderr);
  stderr.write(`seed ${seed}\n`);
  const report = await runConformance({
    targets,
    contracts,
    canaries,
    seed,
    ...(runs === undefined ? {} : { runs }),
    onProgress: (state) => progress.show(state),
    ...(onTrace ? { onTrace } : {}),
  });
  progress.clear();
  return report;
}

async function writeReport(directory: string, report: Report): Promise<void> {
  await writable(writeFile(join(directory, 'report.json'), `${JSON.stringify(report, undefined, 2)}\n`));
}

/** Makes the targets and sees to it that the required ones, and at least one of all, can be used. */
async function makeTargets(chosen: readonly Chosen[]): Promise<Target[]> {
  const targets: Target[] = [];
  const reasons: string[] = [];
  for (const { choice, argument, required } of chosen)
    for (const target of await choice.make(argument)) {
      const availability = await target.available();
      if (!availability.ok) {
        if (required)
          throw new UsageError(`required target ${choice.name} is missing: ${availability.reason}`);
        reasons.push(availability.reason);
      }
      targets.push(withOwnId(target, targets));
    }
  if (reasons.length === targets.length) throw new UsageError(`no target to run on: ${reasons.join('; ')}`);
  return targets;
}

/** Two emulators of one version get a column each. */
function withOwnId(target: Target, others: readonly Target[]): Target {
  const same = others.filter(({ id }) => id === target.id || id.startsWith(`${target.id}#`)).length;
  return same === 0 ? target : { ...target, id: `${target.id}#${same + 1}` };
}

function parseArguments(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, strict: true }).values;
  } catch (error) {
    // parseArgs names the argument in its first sentence and then goes on with advice.
    const [what = ''] = (error instanceof Error ? error.message : String(error)).split('. ');
    throw new UsageError(
      `${what}; valid options: ${Object.keys(OPTIONS)
        .map((name) => `--${name}`)
        .join(', ')}`,
    );
  }
}

function settingsOf(values: ReturnType<typeof parseArguments>, choices: readonly TargetChoice[]): Settings {
  return {
    chosen: chooseTargets(values.target ?? [], values.require ?? [], choices),
    seed: integer('--seed', values.seed, 0, 0x7fff_ffff) ?? randomSeed(),
    runs: integer('--runs', values.runs, 1, 1_000_000),
    report: values.report,
    trace: values.trace,
  };
}

/** Without `--target` all of them; a required one is run even if no `--target` names it. */
function chooseTargets(
  named: readonly string[],
  required: readonly string[],
  choices: readonly TargetChoice[],
): Chosen[] {
  const mustHave = required.map((text) => findChoice('--require', text, choices));
  const wanted =
    named.length > 0
      ? named.map((text) => findChoice('--target', text, choices))
      : choices.map((choice) => ({ choice, argument: undefined }));
  const missing = mustHave.filter(({ choice }) => !wanted.some((other) => other.choice === choice));
  return [...wanted, ...missing].map(({ choice, argument }) => ({
    choice,
    argument,
    // Whoever names a path means that very binary.
    required: argument !== undefined || mustHave.some((other) => other.choice === choice),
  }));
}

function findChoice(
  option: string,
  text: string,
  choices: readonly TargetChoice[],
): { readonly choice: TargetChoice; readonly argument: string | undefined } {
  const [name = '', ...rest] = text.split('=');
  const argument = rest.length > 0 ? rest.join('=') : undefined;
  const choice = choices.find((candidate) => candidate.name === name);
  const accepts = choice && (argument === undefined || (choice.argument !== undefined && argument !== ''));
  if (choice && accepts) return { choice, argument };
  throw new UsageError(
    `unknown target '${text}' for ${option}; valid targets: ${choices.map(syntax).join(', ')}`,
  );
}

function integer(option: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^-?\d+$/.test(text) && value >= min && value <= max) return value;
  throw new UsageError(`${option} '${text}' is not an integer from ${min} to ${max}`);
}

function randomSeed(): number {
  return Math.floor(Math.random() * 0x7fff_ffff);
}

async function writable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new UsageError(`cannot write: ${error instanceof Error ? error.message : error}`);
  }
}

function syntax({ name, argument }: TargetChoice): string {
  return argument === undefined ? name : `${name}[=${argument}]`;
}

function helpText(choices: readonly TargetChoice[]): string {
  const lines = choices.map((choice) => `                     ${syntax(choice).padEnd(14)} ${choice.help}`);
  return `Usage: mockvirt conformance [options]

Runs every contract of the suite on every target, then every canary, and prints a matrix.

  --target NAME    run on this target only; may be given several times:
${lines.join('\n')}
  --require NAME   fail with exit code 2 if this target cannot be used; may be given several times
  --seed N         repeat a run; random when left out, and printed
  --runs N         cases per property; each target has a default of its own
  --report DIR     write report.json there
  --trace FILE     write all messages of the simulated wire there; '-' for standard output
  --help           this text

Exit code: 0 all pass; 1 a contract failed or a canary escaped; 2 wrong usage or a required target is missing.
`;
}
