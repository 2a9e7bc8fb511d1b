#!/usr/bin/env node
/** The command `mockvirt`. */
import { type CliParts, conformanceCli, ExitCode } from '../conformance/cli.ts';
import { scenarioCli } from '../conformance/scenarios/cli.ts';
import { targetChoices } from './targets/index.ts';

const parts: CliParts = {
  targets: targetChoices,
  stdout: process.stdout,
  stderr: process.stderr,
  environment: process.env,
};

const COMMANDS: { readonly [name: string]: (argv: readonly string[]) => Promise<ExitCode> } = {
  conformance: (argv) => conformanceCli(argv, parts),
  scenario: (argv) => scenarioCli(argv, parts),
};

const HELP = `Usage: mockvirt COMMAND [options]

  conformance   hold simulated and real QEMUs to the same contracts
  scenario      what users of block jobs ran into: list, show, run

'mockvirt COMMAND --help' tells a command's options.
`;

async function main([name, ...argv]: readonly string[]): Promise<ExitCode> {
  if (name === '--help' || name === '-h') {
    process.stdout.write(HELP);
    return ExitCode.OK;
  }
  const command = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command) return command(argv);
  const what = name === undefined ? 'a command is missing' : `unknown command '${name}'`;
  process.stderr.write(`mockvirt: ${what}; valid commands: ${Object.keys(COMMANDS).join(', ')}\n`);
  return ExitCode.USAGE;
}

process.exitCode = await main(process.argv.slice(2));
