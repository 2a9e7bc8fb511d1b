/** The smallest driver that keeps the contracts of the public API; docs/writing-a-driver.md walks through it. */
import type { HypervisorDriver, MachineSpec } from '../../src/driver.ts';
import { ErrorCode, VirtError } from '../../src/errors.ts';
import type { Timers } from '../../src/util/timers.ts';
import { virtualTimers } from './clock.ts';
import { MemoryImages } from './images.ts';
import { MemoryMachine } from './machine.ts';

/** The driver, and what stands in for the guests of its machines. */
export interface MemoryDriver extends HypervisorDriver {
  readonly images: MemoryImages;
  /** @throws VirtError NO_DOMAIN if no machine of that name runs */
  machine(name: string): MemoryMachine;
}

/** Makes a driver with a clock and images of its own. */
export function createMemoryDriver(timers: Timers = virtualTimers()): MemoryDriver {
  const images = new MemoryImages();
  const machines = new Map<string, MemoryMachine>();
  return {
    name: 'memory',
    timers,
    images,
    volumes: images.volumes,
    machine(name) {
      const machine = machines.get(name);
      if (machine) return machine;
      throw new VirtError(ErrorCode.NO_DOMAIN, `no machine named '${name}' runs`);
    },
    async start(spec: MachineSpec) {
      for (const { chain } of spec.disks) for (const { path } of chain) images.open(path);
      const machine = new MemoryMachine(spec, images, timers);
      machines.set(spec.name, machine);
      return machine;
    },
    async close() {
      for (const machine of machines.values()) await machine.destroy();
      machines.clear();
    },
  };
}
