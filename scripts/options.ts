/** What the command lines of scripts have in common. */
import { parseArgs } from 'node:util';

/** Ends the process with exit code 2 and one line that says what was wrong. */
export function wrong(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

/** The number that an option was given; ends the process if it is none, or below `least`. */
export function count(option: string, value: string, least: number): number {
  return /^\d{1,9}$/.test(value) && Number(value) >= least
    ? Number(value)
    : wrong(`--${option} '${value}': use a whole number from ${least}`);
}

/**
 * The values of options that all take one, by name; those that are not given have their defaults. Prints `help` and ends
 * the process where it is asked for; an option that there is not ends it with exit code 2.
 */
export function values<T extends Readonly<Record<string, string | undefined>>>(help: string, defaults: T): T {
  const options = Object.fromEntries(
    Object.keys(defaults).map((name) => [name, { type: 'string' as const }]),
  );
  try {
    const { values: given } = parseArgs({ options: { ...options, help: { type: 'boolean' } } });
    if (!given.help) return { ...defaults, ...given };
  } catch (error) {
    const valid = [...Object.keys(defaults), 'help'].map((name) => `--${name}`).join(', ');
    wrong(`${(error as Error).message.split(/\.? To |\n/)[0]}; valid options: ${valid}`);
  }
  process.stdout.write(help);
  process.exit(0);
}
