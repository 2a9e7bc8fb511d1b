/** `npm run differential`: exit code 0 when nothing differs outside the ledger, 1 when something does, 2 on bad usage. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readLedger } from './ledger.ts';
import { type Options, parseOptions, UsageError } from './options.ts';
import { type Finding, type Outcome, runDifferential } from './run.ts';

const findingText = ({ script, count, explanation, paste }: Finding): string =>
  [`## script ${script}, ${count} of this kind`, '', explanation, '', '```sh', paste, '```', ''].join('\n');

function summary(options: Options, outcome: Outcome): string {
  const { scripts, commands, diverging, ledger, unsteady, seconds, planned } = outcome;
  const features = options.features.length === 0 ? 'no features' : options.features.join(', ');
  return [
    `${options.profile}, ${features}, seed ${options.seed}: ${scripts} of ${planned} scripts, of ${commands} commands in all,`,
    `${(scripts / seconds).toFixed(2)} scripts a second`,
    `${diverging} diverging outside the ledger`,
    ...unsteady.map(({ sign, script, count }) => `unsteady, script ${script}, ${count} times: ${sign}`),
    ...ledger.map(({ entry, count, scripts: numbers }) =>
      count === 0
        ? `ledger: '${entry.name}' did not occur`
        : `ledger: '${entry.name}' ${count} times (scripts ${numbers.join(', ')})`,
    ),
  ].join('\n');
}

async function main(argv: readonly string[]): Promise<number> {
  const options = parseOptions(argv);
  const outcome = await runDifferential(options, readLedger());
  const findings = outcome.findings.map(findingText).join('\n');
  mkdirSync(options.report, { recursive: true });
  const name = `${options.profile}-${options.seed}`;
  const told = summary(options, outcome);
  writeFileSync(join(options.report, `${name}.md`), `${told}\n\n${findings}`);
  writeFileSync(
    join(options.report, `${name}.json`),
    `${JSON.stringify({ options, ...outcome }, null, 2)}\n`,
  );
  process.stdout.write(`${findings}${told}\n`);
  return outcome.diverging === 0 ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`differential: ${error.message}\n`);
  process.exitCode = 2;
}
