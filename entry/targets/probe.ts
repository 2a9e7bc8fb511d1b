/** What a QEMU target says of itself, asked from one machine without disks. */
import type { Availability } from '../../conformance/target.ts';
import { type HypervisorDriver, isVirtError } from '../../src/index.ts';

const PROBE_UUID = '6d6f636b-7669-4274-8000-000000000000';

/** A usable target's availability, with libvirt's version number. */
export type Probed =
  | (Extract<Availability, { ok: true }> & { readonly versionNumber: number })
  | Extract<Availability, { ok: false }>;

/** Starts and ends one machine; closes the driver. */
export async function probeDriver(driver: HypervisorDriver): Promise<Probed> {
  try {
    const machine = await driver.start({
      name: 'probe',
      uuid: PROBE_UUID,
      memoryBytes: 16 * 1024 * 1024,
      disks: [],
    });
    const { hypervisor, version, copiesReadOnly, ...capabilities } = machine.capabilities;
    const extras = machine.resizeDisk !== undefined && machine.snapshot !== undefined;
    const saves = machine.save !== undefined;
    const commands = await machine.monitorCommand('{"execute":"query-commands"}', false);
    await machine.destroy();
    return {
      ok: true,
      version: hypervisor,
      versionNumber: version,
      capabilities: {
        ...capabilities,
        extras,
        saves,
        early: copiesReadOnly === false,
        qmp: true,
        qmpEndable: true,
        qmpRunning: true,
        qmpUnnamed: true,
        qmpJobChange: commands.includes('"block-job-change"'),
        qmpActive: commands.includes('"blockdev-set-active"'),
        qmpDisks: true,
        qmpNbd: true,
      },
    };
  } catch (error) {
    if (!isVirtError(error)) throw error;
    return { ok: false, reason: error.message };
  } finally {
    await driver.close();
  }
}
