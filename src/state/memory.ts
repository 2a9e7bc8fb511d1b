/** State in memory: it survives a connection, not the process. For the simulation, where "processes" are objects. */
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import type { StateStore } from './store.ts';

/** What outlives the connections: each of them opens it in turn. */
export class MemoryState {
  readonly #texts = new Map<string, string>();
  #holder: object | undefined;

  /**
   * Takes the lock.
   * @throws VirtError OPERATION_INVALID while another store holds it
   */
  open(): StateStore {
    if (this.#holder !== undefined) {
      throw new VirtError(
        ErrorCode.OPERATION_INVALID,
        'the state is in use by another connection: close it',
        {
          domain: ErrorDomain.NONE,
        },
      );
    }
    const holder = {};
    this.#holder = holder;
    // What was dispossessed writes nothing any more, as a dead process does.
    const held = (): boolean => this.#holder === holder;
    return {
      load: () =>
        [...this.#texts].sort().map(([key, text]) => ({ key, text, place: `the state of domain ${key}` })),
      write: (key, text) => {
        if (held()) this.#texts.set(key, text);
      },
      remove: (key) => {
        if (held()) this.#texts.delete(key);
      },
      close: () => {
        if (held()) this.#holder = undefined;
      },
    };
  }

  /** Takes the lock away from whoever holds it: its process has died. */
  seize(): void {
    this.#holder = undefined;
  }
}
