/** The target of a simulated QEMU inside this process, on virtual time. */
import type { SessionLimits, Target } from '../../conformance/index.ts';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import type { ProbeCache } from '../../drivers/qemu/probe.ts';
import { DEFAULT_PROFILE, profileNamed, profiles } from '../../mock-qemu/profiles/index.ts';
import { type BootedQemu, createWorld } from '../../mock-qemu/shells/world.ts';
import { MemoryState } from '../../src/index.ts';
import { createMockHost } from '../mock-host.ts';
import { Controls } from './controls.ts';
import { observed } from './observer.ts';
import { probeDriver } from './probe.ts';
import { openSession, ownDriver, tapped } from './session.ts';
import { createStoreImage, storeContents } from './store-images.ts';

/** In a world of its own every case may use the same directory, which keeps traces equal. */
const DIRECTORY = '/images';

/** The simulated QEMU of a profile: `sim`, or `sim:PROFILE` where it is not the default one. */
export function simTarget(profile = DEFAULT_PROFILE): Target {
  const hostOf = (seed: number) => {
    const world = createWorld({ seed });
    return { world, host: createMockHost(world, profile) };
  };
  const probes: ProbeCache = new Map();
  return {
    id: profile === DEFAULT_PROFILE ? 'sim' : `sim:${profile}`,
    title: `simulated QEMU, in process, profile ${profile}`,
    hasEarlyWire: isEarly(profile),
    runs: 100,
    shrinks: 200,
    // Virtual: an hour of it costs nothing, and some scenarios take one.
    caseDeadlineMs: 2 * 3_600_000,
    async available() {
      const known = profiles.map(({ name }) => name);
      if (!known.includes(profile)) return { ok: false, reason: unknownProfile(profile, known) };
      const probed = await probeDriver(createQemuDriver({ host: hostOf(0).host }));
      if (!probed.ok) return probed;
      const { commands } = profileNamed(profile).introspection;
      const pivotVerb = commands.includes('block-job-complete');
      const capabilities = {
        ...probed.capabilities,
        qmp: !isEarly(profile),
        faults: true,
        restart: true,
        virtualTime: true,
        pivotVerb,
        earlyQmp: isEarly(profile),
        earlyMirror: isEarly(profile) && pivotVerb,
        redHatMirror: commands.some((name) => name.endsWith('_drive-reopen')),
      };
      return { ...probed, capabilities, version: `simulated ${probed.version}` };
    },
    async open(options) {
      const { world, host: mockHost } = hostOf(options.seed);
      const controls = new Controls();
      const [state, survivors] = [new MemoryState(), new Map<string, BootedQemu>()];
      const host = controls.remember(mockHost, options.faults);
      // The observer comes first, so that what it asks is not on the tapped wire.
      const watched = options.watch ? observed(host) : { host };
      const tap = tapped(watched.host, options);
      return openSession({
        uri: 'mock:///embed',
        driver: ownDriver(tap.host, probes, options),
        qmpHost: tap.host,
        hasEarlyQmp: isEarly(profile),
        controls,
        managers: {
          host: () =>
            tap.tap(controls.remember(createMockHost(world, profile, [], survivors), options.faults)),
          openState: () => state.open(),
          probes: options.wire ? new Map() : probes,
          kill: (handle) => survivors.get(handle)?.signal('SIGKILL'),
        },
        ...(tap.trace ? { trace: tap.trace } : {}),
        ...('dirty' in watched ? { dirty: watched.dirty } : {}),
        directory: DIRECTORY,
        limits: limitsOf(profile),
        createImage: async (spec) => createStoreImage(world.store, spec),
        contents: async (path) => storeContents(world.store, path),
        cleanUp: async () => world.close(),
      });
    },
  };
}

/** Whether a QEMU of this name has no block nodes, and so another wire than today's. */
const isEarly = (profile: string): boolean =>
  profiles.some(({ name, behaviour }) => name === profile && !behaviour.nodeNames);

const unknownProfile = (name: string, known: readonly string[]): string =>
  `unknown profile '${name}'; valid profiles: ${known.join(', ')}`;

/** What the plans of a case have to keep to; a name that is none has no limits. */
function limitsOf(profile: string): SessionLimits {
  const { behaviour } = profileNamed(profile);
  return {
    copyTuning: !isEarly(profile),
    // Whatever the speed, one chunk of at most 1 MiB passes in each 100 ms.
    ballastBytes: behaviour.rateLimit === 'slice' ? 16 << 20 : 0,
  };
}
