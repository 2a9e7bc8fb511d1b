/** The snapshots of one domain: who came from whom, and which one is current. Metadata only; images are elsewhere. */
import type { SnapshotDefinition } from './conf/snapshot.ts';

/** One snapshot as it is kept. */
export interface SnapshotEntry {
  definition: SnapshotDefinition;
  parent: SnapshotEntry | undefined;
}

/** All snapshots of a domain, newest last. */
export class SnapshotStore {
  readonly #entries = new Map<string, SnapshotEntry>();
  #current: SnapshotEntry | undefined;

  get current(): SnapshotEntry | undefined {
    return this.#current;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Every snapshot, in the order in which they were made. */
  all(): SnapshotEntry[] {
    return [...this.#entries.values()];
  }

  byName(name: string): SnapshotEntry | undefined {
    return this.#entries.get(name);
  }

  childrenOf(entry: SnapshotEntry): SnapshotEntry[] {
    return this.all().filter(({ parent }) => parent === entry);
  }

  /** Adds a snapshot as the child of the current one, and makes it current. */
  add(definition: SnapshotDefinition): SnapshotEntry {
    const entry: SnapshotEntry = { definition, parent: this.#current };
    this.#entries.set(definition.name, entry);
    this.#current = entry;
    return entry;
  }

  /** Puts a snapshot where its XML says that it belongs; one of that name is replaced and keeps its children. */
  put(definition: SnapshotDefinition, parent: SnapshotEntry | undefined): SnapshotEntry {
    const known = this.#entries.get(definition.name);
    const entry = known ?? { definition, parent };
    entry.definition = definition;
    entry.parent = parent;
    this.#entries.set(definition.name, entry);
    return entry;
  }

  /** Says which one the domain stands on. */
  makeCurrent(entry: SnapshotEntry | undefined): void {
    this.#current = entry;
  }

  /** Whether a snapshot is an ancestor of another, or that one itself. */
  isAbove(upper: SnapshotEntry, lower: SnapshotEntry | undefined): boolean {
    return lower !== undefined && (lower === upper || this.isAbove(upper, lower.parent));
  }

  /** Forgets a snapshot; its children become its parent's, and if it was current, so does that. */
  remove(entry: SnapshotEntry): void {
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
