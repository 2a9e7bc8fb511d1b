/** What the command lines of scripts have in common. */

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
