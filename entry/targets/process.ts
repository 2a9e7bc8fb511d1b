/** What the targets with processes share: a directory per case, and one driver for all cases. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Availability, Session, Target } from '../../conformance/index.ts';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import type { Host } from '../../drivers/qemu/host.ts';
import { killHandle } from '../../drivers/qemu/survivors.ts';
import type { HypervisorDriver } from '../../src/index.ts';
import { openFileState } from '../file-state.ts';
import { Controls } from './controls.ts';
import { borrowDriver, openSession, ownDriver, tapped } from './session.ts';

/** What differs between them. */
export interface ProcessTargetParts {
  readonly id: string;
  readonly title: string;
  /** Its emulators can be asked for what only a simulation can do. */
  readonly hasFaults?: boolean;
  readonly runs: number;
  readonly shrinks: number;
  readonly availability: () => Promise<Availability>;
  /** `directory` is where sockets go; the system's own when left out. */
  readonly host: (seed: number, directory?: string) => Host;
  readonly createImage: Session['createImage'];
  readonly contents: Session['contents'];
}

/** Makes a target whose cases run as processes on this machine, on the wall clock. */
export function processTarget(parts: ProcessTargetParts): Target {
  // A driver keeps a helper process for image headers; one for all cases halves what there is to start.
  const shared = new Map<number, HypervisorDriver>();
  const controls = new Controls();
  const sharedDriver = (seed: number): HypervisorDriver => {
    const driver = shared.get(seed) ?? createQemuDriver({ host: controls.remember(parts.host(seed)) });
    shared.set(seed, driver);
    return borrowDriver(driver);
  };
  return {
    id: parts.id,
    title: parts.title,
    runs: parts.runs,
    shrinks: parts.shrinks,
    caseDeadlineMs: 60_000,
    concurrency: 3,
    available: parts.availability,
    async open(options) {
      const { seed, wire, trace, faults } = options;
      const directory = await mkdtemp(join(tmpdir(), 'mockvirt-case-'));
      const { host, tap, trace: traced } = tapped(controls.remember(parts.host(seed), faults), options);
      const driver = wire || trace || faults ? ownDriver(host, new Map(), options) : sharedDriver(seed);
      return openSession({
        uri: `qemu:///embed?root=${directory}`,
        driver,
        ...(traced ? { trace: traced } : {}),
        directory,
        createImage: parts.createImage,
        contents: parts.contents,
        qmpHost: host,
        limits: { copyTuning: true, ballastBytes: 0, dearContents: true },
        ...(parts.hasFaults ? { controls } : {}),
        managers: {
          host: () => tap(controls.remember(parts.host(seed, directory), faults)),
          openState: () => openFileState(join(directory, 'state')),
          probes: new Map(),
          kill: killHandle,
        },
        cleanUp: () => rm(directory, { recursive: true, force: true }),
      });
    },
    async close() {
      const drivers = [...shared.values()];
      shared.clear();
      await Promise.all(drivers.map((driver) => driver.close()));
    },
  };
}
