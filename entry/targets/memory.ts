/** The target of the driver in memory: what a target for a driver of one's own looks like. */
import { canonicalRuns, type Session, type Target } from '../../conformance/index.ts';
import { createMemoryDriver } from '../../drivers/memory/driver.ts';
import { type MemoryImages, SECTOR_BYTES } from '../../drivers/memory/images.ts';
import { MEMORY_CAPABILITIES } from '../../drivers/memory/machine.ts';
import { openConnection } from '../../src/index.ts';

/** A driver in memory, on virtual time. It has no wire, and so none of the `qmp/` contracts. */
export function memoryTarget(): Target {
  const { hypervisor, version: _, ...capabilities } = MEMORY_CAPABILITIES;
  return {
    id: 'memory',
    title: 'the driver in memory',
    runs: 30,
    available: async () => ({
      ok: true,
      version: hypervisor,
      capabilities: { ...capabilities, anyDisk: true },
    }),
    open: async () => openMemory(),
  };
}

function openMemory(): Session {
  const driver = createMemoryDriver();
  const connection = openConnection({ uri: 'memory:///embed', driver });
  return {
    connection,
    directory: '/images',
    async createImage({ writes, ...spec }) {
      driver.images.create(spec);
      for (const write of writes) driver.images.write(spec.path, write);
    },
    contents: async (path) => contentsOf(driver.images, path),
    guest: (domainName, disk) => ({
      write: async (write) => driver.machine(domainName).guestWrite(disk, write),
      flush: async () => {},
    }),
    dispose: () => connection.close(),
  };
}

function contentsOf(images: MemoryImages, path: string) {
  const sectors = Array.from(images.open(path).sectors.keys());
  return canonicalRuns(
    sectors.map((sector) => ({
      offsetBytes: sector * SECTOR_BYTES,
      lengthBytes: SECTOR_BYTES,
      byte: Math.max(0, images.read(path, sector)),
    })),
  );
}
