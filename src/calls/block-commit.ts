/** virDomainBlockCommit. */
import { bytesPerSecond, checkJobSpeed } from '../blockjob/bandwidth.ts';
import type { LiveDisk } from '../blockjob/live.ts';
import { planCommit } from '../blockjob/plan.ts';
import { startJob } from '../blockjob/run.ts';
import type { ImageDescription } from '../conf/disk.ts';
import { ErrorCode, VirtError } from '../errors.ts';
import { BlockCommitFlags } from '../flags.ts';
import { guardDisk } from '../guards.ts';
import type { DomainRecord } from '../record.ts';
import { keepRelative } from './block-pull.ts';
import { requireCheckpointSupport } from './checkpoints.ts';
import { checkFlags, checkNonNull, requireDisk, requireJobSupport } from './checks.ts';
import { findBase, findImage } from './images.ts';

const has = (flags: number, flag: keyof typeof BlockCommitFlags): boolean =>
  (flags & BlockCommitFlags[flag]) !== 0;

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
    const speed = bytesPerSecond(bandwidth, has(flags, 'BANDWIDTH_BYTES'));
    // libvirt looks the names up before it asks whether the domain runs.
    const disk = requireDisk(record.running?.disks ?? inactiveDisks(record), name);
    const topImage = topOf(disk, top);
    const baseImage = baseOf(disk, topImage, base, flags);
    const running = record.requireRunning();
    requireJobSupport(disk);
    if (!topImage) throw noMedium(disk);
    guardDisk('start-job', disk.target, running.jobs.onDisk(disk));
    requireCheckpointSupport(record, running);
    checkActiveFlag(disk, topImage, flags);
    if (!baseImage) throw noBacking(disk, topImage);
    checkShallow(disk, topImage, baseImage, flags);
    const backingName = backingNameOf(disk, topImage, baseImage, flags);
    checkJobSpeed(speed);
    const choice = {
      speedBytesPerSecond: speed,
      backingName,
      deletes: has(flags, 'DELETE'),
    };
    await startJob(running.machine, running.jobs, planCommit(disk, topImage, baseImage, choice));
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

/** undefined: an empty drive, which is found out only later. */
function topOf(disk: LiveDisk, top: string | null): ImageDescription | undefined {
  return top === null || top === disk.target ? disk.chain[0] : findImage(disk, top);
}

/** undefined: a shallow commit of what has nothing below it, which is found out only later. */
function baseOf(
  disk: LiveDisk,
  top: ImageDescription | undefined,
  base: string | null,
  flags: number,
): ImageDescription | undefined {
  if (base !== null) return findImage(disk, base, top ?? 'below-active');
  if (!has(flags, 'SHALLOW')) return findBase(disk, top);
  return top && disk.chain[disk.chain.indexOf(top) + 1];
}

const activePath = (disk: LiveDisk): string => disk.chain[0]?.path ?? '';

function noMedium({ target }: LiveDisk): VirtError {
  return new VirtError(ErrorCode.CONFIG_UNSUPPORTED, `disk ${target} has no source file to be committed`);
}

function noBacking(disk: LiveDisk, top: ImageDescription): VirtError {
  return invalid(`top '${top.path}' in chain for '${activePath(disk)}' has no backing file`);
}

function checkActiveFlag(disk: LiveDisk, top: ImageDescription, flags: number): void {
  const asked = has(flags, 'ACTIVE');
  const active = top === disk.chain[0];
  if (active && !asked) throw invalid(`commit of '${disk.target}' active layer requires active flag`);
  if (!active && asked) throw invalid(`active commit requested but '${top.path}' is not active`);
}

function checkShallow(disk: LiveDisk, top: ImageDescription, base: ImageDescription, flags: number): void {
  if (!has(flags, 'SHALLOW')) return;
  if (disk.chain[disk.chain.indexOf(top) + 1] === base) return;
  throw invalid(
    `base '${base.path}' is not immediately below '${top.path}' in chain for '${activePath(disk)}'`,
  );
}

/** RELATIVE means nothing to an active commit: no header is rewritten by it. */
function backingNameOf(disk: LiveDisk, top: ImageDescription, base: ImageDescription, flags: number): string {
  if (!has(flags, 'RELATIVE') || top === disk.chain[0]) return base.path;
  return keepRelative(disk.chain.slice(disk.chain.indexOf(top), disk.chain.indexOf(base) + 1));
}
