/** How block jobs ended of which no caller could be told: the machine died, or this process's forerunner did. */
import { PUBLIC_TYPE } from './blockjob/states.ts';
import type { BlockJobType } from './flags.ts';
import type { OutcomeStatus } from './state/status.ts';

/** What became of a block job (nothing in libvirt corresponds to it: there the caller is left to look). */
export interface BlockJobOutcome {
  readonly domainName: string;
  readonly domainUuid: string;
  /** Target, e.g. `vda`. */
  readonly disk: string;
  readonly type: BlockJobType;
  /**
   * `completed`: the destination holds what the guest wrote. `failed`: the source does. `unknown`: one of them does
   * and nobody can know which; the domain does not start before somebody has looked at both and defined it anew.
   */
  readonly outcome: 'completed' | 'failed' | 'unknown';
  /** Path of what the disk used until then. */
  readonly source: string;
  /** Path of what it uses if the job completed; of a pull or a commit below the active image, the same. */
  readonly destination: string;
}

/** The outcomes of one domain, which outlive it where it was transient. */
export class Outcomes {
  readonly #name: string;
  readonly #uuid: string;
  #all: readonly OutcomeStatus[];

  constructor(name: string, uuid: string, all: readonly OutcomeStatus[] = []) {
    this.#name = name;
    this.#uuid = uuid;
    this.#all = all;
  }

  /** As they are kept. */
  get all(): readonly OutcomeStatus[] {
    return this.#all;
  }

  /** Keeps one instead of what was kept of its disk. */
  add(outcome: OutcomeStatus): void {
    this.#all = [...this.#all.filter(({ disk }) => disk !== outcome.disk), outcome];
  }

  /** Forgets that of a disk, or all. */
  clear(target?: string): void {
    this.#all = target === undefined ? [] : this.#all.filter(({ disk }) => disk !== target);
  }

  /** As users get them. */
  list(): BlockJobOutcome[] {
    return this.#all.map(({ kind, ...outcome }) => ({
      ...outcome,
      domainName: this.#name,
      domainUuid: this.#uuid,
      type: PUBLIC_TYPE[kind],
    }));
  }
}
