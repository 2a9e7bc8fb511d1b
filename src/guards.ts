/**
 * What is refused while a block job runs: one table, with the codes and messages of libvirt 9.0. Which error a disk's
 * own job gives depends on whether it holds a mirror (copy, active commit), in whatever phase it is.
 */
import type { JobRecord } from './blockjob/registry.ts';
import { ErrorCode, ErrorDomain, VirtError } from './errors.ts';

/** A refusal; the detail may name the disk. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly detail: (disk: string) => string;
}

/** `hypervisor`: libvirt asks nothing and QEMU refuses in its own words. */
export type Guard = Refusal | 'allowed' | 'hypervisor';

interface Row {
  /** Whether jobs of the operation's own disk count, or those of any disk of the domain. */
  readonly scope: 'disk' | 'domain';
  readonly mirror: Guard;
  readonly plain: Guard;
}

const refuse = (code: ErrorCode, detail: (disk: string) => string): Refusal => ({ code, detail });
const ALREADY = (disk: string): string => `disk '${disk}' already in active block job`;
const busyMirror = refuse(ErrorCode.BLOCK_COPY_ACTIVE, ALREADY);
const busyPlain = refuse(ErrorCode.OPERATION_UNSUPPORTED, ALREADY);
const busyDomain = refuse(ErrorCode.OPERATION_INVALID, () => 'domain has active block job');
const busyDelete = refuse(
  ErrorCode.OPERATION_UNSUPPORTED,
  () => 'cannot delete external snapshots when there is another active block job',
);
const busyBackup = refuse(ErrorCode.INTERNAL_ERROR, (disk) => `disk '${disk}' has a blockjob assigned`);

const always = (scope: Row['scope'], guard: Guard): Row => ({ scope, mirror: guard, plain: guard });
const byMirror: Row = { scope: 'disk', mirror: busyMirror, plain: busyPlain };

/** The table. An operation that touches only other disks is not guarded: its own disk has no job. */
export const GUARDS = {
  'start-job': byMirror,
  'snapshot-create': byMirror,
  'detach-disk': byMirror,
  save: always('domain', busyDomain),
  'managed-save': always('domain', busyDomain),
  'core-dump': always('domain', busyDomain),
  migrate: always('domain', busyDomain),
  'snapshot-revert': always('domain', busyDomain),
  'snapshot-delete-external': always('domain', busyDelete),
  'snapshot-delete-internal': always('domain', 'allowed'),
  'backup-begin': always('disk', busyBackup),
  resize: always('disk', 'hypervisor'),
  'core-dump-memory': always('domain', 'allowed'),
  'attach-disk': always('domain', 'allowed'),
  'change-medium': always('disk', 'allowed'),
  'checkpoint-create': always('disk', 'allowed'),
  threshold: always('disk', 'allowed'),
  iotune: always('disk', 'allowed'),
  define: always('domain', 'allowed'),
  undefine: always('domain', 'allowed'),
  suspend: always('domain', 'allowed'),
  resume: always('domain', 'allowed'),
  reset: always('domain', 'allowed'),
  shutdown: always('domain', 'allowed'),
  destroy: always('domain', 'allowed'),
} as const satisfies Record<string, Row>;

/** An operation that the table knows. */
export type GuardedOperation = keyof typeof GUARDS;
/** Operations whose own disk's job counts. */
export type GuardedDiskOperation = {
  [K in GuardedOperation]: (typeof GUARDS)[K]['scope'] extends 'domain' ? never : K;
}[GuardedOperation];

/**
 * Refuses an operation on a disk that has a job.
 * @throws VirtError as the table says: BLOCK_COPY_ACTIVE where a mirror is attached, else OPERATION_UNSUPPORTED
 */
export function guardDisk(operation: GuardedDiskOperation, target: string, job: JobRecord | undefined): void {
  check(operation, job, target);
}

/**
 * Refuses an operation on a domain of which some disk has a job.
 * @throws VirtError as the table says
 */
export function guardDomain(operation: GuardedOperation, jobs: readonly JobRecord[]): void {
  for (const job of jobs) check(operation, job, job.disk.target);
}

function check(operation: GuardedOperation, job: JobRecord | undefined, target: string): void {
  if (!job) return;
  const guard: Guard = GUARDS[operation][job.mirrors ? 'mirror' : 'plain'];
  if (typeof guard === 'string') return;
  throw new VirtError(guard.code, guard.detail(target), { domain: ErrorDomain.QEMU });
}
