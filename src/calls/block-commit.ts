/** virDomainBlockCommit. */
import { bytesPerSecond } from '../blockjob/bandwidth.ts';
import type { LiveDisk } from '../blockjob/live.ts';
import { planCommit } from '../blockjob/plan.ts';
import { startJob } from '../blockjob/run.ts';
import type { ImageDescription } from '../conf/disk.ts';
import { ErrorCode, VirtError } from '../errors.ts';
import { BlockCommitFlags } from '../flags.ts';
import { guardDisk } from '../guards.ts';
import type { DomainRecord } from '../record.ts';
import { checkFlags, checkNonNull, requireDisk, requireJobSupport } from './checks.ts';
import { findBase, findImage } from './images.ts';

const invalid = (detail: string): VirtError => new VirtError(ErrorCode.INVALID_ARG, detail);

/** See {@link Domain.blockCommit}. */
export async function blockCommit(
  record: DomainRecord,
  name: string,
  base: string | null,
  top: string | null,
  bandwidth: number | bigint,
  flags: number,
): Promise<void> {
  checkNonNull(name, 'disk', 'virDomainBlockCommit');
  checkFlags(flags, BlockCommitFlags, 'qemuDomainBlockCommit');
  await record.locked('DomainBlockCommit', async () => {
    const speed = bytesPerSecond(bandwidth, (flags & BlockCommitFlags.BANDWIDTH_BYTES) !== 0);
    // libvirt looks the names up before it asks whether the domain runs.
    const disk = requireDisk(record.running?.disks ?? inactiveDisks(record), name);
    const topImage = topOf(disk, top);
    const baseImage = baseOf(disk, topImage, base, flags);
    const running = record.requireRunning();
    requireJobSupport(disk);
    guardDisk('start-job', disk.target, running.jobs.onDisk(disk));
    checkActiveFlag(disk, topImage, flags);
    checkShallow(disk, topImage, baseImage, flags);
    await startJob(running.machine, running.jobs, planCommit(disk, topImage, baseImage, speed));
  });
}

/** A shut-off domain's chains are not expanded: each disk has its own image only. */
function inactiveDisks(record: DomainRecord): LiveDisk[] {
  return (record.persistent?.disks ?? []).map((definition) => ({
    definition,
    target: definition.target,
    alias: '',
    chain: definition.source ? [{ ...definition.source, index: 0 }] : [],
    mirror: undefined,
  }));
}

function topOf(disk: LiveDisk, top: string | null): ImageDescription {
  if (top !== null && top !== disk.target) return findImage(disk, top);
  const active = disk.chain[0];
  if (active) return active;
  throw new VirtError(ErrorCode.CONFIG_UNSUPPORTED, `disk ${disk.target} has no source file to be committed`);
}

function baseOf(disk: LiveDisk, top: ImageDescription, base: string | null, flags: number): ImageDescription {
  if (base !== null) return findImage(disk, base, top);
  if ((flags & BlockCommitFlags.SHALLOW) === 0) return findBase(disk, top);
  const below = disk.chain[disk.chain.indexOf(top) + 1];
  if (below) return below;
  const active = disk.chain[0]?.path ?? '';
  throw invalid(`top '${top.path}' in chain for '${active}' has no backing file`);
}

function checkActiveFlag(disk: LiveDisk, top: ImageDescription, flags: number): void {
  const asked = (flags & BlockCommitFlags.ACTIVE) !== 0;
  const active = top === disk.chain[0];
  if (active && !asked) throw invalid(`commit of '${disk.target}' active layer requires active flag`);
  if (!active && asked) throw invalid(`active commit requested but '${top.path}' is not active`);
}

function checkShallow(disk: LiveDisk, top: ImageDescription, base: ImageDescription, flags: number): void {
  if ((flags & BlockCommitFlags.SHALLOW) === 0) return;
  if (disk.chain[disk.chain.indexOf(top) + 1] === base) return;
  throw invalid(
    `base '${base.path}' is not immediately below '${top.path}' in chain for '${disk.chain[0]?.path ?? ''}'`,
  );
}
