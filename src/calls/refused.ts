/**
 * Calls that are there for the sake of what they refuse: their guard rails are libvirt's, and beyond those the driver
 * contract has nothing to carry them out with.
 */
import { ErrorCode, VirtError } from '../errors.ts';
import { guardDisk } from '../guards.ts';
import type { DomainRecord } from '../record.ts';
import { checkFlags, noSupport } from './checks.ts';

/** virDomainCoreDumpFlags. */
const DumpFlags = { CRASH: 0x1, LIVE: 0x2, BYPASS_CACHE: 0x4, RESET: 0x8, MEMORY_ONLY: 0x10 } as const;

/** virDomainCoreDump: a block job stands in its way unless only memory is dumped. */
export async function coreDump(record: DomainRecord, flags: number): Promise<void> {
  checkFlags(flags, DumpFlags, 'qemuDomainCoreDumpWithFormat');
  await record.locked('DomainCoreDump', async () => {
    const operation = (flags & DumpFlags.MEMORY_ONLY) === 0 ? 'core-dump' : 'core-dump-memory';
    record.requireRunning();
    record.guard(operation);
    throw noSupport('virDomainCoreDump');
  });
}

/** virDomainMigrateToURI. */
export async function migrate(record: DomainRecord): Promise<void> {
  await record.locked('DomainMigratePerform3Params', async () => {
    record.requireRunning();
    const { size } = record.snapshots;
    if (size > 0) {
      throw new VirtError(ErrorCode.OPERATION_INVALID, `cannot migrate domain with ${size} snapshots`);
    }
    record.guard('migrate');
    throw noSupport('virDomainMigrateToURI');
  });
}

/** virDomainBackupBegin, of all disks. */
export async function backupBegin(record: DomainRecord): Promise<void> {
  await record.locked('DomainBackupBegin', async () => {
    const running = record.requireRunning();
    for (const disk of running.disks) guardDisk('backup-begin', disk.target, running.jobs.onDisk(disk));
    throw noSupport('virDomainBackupBegin');
  });
}

/** virDomainRename. */
export async function rename(record: DomainRecord): Promise<void> {
  await record.locked('DomainRename', async () => {
    if (record.running) throw new VirtError(ErrorCode.OPERATION_INVALID, 'cannot rename active domain');
    throw noSupport('virDomainRename');
  });
}
