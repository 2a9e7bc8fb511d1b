/** The target of simulated QEMUs as processes of their own: the same driver, spawn and sockets as for a real one. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Target } from '../../conformance/index.ts';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import type { Host } from '../../drivers/qemu/host.ts';
import { createProcessHost } from '../../drivers/qemu/launch.ts';
import type { ProbeCache } from '../../drivers/qemu/probe.ts';
import { createDiskStore } from '../../mock-qemu/images/disk.ts';
import { probeDriver } from './probe.ts';
import { openSession } from './session.ts';
import { createStoreImage, storeContents } from './store-images.ts';

/** The `mock-qemu` of this very tree, compiled or not, as this file is. */
const MOCK_QEMU = fileURLToPath(
  new URL(`../../mock-qemu/shells/cli${extname(import.meta.url)}`, import.meta.url),
);

/** Simulated QEMUs behind unix sockets, with their images on disk. */
export function simProcessTarget(): Target {
  const probes: ProbeCache = new Map();
  return {
    id: 'sim-process',
    title: 'simulated QEMU, over a unix socket',
    runs: 20,
    shrinks: 40,
    caseDeadlineMs: 60_000,
    concurrency: 3,
    async available() {
      const probed = await probeDriver(createQemuDriver({ host: mockQemuHost(0) }));
      return probed.ok ? { ...probed, version: `simulated ${probed.version}, one process each` } : probed;
    },
    async open(options) {
      const directory = await mkdtemp(join(tmpdir(), 'mockvirt-case-'));
      const store = createDiskStore();
      return openSession(
        {
          uri: `qemu:///embed?root=${directory}`,
          host: mockQemuHost(options.seed),
          probes,
          directory,
          createImage: async (spec) => createStoreImage(store, spec),
          contents: async (path) => storeContents(createDiskStore(), path),
          cleanUp: () => rm(directory, { recursive: true, force: true }),
        },
        { ...options, trace: false },
      );
    },
  };
}

/** Runs `mock-qemu` with this Node, so that no shebang and no PATH is needed. */
function mockQemuHost(seed: number): Host {
  const host = createProcessHost();
  return {
    ...host,
    launch: (_emulator, argv) => host.launch(process.execPath, [MOCK_QEMU, '--seed', String(seed), ...argv]),
  };
}
