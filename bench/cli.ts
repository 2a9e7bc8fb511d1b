/** `npm run bench`: the figures of the simulation, beside those of a real QEMU where there is one. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { cases } from './cases/index.ts';
import { type BenchCase, type BenchContext, type Figure, renderFigures } from './figure.ts';

const OPTIONS = {
  json: { type: 'string' },
  qemu: { type: 'string' },
  case: { type: 'string', multiple: true },
  help: { type: 'boolean' },
} as const;
const HELP = `Usage: npm run bench -- [options]

  --json FILE   write the figures there too
  --qemu PATH   compare with this emulator; qemu-system-x86_64 where it is left out
  --case NAME   measure only this: ${cases.map(({ name }) => name).join(', ')}; may be given several times
  --help        this text

Exit code: 0 all goals met; 1 one was missed; 2 wrong usage.
`;
const Exit = { MET: 0, MISSED: 1, USAGE: 2 } as const;
const DEFAULT_EMULATOR = 'qemu-system-x86_64';

class UsageError extends Error {}

interface Settings {
  readonly json: string | undefined;
  readonly qemu: string | undefined;
  readonly chosen: readonly BenchCase[];
  readonly help: boolean;
}

function settingsOf(argv: readonly string[]): Settings {
  const valid = Object.keys(OPTIONS).map((name) => `--${name}`);
  const { tokens } = parseArgs({ args: [...argv], options: OPTIONS, strict: false, tokens: true });
  for (const token of tokens) {
    const word = token.kind === 'option' ? token.rawName : token.kind === 'positional' ? token.value : '--';
    if (!valid.includes(word))
      throw new UsageError(`unknown option '${word}'; valid options: ${valid.join(', ')}`);
    if (token.kind === 'option' && token.name !== 'help' && token.value === undefined)
      throw new UsageError(`${word} needs a value`);
  }
  const { values } = parseArgs({ args: [...argv], options: OPTIONS });
  return {
    json: values.json,
    qemu: values.qemu,
    chosen: values.case ? values.case.map(caseNamed) : cases,
    help: values.help === true,
  };
}

function caseNamed(name: string): BenchCase {
  const found = cases.find((candidate) => candidate.name === name);
  if (found) return found;
  const valid = cases.map((candidate) => candidate.name).join(', ');
  throw new UsageError(`unknown case '${name}'; valid cases: ${valid}`);
}

const run = promisify(execFile);

/** The emulator to compare with. One that was asked for has to be there. */
async function findEmulator(asked: string | undefined): Promise<string | undefined> {
  const emulator = asked ?? DEFAULT_EMULATOR;
  try {
    await run(emulator, ['--version']);
    return emulator;
  } catch {
    if (asked !== undefined) throw new UsageError(`--qemu ${asked}: not an emulator that can be run`);
    process.stderr.write(
      `bench: no ${emulator}; install one with: apt-get install qemu-system-x86 qemu-utils\n`,
    );
    return undefined;
  }
}

/** Runs one case in a process of its own. */
async function isolated({ name }: BenchCase, { emulator }: BenchContext): Promise<readonly Figure[]> {
  const child = fileURLToPath(new URL('./isolated.ts', import.meta.url));
  const { stdout } = await run(process.execPath, [
    '--expose-gc',
    child,
    name,
    ...(emulator ? [emulator] : []),
  ]);
  return JSON.parse(stdout) as readonly Figure[];
}

async function bench(argv: readonly string[]): Promise<number> {
  const { json, qemu, chosen, help } = settingsOf(argv);
  if (help) {
    process.stdout.write(HELP);
    return Exit.MET;
  }
  const context = { emulator: await findEmulator(qemu) };
  const figures: Figure[] = [];
  for (const each of chosen) {
    process.stderr.write(`${each.name}...\n`);
    figures.push(...(await (each.isolated ? isolated(each, context) : (await each.load())(context))));
  }
  process.stdout.write(`${renderFigures(figures)}\n`);
  if (json !== undefined) await writeFile(json, `${JSON.stringify({ figures }, null, 2)}\n`);
  return figures.every(({ goal }) => goal?.met !== false) ? Exit.MET : Exit.MISSED;
}

try {
  process.exitCode = await bench(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`bench: ${error.message}\n`);
  process.exitCode = Exit.USAGE;
}
