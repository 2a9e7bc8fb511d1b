/** The target of simulated QEMUs as processes of their own: the same driver, spawn and sockets as for a real one. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Control, overlay, type Target } from '../../conformance/index.ts';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import type { Emulator, Host } from '../../drivers/qemu/host.ts';
import { createProcessHost } from '../../drivers/qemu/launch.ts';
import { createDiskStore } from '../../mock-qemu/images/disk.ts';
import { controlAt } from './control-client.ts';
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
    hasFaults: true,
    runs: 20,
    shrinks: 40,
    async availability() {
      const probed = await probeDriver(createQemuDriver({ host: mockQemuHost(0) }));
      if (!probed.ok) return probed;
      const capabilities = { ...probed.capabilities, faults: true, restart: true, qmpNbd: false };
      return { ...probed, capabilities, version: `simulated ${probed.version}, one process each` };
    },
    host: mockQemuHost,
    // A store of its own for each look, since the processes write the files behind its back.
    createImage: async (spec) => createStoreImage(createDiskStore(), spec),
    contents: async (path) => storeContents(createDiskStore(), path),
  });
}

/** Hosts may share a directory. */
let launches = 0;

/** Runs `mock-qemu` with this Node, so that no shebang and no PATH is needed, and with a control socket. */
function mockQemuHost(seed: number, directory?: string): Host {
  const host = createProcessHost({ runtimeDir: directory });
  let own: string | undefined;
  // Whoever gave a directory removes it; a process that was killed leaves its socket there.
  const controlDirectory = (): string => {
    own ??= directory ?? mkdtempSync(join(tmpdir(), 'mockvirt-control-'));
    return own;
  };
  return {
    ...host,
    async launch(_emulator, argv, launched) {
      const path = join(controlDirectory(), `control-${process.pid}-${++launches}`);
      const options = [MOCK_QEMU, '--seed', String(seed), '--control', `unix:${path}`];
      const emulator = await host.launch(process.execPath, [...options, ...argv], launched);
      const control: Control = controlAt(path);
      return overlay<Emulator & { readonly control?: Control }>(emulator, { control });
    },
    async close() {
      await host.close();
      if (own !== undefined && own !== directory) rmSync(own, { recursive: true, force: true });
      own = undefined;
    },
  };
}
