/**
 * The suite for vitest: `vitestBindings` for {@link defineConformance}, and a `test` whose fixtures are a simulated
 * QEMU, so that an application under test meets one without any set-up of its own.
 */
import { test as base } from 'vitest';
import type { DiskPlan } from '../conformance/arbitraries.ts';
import type { Vm } from '../conformance/index.ts';
import { Monitor, World } from '../conformance/index.ts';
import { simTarget } from './targets/sim.ts';

export { vitestBindings } from '../conformance/vitest.ts';

/** Virtual time: it passes only while everybody waits, and then at once. */
export interface Clock {
  /** Milliseconds since the simulation began. */
  now(): number;
  /** Resolves when so many virtual ms have passed. */
  sleep(ms: number): Promise<void>;
}

/** What a test can ask for by name. */
export interface Fixtures {
  /** Seed of everything random; override it with `test.extend({ seed: 7 })`. */
  readonly seed: number;
  /** The disk of `vm`; override it with `test.extend({ disk: … })`. */
  readonly disk: DiskPlan;
  /** A simulation of the test's own: a connection, its events, and a way to wait for facts. */
  readonly world: World;
  /** A running domain with the one disk `vda`. */
  readonly vm: Vm;
  /** A QMP connection to a simulated QEMU without disks, past its greeting and negotiation. */
  readonly qmp: Monitor;
  readonly clock: Clock;
}

const MIB = 1024 * 1024;

/** 64 MiB, with 1 MiB of data in a backing file and some on top of it. */
const DISK: DiskPlan = {
  capacityBytes: 64 * MIB,
  isDeclared: true,
  layers: [
    { format: 'qcow2', writes: [{ offsetBytes: 0, lengthBytes: MIB, byte: 0x11 }] },
    { format: 'qcow2', writes: [{ offsetBytes: MIB / 2, lengthBytes: MIB / 2, byte: 0x22 }] },
  ],
};

/** vitest's `test`, with {@link Fixtures}. Each is made when a test first asks for it, and put away at its end. */
export const test = base.extend<Fixtures>({
  seed: 1,
  disk: DISK,
  async world({ seed }, use) {
    const session = await simTarget().open({ seed });
    try {
      await use(new World(session));
    } finally {
      await session.dispose();
    }
  },
  async vm({ world, disk }, use) {
    await use(await world.start(disk));
  },
  async qmp({ world }, use) {
    await use(await Monitor.ready(world));
  },
  async clock({ world: { timers } }, use) {
    await use({
      now: () => timers.now(),
      sleep: (ms) => new Promise((resolve) => void timers.after(ms, resolve)),
    });
  },
});
