/** What somebody who holds a node, or a file, does with it, and what others may do meanwhile: QEMU's permissions. */

/** Relies on the content being what it is. */
export const READ = 1;
/** Changes the content. */
export const WRITE = 2;
/** Writes that change nothing that can be seen, as when a backing file's content is copied up. */
export const WRITE_UNCHANGED = 4;
/** Changes the length. */
export const RESIZE = 8;
/** Every right that there is. */
export const ALL = READ | WRITE | WRITE_UNCHANGED | RESIZE;

/** Two sets of the bits above. */
export interface Rights {
  readonly needs: number;
  /** What it lets others have. */
  readonly shares: number;
}

/** Needs nothing, minds nobody. */
export const NO_RIGHTS: Rights = { needs: 0, shares: ALL };

/** Those of a guest's disk. It allows nobody else to write, unless its user said that it should. */
export const deviceRights = (readOnly: boolean, sharesWriting = false): Rights => ({
  needs: readOnly ? READ : READ | WRITE,
  shares: sharesWriting ? ALL : ALL & ~WRITE,
});

/** Those of a -drive that no device has. */
export const driveRights = (readOnly: boolean): Rights => ({
  needs: readOnly ? READ : READ | WRITE,
  shares: ALL,
});

/** Those of whoever empties a file and writes an image into it. */
export const CREATOR_RIGHTS: Rights = { needs: WRITE | RESIZE, shares: ALL & ~RESIZE };

const NAMES: readonly (readonly [number, string])[] = [
  [READ, 'consistent read'],
  [WRITE, 'write'],
  [WRITE_UNCHANGED, 'write unchanged'],
  [RESIZE, 'resize'],
];

/** The bits of a set as error texts have them. */
export const namesOf = (set: number): string =>
  NAMES.filter(([bit]) => set & bit)
    .map(([, name]) => name)
    .join(', ');

/**
 * The locks of one file: what each of its openers needs and lets others have. A lock is the same thing as a right, only
 * that it holds between openers who do not know of each other.
 */
export class FileLocks {
  readonly #holders = new Map<unknown, Rights>();

  /** How many openers may write, and how many only rely on the content not changing under them. */
  get counts(): { readonly writers: number; readonly readers: number } {
    const held = [...this.#holders.values()];
    const writers = held.filter(({ needs }) => needs & WRITE).length;
    return { writers, readers: held.filter(({ needs }) => (needs & (READ | WRITE)) === READ).length };
  }

  /** What an opener has. */
  of(holder: unknown): Rights {
    return this.#holders.get(holder) ?? NO_RIGHTS;
  }

  /** Gives an opener rights, whatever others have. */
  set(holder: unknown, rights: Rights): void {
    if (rights.needs === 0 && rights.shares === ALL) this.#holders.delete(holder);
    else this.#holders.set(holder, rights);
  }

  /** Why an opener cannot have these rights beside the others; undefined: it can. */
  conflict(holder: unknown, rights: Rights): string | undefined {
    const others = [...this.#holders].filter(([other]) => other !== holder).map(([, theirs]) => theirs);
    for (const [bit, name] of NAMES) {
      if (rights.needs & bit && others.some(({ shares }) => !(shares & bit))) {
        return `Failed to get "${name}" lock`;
      }
    }
    for (const [bit, name] of NAMES) {
      if (!(rights.shares & bit) && others.some(({ needs }) => needs & bit)) {
        return `Failed to get shared "${name}" lock`;
      }
    }
    return undefined;
  }
}
