/** The target of a real QEMU. */
import { constants } from 'node:fs';
import { access, realpath } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { Availability, Target } from '../../conformance/index.ts';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import { createProcessHost } from '../../drivers/qemu/launch.ts';
import { createHostImage, hostContents, missingImageTools } from './host-images.ts';
import { type Probed, probeDriver } from './probe.ts';
import { processTarget } from './process.ts';

/** What distributions call their emulator for this machine; the first one is Debian's. */
const EMULATORS = ['qemu-system-x86_64', 'qemu-kvm', '/usr/libexec/qemu-kvm'];
const INSTALL = 'apt-get install qemu-system-x86 qemu-utils';

/** A target for each real QEMU that is found here, or one that says how to install it. */
export async function foundQemuTargets(): Promise<Target[]> {
  const found = new Map<string, string>();
  for (const name of EMULATORS) {
    const path = await executable(name);
    // Several names may lead to one program.
    if (path !== undefined && !found.has(path)) found.set(path, name);
  }
  return found.size > 0 ? qemuTargets([...found.values()]) : [missingQemu()];
}

/** A target for each of these emulators. */
export async function qemuTargets(emulators: readonly string[]): Promise<Target[]> {
  const targets: Target[] = [];
  for (const emulator of emulators) targets.push(await qemuTarget(emulator));
  return targets;
}

/** The real path of a program, looked for as a shell does; undefined if there is none. */
async function executable(name: string): Promise<string | undefined> {
  const directories = name.includes('/') ? [''] : (process.env.PATH ?? '').split(delimiter);
  for (const directory of directories) {
    const path = directory === '' ? name : join(directory, name);
    const canRun = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (canRun) return realpath(path);
  }
  return undefined;
}

function missingQemu(): Target {
  const reason = `no QEMU found; install one with: ${INSTALL}`;
  return {
    id: 'qemu',
    title: 'real QEMU',
    available: async () => ({ ok: false, reason }),
    open: () => Promise.reject(new Error(reason)),
  };
}

/**
 * Looks at an emulator and makes a target of it, named after its version (`qemu-MAJOR.MINOR`), or `qemu` where it cannot be
 * used; then `available` says why.
 */
export async function qemuTarget(emulator: string): Promise<Target> {
  const host = (_seed?: number, directory?: string) => createProcessHost({ emulator, runtimeDir: directory });
  const probed = await probeDriver(createQemuDriver({ host: host() }));
  const availability = await withTools(probed, emulator);
  const target = processTarget({
    id: probed.ok ? `qemu-${majorMinor(probed.versionNumber)}` : 'qemu',
    title: `real QEMU (${emulator})`,
    runs: 5,
    shrinks: 10,
    availability: async () => availability,
    host,
    createImage: createHostImage,
    contents: hostContents,
  });
  return { ...target, choice: `qemu=${emulator}` };
}

/** A real target also needs the image tools; without them it is as good as absent. */
async function withTools(probed: Probed, emulator: string): Promise<Availability> {
  if (!probed.ok) return { ok: false, reason: `${emulator} cannot be used: ${probed.reason}` };
  const missing = await missingImageTools();
  const { capabilities } = probed;
  if (missing.length === 0) return { ...probed, capabilities: { ...capabilities, restart: true } };
  return { ok: false, reason: `${missing.join(' and ')} missing; install with: ${INSTALL}` };
}

/** libvirt's version number is major * 1,000,000 + minor * 1,000 + micro. */
function majorMinor(versionNumber: number): string {
  return `${Math.floor(versionNumber / 1_000_000)}.${Math.floor(versionNumber / 1_000) % 1_000}`;
}
