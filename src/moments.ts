/** Moments of one domain, snapshots or checkpoints: who came from whom, and which one is current. Metadata only. */

/** One moment as it is kept. */
export interface Moment<D> {
  definition: D;
  parent: Moment<D> | undefined;
}

/** All moments of one kind, newest last. */
export class MomentStore<D extends { readonly name: string }> {
  readonly #entries = new Map<string, Moment<D>>();
  #current: Moment<D> | undefined;

  get current(): Moment<D> | undefined {
    return this.#current;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Every moment, in the order in which they were made. */
  all(): Moment<D>[] {
    return [...this.#entries.values()];
  }

  byName(name: string): Moment<D> | undefined {
    return this.#entries.get(name);
  }

  childrenOf(entry: Moment<D>): Moment<D>[] {
    return this.all().filter(({ parent }) => parent === entry);
  }

  /** Whoever came from a moment, or from one that did: each behind those that came from it. */
  descendantsOf(entry: Moment<D>): Moment<D>[] {
    return this.childrenOf(entry).flatMap((child) => [...this.descendantsOf(child), child]);
  }

  /** Adds a moment as the child of the current one, and makes it current. */
  add(definition: D): Moment<D> {
    const entry: Moment<D> = { definition, parent: this.#current };
    this.#entries.set(definition.name, entry);
    this.#current = entry;
    return entry;
  }

  /** Puts a moment where its XML says that it belongs; one of that name is replaced and keeps its children. */
  put(definition: D, parent: Moment<D> | undefined): Moment<D> {
    const known = this.#entries.get(definition.name);
    const entry = known ?? { definition, parent };
    entry.definition = definition;
    entry.parent = parent;
    this.#entries.set(definition.name, entry);
    return entry;
  }

  /** Says which one the domain stands on. */
  makeCurrent(entry: Moment<D> | undefined): void {
    this.#current = entry;
  }

  /** Whether a moment is an ancestor of another, or that one itself. */
  isAbove(upper: Moment<D>, lower: Moment<D> | undefined): boolean {
    return lower !== undefined && (lower === upper || this.isAbove(upper, lower.parent));
  }

  /** Forgets a moment; its children become its parent's, and if it was current, so does that. */
  remove(entry: Moment<D>): void {
    for (const child of this.childrenOf(entry)) child.parent = entry.parent;
    this.#entries.delete(entry.definition.name);
    if (this.#current === entry) this.#current = entry.parent;
  }

  /** Forgets them all. */
  clear(): void {
    this.#entries.clear();
    this.#current = undefined;
  }
}
