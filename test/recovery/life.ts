/**
 * Lives and deaths of a management process in the simulation: every effect that it has on the outside (a journal entry,
 * bytes sent, bytes taken) is a point where it, its QEMU, or both can be made to die.
 */
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import type { Emulator, Host } from '../../drivers/qemu/host.ts';
import type { ProbeCache } from '../../drivers/qemu/probe.ts';
import { createMockHost } from '../../entry/mock-host.ts';
import { DEFAULT_PROFILE } from '../../mock-qemu/profiles/index.ts';
import { type BootedQemu, createWorld, type World } from '../../mock-qemu/shells/world.ts';
import { type Connection, MemoryState, recoverConnection, type StateStore } from '../../src/index.ts';
import type { Duplex } from '../../src/qmp/duplex.ts';

/** How long news from QEMU take. */
const LATENCY_MS = 5;

/** Who dies. */
export const VICTIMS = ['qemu', 'management', 'both'] as const;
export type Victim = (typeof VICTIMS)[number];

/** What outlives every management process. */
export class Site {
  readonly world: World;
  readonly state = new MemoryState();
  readonly survivors = new Map<string, BootedQemu>();
  readonly probes: ProbeCache;
  readonly profile: string;

  constructor(seed: number, probes: ProbeCache = new Map(), profile = DEFAULT_PROFILE) {
    this.world = createWorld({ seed });
    this.probes = probes;
    this.profile = profile;
  }

  /** The machine that was started last. */
  get qemu(): BootedQemu {
    const last = [...this.survivors.values()].at(-1);
    if (!last) throw new Error('no machine was started');
    return last;
  }

  /** Begins a life. */
  async begin(options: LifeOptions = {}): Promise<Life> {
    const life = new Life(this, options);
    await life.open();
    return life;
  }
}

/** How a management process lives. */
export interface LifeOptions {
  readonly pauseGuestAroundPivot?: boolean;
  /** Breaks the store on purpose. */
  readonly wrapState?: (store: StateStore) => StateStore;
}

/** One management process. */
export class Life {
  readonly #site: Site;
  readonly #options: LifeOptions;
  readonly #links = new Set<Duplex>();
  #alive = true;
  readonly #death = Promise.withResolvers<undefined>();
  #effects = 0;
  #crash: { readonly at: number; readonly victim: Victim } | undefined;
  #connection: Connection | undefined;

  constructor(site: Site, options: LifeOptions) {
    this.#site = site;
    this.#options = options;
  }

  get connection(): Connection {
    if (!this.#connection) throw new Error('this life has no connection');
    return this.#connection;
  }

  /** Settles when it dies. */
  get died(): Promise<undefined> {
    return this.#death.promise;
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** How many effects it has had. */
  get effects(): number {
    return this.#effects;
  }

  /** Has somebody die right before the effect after `effects` more. */
  crashAfter(effects: number, victim: Victim): void {
    this.#crash = { at: this.#effects + effects, victim };
  }

  async open(): Promise<void> {
    const { state } = this.#site;
    const store = this.#mortalStore(this.#options.wrapState?.(state.open()) ?? state.open());
    this.#connection = await recoverConnection({
      uri: 'mock:///embed',
      driver: createQemuDriver({ host: this.#mortalHost(), probes: this.#site.probes }),
      state: store,
      pauseGuestAroundPivot: this.#options.pauseGuestAroundPivot ?? false,
    });
  }

  /** The process is gone from one moment to the next: what it had not sent is never sent. */
  die(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#site.state.seize();
    for (const link of this.#links) link.close();
    this.#death.resolve(undefined);
  }

  /** Before an effect; false: it does not happen any more. */
  #point(): boolean {
    if (!this.#alive) return false;
    if (this.#crash?.at === this.#effects) {
      const { victim } = this.#crash;
      this.#crash = undefined;
      if (victim !== 'management') this.#site.qemu.signal('SIGKILL');
      if (victim !== 'qemu') this.die();
    }
    this.#effects += 1;
    return this.#alive;
  }

  #mortalStore(store: StateStore): StateStore {
    return {
      load: () => store.load(),
      write: (key, text) => {
        if (this.#point()) store.write(key, text);
      },
      remove: (key) => {
        if (this.#point()) store.remove(key);
      },
      close: () => {
        if (this.#alive) store.close();
      },
    };
  }

  #mortalHost(): Host {
    const { world, profile, survivors } = this.#site;
    const host = createMockHost(world, profile, [], survivors);
    const emulator = (inner: Emulator): Emulator => ({
      ...inner,
      connect: async () => this.#mortalLink(await inner.connect()),
      terminate: () => (this.#alive ? inner.terminate() : new Promise(() => undefined)),
    });
    return {
      ...host,
      timers: {
        now: () => world.timers.now(),
        after: (delayMs, callback) => world.timers.after(delayMs, () => this.#alive && callback()),
      },
      launch: async (name, argv, launched) => emulator(await host.launch(name, argv, launched)),
      async attach(handle) {
        const found = await host.attach?.(handle);
        return found && emulator(found);
      },
    };
  }

  #mortalLink(inner: Duplex): Duplex {
    const { world } = this.#site;
    this.#links.add(inner);
    return {
      write: (bytes) => {
        if (this.#point()) inner.write(bytes);
      },
      onData: (listener) =>
        inner.onData((bytes) => {
          // The guest goes on while news are on their way: only so is there something to lose.
          world.timers.after(LATENCY_MS, () => {
            if (this.#point()) listener(bytes);
          });
        }),
      onClose: (listener) =>
        inner.onClose((cause) => {
          world.timers.after(LATENCY_MS, () => {
            if (this.#alive) listener(cause);
          });
        }),
      close: () => {
        if (this.#alive) inner.close();
      },
    };
  }
}
