/** A scenario: something that users of block jobs ran into, and the contracts that show how it must go. */

import type { Play } from './play.ts';

/** One entry of the catalogue. */
export interface Scenario {
  /** `AREA/WHAT`, e.g. `mirror/zero-zero-start`. */
  readonly name: string;
  /** What goes on. */
  readonly happens: string;
  /** What a correct application sees, and may rely on. */
  readonly sees: string;
  /** Who ran into it. */
  readonly source: string;
  /** The contracts that show it. */
  readonly contracts: readonly string[];
  /** What an application has a part in. */
  readonly plays: readonly Play[];
}

/** Makes an entry. */
export function scenario(
  name: string,
  happens: string,
  sees: string,
  source: string,
  ...contracts: readonly string[]
): Scenario {
  return { name, happens, sees, source, contracts, plays: [] };
}

/** An entry with plays of its own. */
export function played(entry: Scenario, plays: readonly Play[]): Scenario {
  return { ...entry, plays };
}
