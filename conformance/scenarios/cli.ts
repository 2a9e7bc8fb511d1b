/** `mockvirt scenario`: lists the catalogue, shows an entry, runs it. */
import { type CliParts, conformanceCli, ExitCode } from '../cli.ts';
import { contracts } from '../contracts/index.ts';
import { scenarios } from './index.ts';
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
      name === undefined ? 'a name is missing' : `unknown scenario '${name}': see 'mockvirt scenario list'`,
    );
  if (command === 'show') {
    stdout.write(describeScenario(found));
    return ExitCode.OK;
  }
  const shown = contracts.filter(({ id }) => found.contracts.includes(id));
  return conformanceCli(rest, { ...options, contracts: shown, canaries: [] });
}

function usage({ stderr }: CliParts, what: string): ExitCode {
  stderr.write(`mockvirt scenario: ${what}; valid commands: list, show NAME, run NAME\n`);
  return ExitCode.USAGE;
}

/** An entry as text. */
export function describeScenario({ name, happens, sees, source, contracts }: Scenario): string {
  return `${name}

  ${happens}

  A correct application sees: ${sees}
  Source: ${source}
  Shown by: ${contracts.join(', ')}
`;
}
