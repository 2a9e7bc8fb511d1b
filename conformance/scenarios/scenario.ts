/** A scenario: something that users of block jobs ran into, and the contracts that show how it must go. */

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
}

/** Makes an entry. */
export function scenario(
  name: string,
  happens: string,
  sees: string,
  source: string,
  ...contracts: readonly string[]
): Scenario {
  return { name, happens, sees, source, contracts };
}
