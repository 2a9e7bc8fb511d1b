/** Which operation is refused while what runs: one table, with libvirt 9.0's codes and messages. */
import type { JobRecord } from './blockjob/registry.ts';
import { ErrorCode, ErrorDomain, VirtError } from './errors.ts';

/** Operations that a block job on the same disk stands in the way of. */
export type GuardedDiskOperation = 'start-job';

interface Refusal {
  readonly code: ErrorCode;
  readonly detail: (disk: string) => string;
}

const ALREADY = (disk: string): string => `disk '${disk}' already in active block job`;

/** By operation, then by whether the job holds a mirror: 83 says that a copy can be pivoted or aborted, 84 only wait. */
const DISK_REFUSALS: Readonly<
  Record<GuardedDiskOperation, { readonly mirror: Refusal; readonly plain: Refusal }>
> = {
  'start-job': {
    mirror: { code: ErrorCode.BLOCK_COPY_ACTIVE, detail: ALREADY },
    plain: { code: ErrorCode.OPERATION_UNSUPPORTED, detail: ALREADY },
  },
};

/**
 * Refuses an operation on a disk that has a job.
 * @throws VirtError BLOCK_COPY_ACTIVE (a mirror is attached) or OPERATION_UNSUPPORTED
 */
export function guardDisk(operation: GuardedDiskOperation, target: string, job: JobRecord | undefined): void {
  if (!job) return;
  const refusal = DISK_REFUSALS[operation][job.mirrors ? 'mirror' : 'plain'];
  throw new VirtError(refusal.code, refusal.detail(target), { domain: ErrorDomain.QEMU });
}
