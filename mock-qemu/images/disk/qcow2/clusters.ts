/** Places in a qcow2 file that is being written, and how often each is referred to. */

/** A cluster number of the file; 0 is the header, so no table and no data lies there. */
export type Cluster = number;

/** Hands out clusters in order and counts references. */
export class ClusterAllocator {
  readonly #references: number[] = [];
  readonly sizeBytes: number;

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
  }

  /** How many clusters there are so far. */
  get count(): number {
    return this.#references.length;
  }

  /** How often each cluster is referred to, by number. */
  get references(): readonly number[] {
    return this.#references;
  }

  /** The first of as many neighbours as `bytes` take, each with one reference. */
  allocate(bytes: number): Cluster {
    const first = this.#references.length;
    for (let left = bytes; left > 0; left -= this.sizeBytes) this.#references.push(1);
    return first;
  }

  /** Counts further references to a cluster. */
  refer(cluster: Cluster, times: number): void {
    this.#references[cluster] = (this.#references[cluster] ?? 0) + times;
  }
}
