/** virDomainBlockJobAbort, virDomainGetBlockJobInfo, virDomainBlockJobSetSpeed. */
import { bitmapsLeftBehind } from '../bitmaps.ts';
import { bytesPerSecond, checkJobSpeed, reportedBandwidth } from '../blockjob/bandwidth.ts';
import { progressOf } from '../blockjob/progress.ts';
import type { JobRecord } from '../blockjob/registry.ts';
import { LEGAL_VERBS, STATE_AFTER } from '../blockjob/states.ts';
import { ErrorCode, isVirtError, VirtError } from '../errors.ts';
import { BlockJobAbortFlags, BlockJobInfoFlags, BlockJobSetSpeedFlags, type BlockJobType } from '../flags.ts';
import type { DomainRecord } from '../record.ts';
import { markMirror, publicType, type RunningDomain } from '../running.ts';
import { checkFlags, checkNonNull, requireDisk } from './checks.ts';

/** virDomainBlockJobInfo. */
export interface BlockJobInfo {
  readonly type: BlockJobType;
  /** MiB/s, or bytes/s with BANDWIDTH_BYTES; 0: unlimited. */
  readonly bandwidth: number;
  /** In the hypervisor's units (bytes for QEMU). Equal to `end` only when a copy or active commit is ready. */
  readonly cur: number;
  readonly end: number;
}

function requireJob(running: RunningDomain, name: string): JobRecord {
  const disk = requireDisk(running.disks, name);
  const job = running.jobs.onDisk(disk);
  if (!job)
    throw new VirtError(ErrorCode.INVALID_ARG, `disk ${disk.target} does not have an active block job`);
  return job;
}

/** See {@link Domain.blockJobAbort}. */
export async function blockJobAbort(record: DomainRecord, name: string, flags: number): Promise<void> {
  checkNonNull(name, 'disk', 'virDomainBlockJobAbort');
  checkFlags(flags, BlockJobAbortFlags, 'qemuDomainBlockJobAbort');
  const verb = (flags & BlockJobAbortFlags.PIVOT) === 0 ? 'abort' : 'pivot';
  await record.locked('DomainBlockJobAbort', async () => {
    const running = record.requireRunning();
    const job = requireJob(running, name);
    checkVerb(job, verb);
    await conclude(record, running, job, verb);
    if ((flags & BlockJobAbortFlags.ASYNC) !== 0) return;
    const end = await job.ended;
    if (verb === 'pivot' && !end.succeeded) {
      const suffix = end.error ? `: ${end.error}` : '';
      throw new VirtError(ErrorCode.OPERATION_FAILED, `block job '${job.id}' failed while pivoting${suffix}`);
    }
  });
}

function checkVerb(job: JobRecord, verb: 'abort' | 'pivot'): void {
  if (LEGAL_VERBS[job.state].includes(verb)) return;
  if (LEGAL_VERBS[job.state].includes('abort')) {
    throw new VirtError(ErrorCode.BLOCK_COPY_ACTIVE, `block job '${job.id}' not ready for pivot yet`);
  }
  throw new VirtError(
    ErrorCode.OPERATION_INVALID,
    `block job on disk '${job.disk.target}' is still being ended`,
  );
}

/** Where the driver pauses the guest itself, that is done here if somebody may have to find out about it later. */
function pausesAroundPivot({ services }: DomainRecord, { machine }: RunningDomain): boolean {
  const needsPause = machine.capabilities.pivotNeedsPause ?? false;
  return services.pausesAroundPivot || (needsPause && services.state !== undefined);
}

/**
 * Marks the job, and writes that down, before the request is sent; a refusal by the hypervisor leaves it as it was.
 */
export async function conclude(
  record: DomainRecord,
  running: RunningDomain,
  job: JobRecord,
  verb: 'abort' | 'pivot',
): Promise<void> {
  if (verb === 'pivot' && pausesAroundPivot(record, running)) await running.pauseForPivot(job.id);
  try {
    await sendVerb(record, running, job, verb);
  } catch (error) {
    // Where nobody knows whether it took effect, the guest stays as it is.
    if (isVirtError(error) && error.outcome === 'none') await running.endPivotPause();
    throw error;
  }
}

async function sendVerb(
  record: DomainRecord,
  running: RunningDomain,
  job: JobRecord,
  verb: 'abort' | 'pivot',
): Promise<void> {
  if (running.jobs.byId(job.id) !== job) {
    throw new VirtError(ErrorCode.OPERATION_INVALID, `No active block job '${job.id}'`);
  }
  const { state } = job;
  const ready = job.disk.mirror?.ready;
  // The transition writes both down.
  markMirror(job.disk, verb);
  try {
    running.jobs.transition(job, STATE_AFTER[verb]);
  } catch (error) {
    markMirror(job.disk, ready);
    throw error;
  }
  try {
    const bitmapsOf = verb === 'pivot' ? bitmapsLeftBehind(record.checkpoints, job) : [];
    await running.machine.concludeJob(job.id, verb, bitmapsOf);
  } catch (error) {
    if (isVirtError(error) && error.outcome === 'none' && running.jobs.byId(job.id) === job) {
      markMirror(job.disk, ready);
      running.jobs.transition(job, state);
    }
    throw error;
  }
}

/** See {@link Domain.getBlockJobInfo}. */
export async function getBlockJobInfo(
  record: DomainRecord,
  name: string,
  flags: number,
): Promise<BlockJobInfo | null> {
  checkNonNull(name, 'disk', 'virDomainGetBlockJobInfo');
  checkFlags(flags, BlockJobInfoFlags, 'qemuDomainGetBlockJobInfo');
  return record.locked('DomainGetBlockJobInfo', async () => {
    const running = record.requireRunning();
    const job = running.jobs.onDisk(requireDisk(running.disks, name));
    if (!job) return null;
    const snapshot = (await running.machine.jobs()).find(({ id }) => id === job.id);
    const inBytes = (flags & BlockJobInfoFlags.BANDWIDTH_BYTES) !== 0;
    const bandwidth = reportedBandwidth(snapshot?.speedBytesPerSecond ?? 0, inBytes);
    return { type: publicType(job), bandwidth, ...progressOf(snapshot) };
  });
}

/** See {@link Domain.blockJobSetSpeed}. */
export async function blockJobSetSpeed(
  record: DomainRecord,
  name: string,
  bandwidth: number | bigint,
  flags: number,
): Promise<void> {
  checkNonNull(name, 'disk', 'virDomainBlockJobSetSpeed');
  checkFlags(flags, BlockJobSetSpeedFlags, 'qemuDomainBlockJobSetSpeed');
  const speed = bytesPerSecond(bandwidth, (flags & BlockJobSetSpeedFlags.BANDWIDTH_BYTES) !== 0);
  await record.locked('DomainBlockJobSetSpeed', async () => {
    const running = record.requireRunning();
    const job = requireJob(running, name);
    checkJobSpeed(speed);
    await running.machine.setJobSpeed(job.id, speed);
  });
}
