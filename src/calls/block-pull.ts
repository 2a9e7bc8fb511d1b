/** virDomainBlockPull, and virDomainBlockRebase where it pulls. */
import { bytesPerSecond, checkJobSpeed } from '../blockjob/bandwidth.ts';
import type { LiveDisk } from '../blockjob/live.ts';
import { planPull } from '../blockjob/plan.ts';
import { relativeBackingName } from '../blockjob/relative.ts';
import { startJob } from '../blockjob/run.ts';
import type { ImageDescription } from '../conf/disk.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { BlockPullFlags, BlockRebaseFlags } from '../flags.ts';
import { guardDisk } from '../guards.ts';
import type { DomainRecord } from '../record.ts';
import { requireCheckpointSupport } from './checkpoints.ts';
import { checkFlags, checkNonNull, requireDisk, requireJobSupport } from './checks.ts';
import { findImage } from './images.ts';

/** See {@link Domain.blockPull}. */
export async function blockPull(
  record: DomainRecord,
  name: string,
  bandwidth: number | bigint,
  flags: number,
): Promise<void> {
  checkNonNull(name, 'disk', 'virDomainBlockPull');
  checkFlags(flags, BlockPullFlags, 'qemuDomainBlockPull');
  await pull(record, { call: 'DomainBlockPull', name, base: null, bandwidth, flags });
}

/** A pull as both calls ask for it; the flags are those of a rebase, of which a pull's are a part. */
export interface PullArguments {
  readonly call: string;
  readonly name: string;
  readonly base: string | null;
  readonly bandwidth: number | bigint;
  readonly flags: number;
}

/** libvirt: qemuDomainBlockPullCommon. */
export async function pull(record: DomainRecord, { call, name, base, bandwidth, flags }: PullArguments) {
  record.requireKnown();
  const relative = (flags & BlockRebaseFlags.RELATIVE) !== 0;
  if (relative && base === null) {
    throw new VirtError(
      ErrorCode.INVALID_ARG,
      'flag VIR_DOMAIN_BLOCK_REBASE_RELATIVE is valid only with non-null base',
    );
  }
  await record.locked(call, async () => {
    const running = record.requireRunning();
    requireCheckpointSupport(record, running);
    const disk = requireDisk(running.disks, name);
    guardDisk('start-job', disk.target, running.jobs.onDisk(disk));
    requireJobSupport(disk);
    const baseImage = base === null ? undefined : findImage(disk, base, 'below-active');
    const backingName = baseImage && (relative ? relativeName(disk, baseImage) : baseImage.path);
    const speed = bytesPerSecond(bandwidth, (flags & BlockRebaseFlags.BANDWIDTH_BYTES) !== 0);
    if (disk.chain.length === 0) throw noMedium();
    checkJobSpeed(speed);
    await startJob(running.machine, running.jobs, planPull(disk, baseImage, speed, backingName));
  });
}

/** What the active image will call the base: every name on the way down has to be relative. */
function relativeName(disk: LiveDisk, base: ImageDescription): string {
  return keepRelative(disk.chain.slice(1, disk.chain.indexOf(base) + 1));
}

/**
 * The relative name of the last of `images` as seen from above the first.
 * @throws VirtError OPERATION_INVALID if the chain is recorded by absolute names
 */
export function keepRelative(images: readonly ImageDescription[]): string {
  const name = relativeBackingName(images);
  if (name !== undefined) return name;
  throw new VirtError(ErrorCode.OPERATION_INVALID, "can't keep relative backing relationship");
}

/** What an empty drive gives: libvirt finds out only when it builds the command. */
function noMedium(): VirtError {
  return new VirtError(ErrorCode.INTERNAL_ERROR, "argument key 'device' must not have null value", {
    domain: ErrorDomain.NONE,
  });
}
