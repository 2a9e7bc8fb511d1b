/** The target of a real QEMU. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Availability, Target } from '../../conformance/index.ts';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import { createProcessHost } from '../../drivers/qemu/launch.ts';
import { createHostImage, hostContents, IMAGE_TOOLS_INSTALL, missingImageTools } from './host-images.ts';
import { type Probed, probeDriver } from './probe.ts';
import { openSession } from './session.ts';

/** Debian's emulator, found through PATH. */
export const DEFAULT_EMULATOR = 'qemu-system-x86_64';

/**
 * Looks at an emulator and makes a target of it, named after its version (`qemu-7.2`), or `qemu` where it cannot be
 * used; then `available` says why.
 */
export async function qemuTarget(emulator = DEFAULT_EMULATOR): Promise<Target> {
  const host = () => createProcessHost({ emulator });
  const probed = await probeDriver(createQemuDriver({ host: host() }));
  const availability = await withTools(probed, emulator);
  return {
    id: probed.ok ? `qemu-${majorMinor(probed.versionNumber)}` : 'qemu',
    title: `real QEMU (${emulator})`,
    runs: 5,
    shrinks: 10,
    caseDeadlineMs: 60_000,
    available: async () => availability,
    async open(options) {
      const directory = await mkdtemp(join(tmpdir(), 'mockvirt-case-'));
      return openSession(
        {
          uri: `qemu:///embed?root=${directory}`,
          host: host(),
          directory,
          createImage: createHostImage,
          contents: hostContents,
          cleanUp: () => rm(directory, { recursive: true, force: true }),
        },
        options,
      );
    },
  };
}

/** A real target also needs the image tools; without them it is as good as absent. */
async function withTools(probed: Probed, emulator: string): Promise<Availability> {
  if (!probed.ok) return { ok: false, reason: `${emulator} cannot be used: ${probed.reason}` };
  const missing = await missingImageTools();
  if (missing.length === 0) return probed;
  return { ok: false, reason: `${missing.join(' and ')} missing: ${IMAGE_TOOLS_INSTALL}` };
}

/** libvirt's version number is major * 1,000,000 + minor * 1,000 + micro. */
function majorMinor(versionNumber: number): string {
  return `${Math.floor(versionNumber / 1_000_000)}.${Math.floor(versionNumber / 1_000) % 1_000}`;
}
