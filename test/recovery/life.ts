/**
 * Lives and deaths of a management process in the simulation: every effect that it has on the outside (a journal entry,
 * bytes sent, bytes taken) is a point where it, its QEMU, or both can be made to die.
 */
import { overlay } from '../../conformance/index.ts';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import type { Emulator, Host } from '../../drivers/qemu/host.ts';
import type { ProbeCache } from '../../drivers/qemu/probe.ts';
import { createMockHost } from '../../entry/mock-host.ts';
import { type MortalHost, mortalHost, mortalState } from '../../entry/targets/mortal.ts';
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
  readonly #mortal: MortalHost;
  readonly #death = Promise.withResolvers<undefined>();
  #victim: Victim = 'management';
  #connection: Connection | undefined;

  constructor(site: Site, options: LifeOptions) {
    const { world, profile, survivors } = site;
    this.#site = site;
    this.#options = options;
    const host = slowed(createMockHost(world, profile, [], survivors));
    this.#mortal = mortalHost(
      host,
      () => this.#strike(),
      () => undefined,
    );
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
    return this.#mortal.isAlive();
  }

  /** How many effects it has had. */
  get effects(): number {
    return this.#mortal.effects();
  }

  /** Has somebody die right before the effect after `effects` more. */
  crashAfter(effects: number, victim: Victim): void {
    this.#victim = victim;
    this.#mortal.dieAfter(effects);
  }

  async open(): Promise<void> {
    const { state, probes } = this.#site;
    const { wrapState = (store) => store, pauseGuestAroundPivot = false } = this.#options;
    this.#connection = await recoverConnection({
      uri: 'mock:///embed',
      driver: createQemuDriver({ host: this.#mortal.host, probes }),
      state: mortalState(wrapState(state.open()), this.#mortal),
      pauseGuestAroundPivot,
    });
  }

  /** The process is gone from one moment to the next: what it had not sent is never sent. */
  die(): void {
    if (!this.alive) return;
    this.#site.state.seize();
    this.#mortal.die();
    this.#death.resolve(undefined);
  }

  #strike(): void {
    this.#mortal.dieAfter(Number.POSITIVE_INFINITY);
    if (this.#victim !== 'management') this.#site.qemu.signal('SIGKILL');
    if (this.#victim !== 'qemu') this.die();
  }
}

/** A host whose news are on their way for a while: the guest goes on meanwhile, only so is there something to lose. */
function slowed(host: Host): Host {
  const { attach } = host;
  const late = (tell: () => void) => void host.timers.after(LATENCY_MS, tell);
  const link = (inner: Duplex): Duplex => ({
    write: (bytes) => inner.write(bytes),
    onData: (listener) => inner.onData((bytes) => late(() => listener(bytes))),
    onClose: (listener) => inner.onClose((cause) => late(() => listener(cause))),
    close: () => inner.close(),
  });
  const slow = (emulator: Emulator): Emulator =>
    overlay(emulator, { connect: async () => link(await emulator.connect()) });
  return overlay(host, {
    launch: async (name, argv, launched) => slow(await host.launch(name, argv, launched)),
    ...(attach && {
      async attach(handle) {
        const found = await attach.call(host, handle);
        return found && slow(found);
      },
    }),
  });
}
