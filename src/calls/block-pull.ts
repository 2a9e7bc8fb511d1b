/** virDomainBlockPull. */
import { bytesPerSecond } from '../blockjob/bandwidth.ts';
import { planPull } from '../blockjob/plan.ts';
import { startJob } from '../blockjob/run.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { BlockPullFlags } from '../flags.ts';
import { guardDisk } from '../guards.ts';
import type { DomainRecord } from '../record.ts';
import { checkFlags, checkNonNull, requireDisk, requireJobSupport } from './checks.ts';

/** See {@link Domain.blockPull}. */
export async function blockPull(
  record: DomainRecord,
  name: string,
  bandwidth: number | bigint,
  flags: number,
): Promise<void> {
  checkNonNull(name, 'disk', 'virDomainBlockPull');
  checkFlags(flags, BlockPullFlags, 'qemuDomainBlockPull');
  await record.locked('DomainBlockPull', async () => {
    const running = record.requireRunning();
    const disk = requireDisk(running.disks, name);
    guardDisk('start-job', disk.target, running.jobs.onDisk(disk));
    requireJobSupport(disk);
    const speed = bytesPerSecond(bandwidth, (flags & BlockPullFlags.BANDWIDTH_BYTES) !== 0);
    if (disk.chain.length === 0) throw noMedium();
    await startJob(running.machine, running.jobs, planPull(disk, undefined, speed));
  });
}

/** What an empty drive gives: libvirt finds out only when it builds the command. */
function noMedium(): VirtError {
  return new VirtError(ErrorCode.INTERNAL_ERROR, "argument key 'device' must not have null value", {
    domain: ErrorDomain.NONE,
  });
}
