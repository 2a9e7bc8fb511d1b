/** The target of simulated QEMUs as processes of their own: the same driver, spawn and sockets as for a real one. */
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Target } from '../../conformance/index.ts';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import type { Host } from '../../drivers/qemu/host.ts';
import { createProcessHost } from '../../drivers/qemu/launch.ts';
import { createDiskStore } from '../../mock-qemu/images/disk.ts';
import { probeDriver } from './probe.ts';
import { processTarget } from './process.ts';
import { createStoreImage, storeContents } from './store-images.ts';

/** The `mock-qemu` of this very tree, compiled or not, as this file is. */
const MOCK_QEMU = fileURLToPath(
  new URL(`../../mock-qemu/shells/cli${extname(import.meta.url)}`, import.meta.url),
);

/** Simulated QEMUs behind unix sockets, with their images on disk. */
export function simProcessTarget(): Target {
  return processTarget({
    id: 'sim-process',
    title: 'simulated QEMU, over a unix socket',
    runs: 20,
    shrinks: 40,
    async availability() {
      const probed = await probeDriver(createQemuDriver({ host: mockQemuHost(0) }));
      return probed.ok ? { ...probed, version: `simulated ${probed.version}, one process each` } : probed;
    },
    host: mockQemuHost,
    // A store of its own for each look, since the processes write the files behind its back.
    createImage: async (spec) => createStoreImage(createDiskStore(), spec),
    contents: async (path) => storeContents(createDiskStore(), path),
  });
}

/** Runs `mock-qemu` with this Node, so that no shebang and no PATH is needed. */
function mockQemuHost(seed: number): Host {
  const host = createProcessHost();
  return {
    ...host,
    launch: (_emulator, argv) => host.launch(process.execPath, [MOCK_QEMU, '--seed', String(seed), ...argv]),
  };
}
