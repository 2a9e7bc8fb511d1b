/** The arguments of `mockvirt conformance`, read and checked. */
import { parseArgs } from 'node:util';
import type { Canary } from './canary.ts';
import type { Contract } from './contract.ts';
import type { ProgressStream } from './progress.ts';
import type { Target } from './target.ts';

/** A target as the command line knows it. */
export interface TargetChoice {
  /** What `--target` and `--require` call it. */
  readonly name: string;
  /** What comes after `name=`, as the help shows it; left out if it takes nothing. */
  readonly argument?: string;
  readonly help: string;
  /** Run only where it is named. */
  readonly onlyNamed?: boolean;
  /** Makes no sense without its argument. */
  readonly needsArgument?: boolean;
  /**
   * Makes the targets of that name, at least one; called only if they are going to be run. `directory` is where
   * images can be put, if the caller said so.
   */
  make(argument?: string, directory?: string): Promise<readonly Target[]>;
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
  /** What the suite is called in replay lines; `npx mockvirt conformance` when left out. */
  readonly command?: string;
  /** Where GitHub says that it is there; nothing when left out. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** YYYY-MM-DD; the clock's when left out. */
  readonly today?: string;
  /** The time in ms that --minutes goes by; the machine's when left out. */
  readonly now?: () => number;
}

/** Something the caller got wrong, in one line. */
export class UsageError extends Error {}

/** A target that is going to be run. */
export interface Chosen {
  readonly choice: TargetChoice;
  readonly argument: string | undefined;
  /** Its absence ends the run with exit code 2. */
  readonly required: boolean;
}

/** A run as asked for. */
export interface Settings {
  readonly chosen: readonly Chosen[];
  readonly contracts: readonly Contract[];
  readonly canaries: readonly Canary[];
  /** The one that every target is broken with. */
  readonly planted: Canary | undefined;
  readonly seed: number;
  readonly path: string | undefined;
  readonly runs: number | undefined;
  readonly minutes: number | undefined;
  readonly report: string | undefined;
  readonly baseline: string | undefined;
  readonly updateBaseline: boolean;
  /** The target of the baseline that what is run is held against. */
  readonly against: string | undefined;
  /** `I/N`, where this run is a part of one. */
  readonly shard: string | undefined;
  readonly trace: string | undefined;
  /** Where targets that make their images on a server of somebody else's put them. */
  readonly directory: string | undefined;
}

const OPTIONS = {
  target: { type: 'string', multiple: true },
  require: { type: 'string', multiple: true },
  contract: { type: 'string', multiple: true },
  shard: { type: 'string' },
  seed: { type: 'string' },
  path: { type: 'string' },
  runs: { type: 'string' },
  minutes: { type: 'string' },
  canary: { type: 'string' },
  report: { type: 'string' },
  baseline: { type: 'string' },
  'update-baseline': { type: 'boolean' },
  against: { type: 'string' },
  'no-canaries': { type: 'boolean' },
  trace: { type: 'string' },
  directory: { type: 'string' },
  list: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** The arguments by option; throws UsageError for what is none. */
export type Values = ReturnType<typeof parseArguments>;

/** Takes the arguments apart. @throws UsageError */
export function parseArguments(argv: readonly string[]) {
  return parsed(() => parseArgs({ args: [...argv], options: OPTIONS, strict: true }).values, OPTIONS);
}

/** Calls parseArgs and puts what it complains about into one line. @throws UsageError */
export function parsed<T>(parse: () => T, options: object): T {
  try {
    return parse();
  } catch (error) {
    // parseArgs names the argument in its first sentence and then goes on with advice.
    const [what = ''] = (error instanceof Error ? error.message : String(error)).split('. ');
    const valid = Object.keys(options).map((name) => `--${name}`);
    throw new UsageError(`${what}; valid options: ${valid.join(', ')}`);
  }
}

/** Checks the arguments against what there is. @throws UsageError */
export function settingsOf(
  values: Values,
  parts: Required<Pick<CliParts, 'targets' | 'contracts' | 'canaries'>>,
): Settings {
  const contracts = shardOf(values.shard, chooseContracts(values.contract ?? [], parts.contracts));
  const planted = plantedCanary(values.canary, parts.canaries);
  const path = pathOf(values, contracts);
  if (values['update-baseline'] && values.baseline === undefined)
    throw new UsageError('--update-baseline needs --baseline FILE, the file to write');
  checkAgainst(values);
  const hasCanaries = planted === undefined && path === undefined && !values['no-canaries'];
  return {
    chosen: chooseTargets(values.target ?? [], values.require ?? [], parts.targets),
    contracts,
    canaries: hasCanaries
      ? parts.canaries.filter(({ contract }) => contracts.some(({ id }) => id === contract))
      : [],
    planted,
    seed: integer('--seed', values.seed, 0, 0x7fff_ffff) ?? randomSeed(),
    path,
    runs: integer('--runs', values.runs, 1, 1_000_000),
    minutes: integer('--minutes', values.minutes, 1, 10_000),
    report: values.report,
    baseline: values.baseline,
    updateBaseline: values['update-baseline'] ?? false,
    against: values.against,
    shard: values.shard,
    trace: values.trace,
    directory: values.directory,
  };
}

/** What is held against another target cannot become that target's baseline. @throws UsageError */
export function checkAgainst(values: Pick<Values, 'against' | 'baseline' | 'update-baseline'>): void {
  if (values.against === undefined) return;
  if (values.baseline === undefined || values['update-baseline'])
    throw new UsageError('--against needs --baseline FILE, and no --update-baseline');
}

/** Contracts by id, or whole families: `api/` is every contract of it. */
function chooseContracts(named: readonly string[], all: readonly Contract[]): readonly Contract[] {
  if (named.length === 0) return all;
  const matches = (text: string, id: string) => (text.endsWith('/') ? id.startsWith(text) : id === text);
  for (const text of named)
    if (!all.some(({ id }) => matches(text, id)))
      throw new UsageError(`unknown contract '${text}' for --contract; ${nearest(text, all)}`);
  return all.filter(({ id }) => named.some((text) => matches(text, id)));
}

function plantedCanary(id: string | undefined, all: readonly Canary[]): Canary | undefined {
  const canary = all.find((candidate) => candidate.id === id);
  if (id === undefined || canary) return canary;
  throw new UsageError(`unknown canary '${id}' for --canary; ${nearest(id, all)}`);
}

/** A line that stays one: those that share a word with what was asked for. */
function nearest(text: string, all: readonly { readonly id: string }[]): string {
  const words = text.split(/[^a-z0-9]+/i).filter((word) => word.length > 3);
  const near = all.map(({ id }) => id).filter((id) => words.some((word) => id.includes(word)));
  const listed = near.length > 0 ? near : all.map(({ id }) => id);
  const more = listed.length > 8 || near.length > 0 ? ', …; --list shows all' : '';
  return `valid ones: ${listed.slice(0, 8).join(', ')}${more}`;
}

function shardOf(text: string | undefined, contracts: readonly Contract[]): readonly Contract[] {
  if (text === undefined) return contracts;
  const [, part = '', count = ''] = /^(\d{1,4})\/(\d{1,4})$/.exec(text) ?? [];
  const [index, of] = [Number(part), Number(count)];
  if (part === '' || index < 1 || index > of)
    throw new UsageError(`--shard '${text}' is not I/N with I from 1 to N`);
  return contracts.filter((_, row) => row % of === index - 1);
}

/** A path is a place in what one seed generates for one contract. */
function pathOf({ path, seed, contract }: Values, contracts: readonly Contract[]): string | undefined {
  if (path === undefined) return undefined;
  if (!/^\d+(:\d+)*$/.test(path))
    throw new UsageError(`--path '${path}' is not numbers with colons between them`);
  if (seed === undefined || contract === undefined || contracts.length !== 1)
    throw new UsageError('--path needs --seed and one --contract: it is a place in what they generate');
  return path;
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
      : choices
          .filter(({ onlyNamed, needsArgument }) => !onlyNamed && !needsArgument)
          .map((choice) => ({ choice, argument: undefined }));
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
  const accepts = choice && (argument === undefined ? !choice.needsArgument : takes(choice, argument));
  if (choice && accepts) return { choice, argument };
  throw new UsageError(
    `unknown target '${text}' for ${option}; valid targets: ${choices.map(choiceSyntax).join(', ')}`,
  );
}

const takes = (choice: TargetChoice, argument: string): boolean =>
  choice.argument !== undefined && argument !== '';

function integer(option: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^-?\d+$/.test(text) && value >= min && value <= max) return value;
  throw new UsageError(`${option} '${text}' is not an integer from ${min} to ${max}`);
}

function randomSeed(): number {
  return Math.floor(Math.random() * 0x7fff_ffff);
}

/** How a target is written: `qemu[=PATH]`. */
export function choiceSyntax({ name, argument, needsArgument }: TargetChoice): string {
  if (argument === undefined) return name;
  return needsArgument ? `${name}=${argument}` : `${name}[=${argument}]`;
}

/** What `--help` prints. */
export function helpText(choices: readonly TargetChoice[]): string {
  const lines = choices.map(
    (choice) => `                     ${choiceSyntax(choice).padEnd(14)} ${choice.help}`,
  );
  return `Usage: mockvirt conformance [options]
       mockvirt conformance merge REPORT... --report DIR [--baseline FILE]

Runs every contract of the suite on every target, then every canary, and prints a matrix.

What is run:
  --target NAME    run on this target only; may be given several times:
${lines.join('\n')}
  --directory DIR  where a server at a socket puts its images; the socket's directory when left out
  --require NAME   fail with exit code 2 if this target cannot be used; may be given several times
  --contract ID    this contract only, or with a slash at its end this family; may be given several times
  --shard I/N      only the I-th of N parts, so that N machines share the work; 'merge' joins their reports
  --list           print the contracts instead of running them

How far:
  --seed N         repeat a run; random when left out, and printed
  --path PATH      with --seed and --contract: the one case that a failure printed
  --runs N         cases per property; each target has a default of its own
  --minutes M      go on with further seeds until M minutes are over
  --no-canaries    leave out the canaries, which test the suite and not the target
  --canary ID      break every target on purpose, to see its contract fail

What comes of it:
  --report DIR     write report.json, junit.xml and index.html there
  --baseline FILE  fail on what is worse than there, on what vanished, and on known deviations that pass again
  --update-baseline
                   write FILE from this run instead; what fails becomes a deviation of 30 days
  --against NAME   with --baseline: fail on what is worse than on this target of it, such as the QEMU before an upgrade
  --trace FILE     write all messages of the simulated wire there; '-' for standard output
  --help           this text

Exit code: 0 all pass; 1 a contract failed, a canary escaped or the baseline was not kept; 2 wrong usage or a required
target is missing.
`;
}
