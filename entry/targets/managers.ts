/** Management processes of a session, one after the other on one state: they die, and their domains run on. */
import type { Manager, ManagerOptions } from '../../conformance/index.ts';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import type { Host } from '../../drivers/qemu/host.ts';
import type { ProbeCache } from '../../drivers/qemu/probe.ts';
import { type Connection, recoverConnection, type StateStore } from '../../src/index.ts';
import { nameIn } from './controls.ts';
import { monitorGuest } from './guest.ts';
import { type MortalHost, mortalHost, mortalState } from './mortal.ts';

/** What differs between the targets. */
export interface ManagerParts {
  readonly uri: string;
  /** The host of a process that begins; machines of those before it can be found on it. */
  readonly host: () => Host;
  /** Takes the lock of the state. @throws VirtError OPERATION_INVALID while another one holds it */
  readonly openState: () => StateStore;
  readonly probes: ProbeCache;
  /** SIGKILL to a machine, by what it is found by. */
  readonly kill: (handle: string) => void;
}

/** The processes of one session. */
export class Managers {
  readonly #parts: ManagerParts;
  readonly #alive = new Map<MortalHost, Connection>();
  /** The machine of each domain, as it was started last, by what it is found by. */
  readonly #handles = new Map<string, string>();
  #begun = false;

  constructor(parts: ManagerParts) {
    this.#parts = parts;
  }

  /** Begins a process. */
  async begin({ pauseGuestAroundPivot = false }: ManagerOptions = {}): Promise<Manager> {
    const { uri, host, openState, probes } = this.#parts;
    // The lock comes first: who is refused has not touched anything.
    const state = openState();
    this.#begun = true;
    const death = Promise.withResolvers<void>();
    const die = () => {
      if (!life.isAlive()) return;
      this.#alive.delete(life);
      life.die();
      state.close();
      death.resolve();
    };
    const life = mortalHost(
      host(),
      die,
      (argv, handle) => void this.#handles.set(nameIn(argv) ?? '', handle),
    );
    const connection = await recoverConnection({
      uri,
      driver: createQemuDriver({ host: life.host, probes }),
      state: mortalState(state, life),
      pauseGuestAroundPivot,
    });
    this.#alive.set(life, connection);
    return {
      connection,
      get alive() {
        return life.isAlive();
      },
      guest: (domainName, disk) => monitorGuest(connection, domainName, disk),
      kill: (domainName) => this.#kill(domainName),
      dieAfter(effects) {
        life.dieAfter(effects);
        return death.promise;
      },
      die,
    };
  }

  #kill(domainName: string): void {
    const handle = this.#handles.get(domainName);
    if (handle !== undefined) this.#parts.kill(handle);
  }

  /** Ends what any of them has started. */
  async close(): Promise<void> {
    if (!this.#begun) return;
    if (this.#alive.size === 0) await this.begin();
    for (const connection of this.#alive.values()) await connection.close();
    this.#alive.clear();
  }
}
