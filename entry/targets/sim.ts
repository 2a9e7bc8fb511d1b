/** The target of a simulated QEMU inside this process, on virtual time. */
import type { Target } from '../../conformance/index.ts';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import type { ProbeCache } from '../../drivers/qemu/probe.ts';
import { DEFAULT_PROFILE } from '../../mock-qemu/profiles/index.ts';
import { createWorld } from '../../mock-qemu/shells/world.ts';
import { createMockHost } from '../mock-host.ts';
import { probeDriver } from './probe.ts';
import { openSession, ownDriver, tapped } from './session.ts';
import { createStoreImage, storeContents } from './store-images.ts';

/** In a world of its own every case may use the same directory, which keeps traces equal. */
const DIRECTORY = '/images';

/** The simulated QEMU of the default profile. */
export function simTarget(): Target {
  const hostOf = (seed: number) => {
    const world = createWorld({ seed });
    return { world, host: createMockHost(world, DEFAULT_PROFILE) };
  };
  const probes: ProbeCache = new Map();
  return {
    id: 'sim',
    title: 'simulated QEMU, in process',
    runs: 100,
    shrinks: 200,
    // Virtual: an hour of it costs nothing, and nothing that works takes a minute.
    caseDeadlineMs: 600_000,
    async available() {
      const probed = await probeDriver(createQemuDriver({ host: hostOf(0).host }));
      return probed.ok ? { ...probed, version: `simulated ${probed.version}` } : probed;
    },
    async open(options) {
      const { world, host } = hostOf(options.seed);
      const tap = tapped(host, options);
      return openSession({
        uri: 'mock:///embed',
        driver: ownDriver(tap.host, probes, options),
        qmpHost: tap.host,
        ...(tap.trace ? { trace: tap.trace } : {}),
        directory: DIRECTORY,
        createImage: async (spec) => createStoreImage(world.store, spec),
        contents: async (path) => storeContents(world.store, path),
        cleanUp: async () => world.close(),
      });
    },
  };
}
