/** `mockvirt scenario`: lists the catalogue, shows an entry, runs it. */
import { type CliParts, conformanceCli, ExitCode } from '../cli.ts';
import type { Contract } from '../contract.ts';
import { contracts } from '../contracts/index.ts';
import { scenarios } from './index.ts';
import type { Play } from './play.ts';
import type { Scenario } from './scenario.ts';

const HELP = `Usage: mockvirt scenario COMMAND

  list                    the names of all scenarios
  show NAME               what happens, what a correct application sees, and who ran into it
  run NAME [options]      hold targets to the contracts that show it; options as of 'mockvirt conformance'
`;

/** Runs the command line; resolves to the exit code. */
export async function scenarioCli(argv: readonly string[], options: CliParts): Promise<ExitCode> {
  const [command, name, ...rest] = argv;
  const { stdout } = options;
  if (command === '--help' || command === '-h') {
    stdout.write(HELP);
    return ExitCode.OK;
  }
  const extra = command === 'list' ? name : command === 'show' ? rest[0] : undefined;
  if (extra !== undefined) return usage(options, `'${extra}' is too much for ${command}`);
  if (command === 'list') {
    for (const each of scenarios) stdout.write(`${each.name}\n`);
    return ExitCode.OK;
  }
  if (command !== 'show' && command !== 'run')
    return usage(options, command === undefined ? 'a command is missing' : `unknown command '${command}'`);
  const found = scenarios.find((each) => each.name === name);
  if (!found)
    return usage(
      options,
      name === undefined
        ? 'a name is missing'
        : `unknown scenario '${name}'; valid scenarios: ${scenarios.map((each) => each.name).join(', ')}`,
    );
  if (command === 'show') {
    stdout.write(describeScenario(found));
    return ExitCode.OK;
  }
  return conformanceCli(rest, {
    ...options,
    contracts: contractsOf(found),
    canaries: [],
    command: `npx mockvirt scenario run ${found.name}`,
  });
}

function usage({ stderr }: CliParts, what: string): ExitCode {
  const valid = what.startsWith('unknown scenario') ? '' : '; valid commands: list, show NAME, run NAME';
  stderr.write(`mockvirt scenario: ${what}${valid}\n`);
  return ExitCode.USAGE;
}

/** What is run of an entry: the contracts that show it, and its plays with the right applications. */
export function contractsOf({ contracts: shown, plays }: Scenario): readonly Contract[] {
  return [...contracts.filter(({ id }) => shown.includes(id)), ...plays.map(({ contract }) => contract)];
}

function describePlay({ title, stage, contract, wrong }: Play): string {
  const found = wrong.map(({ does }) => `    Found out: one that ${does}.\n`).join('');
  return `\n  ${contract.id}\n    ${title}.\n    Stage: ${JSON.stringify(stage)}\n${found}`;
}

/** An entry as text. */
export function describeScenario({ name, happens, sees, source, contracts, plays }: Scenario): string {
  return `${name}

  ${happens}

  A correct application sees: ${sees}
  Source: ${source}
  Shown by: ${[...contracts, ...plays.map(({ contract }) => contract.id)].join(', ')}
${plays.map(describePlay).join('')}`;
}
