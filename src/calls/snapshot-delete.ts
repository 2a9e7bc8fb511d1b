/** virDomainSnapshotDelete and virDomainRevertToSnapshot. */
import { planCommit } from '../blockjob/plan.ts';
import { startJob } from '../blockjob/run.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { SnapshotDeleteFlags, SnapshotListFlags, SnapshotRevertFlags } from '../flags.ts';
import type { DomainRecord } from '../record.ts';
import type { RunningDomain } from '../running.ts';
import type { SnapshotEntry } from '../snapshots.ts';
import { conclude } from './block-job.ts';
import { checkFlags } from './checks.ts';
import { passes } from './list-filter.ts';

function checkExclusive(flags: number, first: [string, number], second: [string, number]): void {
  if ((flags & first[1]) === 0 || (flags & second[1]) === 0) return;
  throw new VirtError(
    ErrorCode.INVALID_ARG,
    `Flags 'VIR_DOMAIN_SNAPSHOT_${first[0]}' and 'VIR_DOMAIN_SNAPSHOT_${second[0]}' are mutually exclusive`,
    { domain: ErrorDomain.DOMAIN_SNAPSHOT, bare: true },
  );
}

/**
 * The snapshot of that name.
 * @throws VirtError NO_DOMAIN_SNAPSHOT
 */
export function requireSnapshot(record: DomainRecord, name: string): SnapshotEntry {
  const entry = record.snapshots.byName(name);
  if (entry) return entry;
  throw new VirtError(ErrorCode.NO_DOMAIN_SNAPSHOT, `no domain snapshot with matching name '${name}'`);
}

/** See {@link Domain.revertToSnapshot}. */
export async function snapshotRevert(record: DomainRecord, name: string, flags: number): Promise<void> {
  const { RUNNING, PAUSED } = SnapshotRevertFlags;
  checkExclusive(flags, ['REVERT_RUNNING', RUNNING], ['REVERT_PAUSED', PAUSED]);
  checkFlags(flags, SnapshotRevertFlags, 'qemuSnapshotRevert');
  await record.locked('DomainRevertToSnapshot', async () => {
    requireSnapshot(record, name);
    record.guard('snapshot-revert');
    if (!record.persistent && (flags & (RUNNING | PAUSED)) === 0) {
      throw new VirtError(
        ErrorCode.OPERATION_INVALID,
        'transient domain needs to request run or pause to revert to inactive snapshot',
      );
    }
    // Every snapshot here is an external one, and libvirt 9.0 cannot go back to those.
    throw new VirtError(ErrorCode.CONFIG_UNSUPPORTED, 'revert to external snapshot not supported yet');
  });
}

/** See {@link DomainSnapshot.delete}. */
export async function snapshotDelete(record: DomainRecord, name: string, flags: number): Promise<void> {
  const { CHILDREN, CHILDREN_ONLY, METADATA_ONLY } = SnapshotDeleteFlags;
  checkExclusive(flags, ['DELETE_CHILDREN', CHILDREN], ['DELETE_CHILDREN_ONLY', CHILDREN_ONLY]);
  checkFlags(flags, SnapshotDeleteFlags, 'qemuSnapshotDelete');
  await record.locked('DomainSnapshotDelete', async () => {
    const entry = requireSnapshot(record, name);
    const withChildren = (flags & (CHILDREN | CHILDREN_ONLY)) !== 0;
    if ((flags & METADATA_ONLY) !== 0) {
      record.guard('snapshot-delete-internal');
      const doomed = withChildren ? descendants(record, entry) : [];
      for (const child of doomed) record.snapshots.remove(child);
      if ((flags & CHILDREN_ONLY) === 0) record.snapshots.remove(entry);
      return;
    }
    if (withChildren) {
      throw new VirtError(
        ErrorCode.CONFIG_UNSUPPORTED,
        'deletion of external children disk snapshots not supported',
      );
    }
    await mergeImages(record, entry);
    record.snapshots.remove(entry);
  });
}

function descendants(record: DomainRecord, entry: SnapshotEntry): SnapshotEntry[] {
  return record.snapshots.childrenOf(entry).flatMap((child) => [...descendants(record, child), child]);
}

/** Commits each overlay of the snapshot into what is below it and unlinks it, as blockCommit with DELETE does. */
async function mergeImages(record: DomainRecord, { definition }: SnapshotEntry): Promise<void> {
  const { running } = record;
  if (!running) {
    throw new VirtError(
      ErrorCode.OPERATION_UNSUPPORTED,
      'external snapshots of a domain that is shut off are not deleted here: start it first',
    );
  }
  record.guard('snapshot-delete-external');
  for (const { name, overlay } of definition.disks) {
    if (overlay) await mergeOverlay(record, running, name, overlay.path);
  }
}

async function mergeOverlay(
  record: DomainRecord,
  running: RunningDomain,
  target: string,
  path: string,
): Promise<void> {
  const disk = running.disks.find((candidate) => candidate.target === target);
  const depth = disk?.chain.findIndex((image) => image.path === path) ?? -1;
  const top = disk?.chain[depth];
  const base = disk?.chain[depth + 1];
  if (!disk || !top || !base) {
    throw new VirtError(ErrorCode.OPERATION_FAILED, 'failed to find parent disk source in backing chain');
  }
  const choice = { speedBytesPerSecond: 0, backingName: base.path, deletes: true };
  const job = await startJob(running.machine, running.jobs, planCommit(disk, top, base, choice));
  if (job.kind === 'active-commit') {
    await job.readyOrEnded;
    if (job.state === 'ready') await conclude(record, running, job, 'pivot');
  }
  const end = await job.ended;
  if (end.succeeded) return;
  const why = end.error ? `: ${end.error}` : '';
  throw new VirtError(
    ErrorCode.OPERATION_FAILED,
    `block commit failed while deleting disk '${target}' snapshot${why}`,
  );
}

const { METADATA, NO_METADATA, LEAVES, NO_LEAVES, DISK_ONLY, ACTIVE, INACTIVE, EXTERNAL, INTERNAL } =
  SnapshotListFlags;
const GROUPS = [
  [METADATA, NO_METADATA],
  [LEAVES, NO_LEAVES],
  [DISK_ONLY, ACTIVE, INACTIVE],
  [EXTERNAL, INTERNAL],
];

/**
 * Names of the snapshots that the flags leave, in the order in which they were made.
 * @param flags SnapshotListFlags; of a group, one narrows the list, all or none do not
 */
export function snapshotNames(record: DomainRecord, flags: number, driverFunction: string): string[] {
  checkFlags(flags, SnapshotListFlags, driverFunction);
  record.requireKnown();
  const { snapshots } = record;
  return snapshots
    .all()
    .filter((entry) => {
      const leaf = snapshots.childrenOf(entry).length === 0;
      const traits: Readonly<Record<number, boolean>> = {
        [METADATA]: true,
        [NO_METADATA]: false,
        [LEAVES]: leaf,
        [NO_LEAVES]: !leaf,
        [DISK_ONLY]: true,
        [ACTIVE]: false,
        [INACTIVE]: false,
        [EXTERNAL]: true,
        [INTERNAL]: false,
      };
      const root = entry.parent === undefined;
      return ((flags & SnapshotListFlags.ROOTS) === 0 || root) && passes(flags, traits, GROUPS);
    })
    .map(({ definition }) => definition.name);
}
