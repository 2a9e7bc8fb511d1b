/** How one case is run again, as a line for a shell. */
import type { Canary } from './canary.ts';
import type { Contract } from './contract.ts';
import type { Target } from './target.ts';

/** One case of one contract on one target. */
export interface ReplayCase {
  readonly target: Target;
  readonly contract: Contract;
  readonly seed: number;
  readonly path?: string;
  readonly canary?: Canary;
}

/** The line that runs this very case again. `command` is what the suite is called on this machine. */
export function replayLine({ target, contract, seed, path, canary }: ReplayCase, command: string): string {
  const options = [
    ['--target', target.choice ?? target.id],
    ['--contract', contract.id],
    ['--seed', String(seed)],
    ...(path === undefined ? [] : [['--path', path]]),
    ...(canary === undefined ? [] : [['--canary', canary.id]]),
  ];
  return [command, ...options.flat().map((word) => quoted(word))].join(' ');
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
