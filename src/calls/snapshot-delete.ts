/** virDomainSnapshotDelete and virDomainRevertToSnapshot. */
import { planCommit } from '../blockjob/plan.ts';
import type { JobRecord } from '../blockjob/registry.ts';
import { startJob } from '../blockjob/run.ts';
import type { DiskSource } from '../conf/disk.ts';
import { type DomainDefinition, domainFromXml } from '../conf/domain.ts';
import { keepsMemory } from '../conf/snapshot.ts';
import { ErrorCode, ErrorDomain, isVirtError, VirtError } from '../errors.ts';
import { LifecycleEvent, SnapshotDeleteFlags, SnapshotListFlags, SnapshotRevertFlags } from '../flags.ts';
import { emitLifecycle, startDomain } from '../lifecycle.ts';
import type { DomainRecord } from '../record.ts';
import type { RunningDomain } from '../running.ts';
import type { SnapshotEntry } from '../snapshots.ts';
import { conclude } from './block-job.ts';
import { checkFlags, noSupport } from './checks.ts';
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
    const entry = requireSnapshot(record, name);
    record.guard('snapshot-revert');
    const { state } = entry.definition;
    if (!record.persistent && !keepsMemory(state) && (flags & (RUNNING | PAUSED)) === 0) {
      throw new VirtError(
        ErrorCode.OPERATION_INVALID,
        'transient domain needs to request run or pause to revert to inactive snapshot',
      );
    }
    if (isExternal(entry)) {
      throw new VirtError(ErrorCode.CONFIG_UNSUPPORTED, 'revert to external snapshot not supported yet');
    }
    if (!keepsMemory(state)) return goBackOff(record, entry, flags);
    const paused = (flags & PAUSED) !== 0 || (state === 'paused' && (flags & RUNNING) === 0);
    await goBack(record, entry, paused);
  });
}

/** The definition that goes with a snapshot: what the next start would have used then. */
const definitionOf = ({ definition }: SnapshotEntry): DomainDefinition =>
  domainFromXml(definition.inactiveXml ?? definition.domainXml);

/** Lets the images hold again what they held when the domain was off (libvirt: qemuSnapshotRevertInactive). */
async function goBackOff(record: DomainRecord, entry: SnapshotEntry, flags: number): Promise<void> {
  const { RUNNING, PAUSED } = SnapshotRevertFlags;
  const { volumes } = record.services.driver;
  if (!volumes.snapshot) throw noSupport('virDomainRevertToSnapshot');
  const definition = definitionOf(entry);
  if (record.running) await endFor(record, record.running);
  try {
    for (const { path, format } of imagesInside(entry)) {
      await volumes.snapshot('apply', path, format, entry.definition.name);
    }
    if (record.persistent) record.persistent = definition;
    const mode = (flags & PAUSED) === 0 ? 'reverted-booted' : 'reverted-booted-paused';
    if ((flags & (RUNNING | PAUSED)) !== 0) await startDomain(record, definition, mode);
  } catch (error) {
    if (record.persistent) record.journal();
    else record.services.forget(record);
    throw error;
  }
  settleOn(record, entry);
}

/** The images that an internal snapshot is in. */
function imagesInside({ definition }: SnapshotEntry): readonly DiskSource[] {
  const then = domainFromXml(definition.domainXml).disks;
  return definition.disks.flatMap(({ name, location }) => {
    const source = then.find(({ target }) => target === name)?.source;
    return location === 'internal' && source ? [source] : [];
  });
}

/** The machine ends so that the domain can go back. */
async function endFor(record: DomainRecord, running: RunningDomain): Promise<void> {
  record.endingAs = 'reverted';
  await running.machine.destroy();
  await running.gone;
}

function settleOn(record: DomainRecord, entry: SnapshotEntry): void {
  record.snapshots.makeCurrent(entry);
  record.journal();
  if (record.persistent) emitLifecycle(record, LifecycleEvent.DEFINED, DEFINED_FROM_SNAPSHOT);
}

/** Whether a snapshot is made of images on top of others. */
const isExternal = ({ definition }: SnapshotEntry): boolean =>
  definition.memoryFile !== undefined || definition.disks.some(({ location }) => location === 'external');

/** Ends the domain and starts it again from what the snapshot holds (libvirt: qemuSnapshotRevertActive). */
async function goBack(record: DomainRecord, entry: SnapshotEntry, paused: boolean): Promise<void> {
  const { running } = record;
  if (running && !running.machine.saveSnapshot) throw noSupport('virDomainRevertToSnapshot');
  const definition = domainFromXml(entry.definition.domainXml);
  if (running) await endFor(record, running);
  try {
    const mode = paused ? 'reverted-paused' : 'reverted';
    await startDomain(record, definition, mode, undefined, entry.definition.name);
  } catch (error) {
    record.offReason = SHUTOFF_FAILED;
    if (record.persistent) record.journal();
    else record.services.forget(record);
    throw error;
  }
  if (record.persistent) record.persistent = definitionOf(entry);
  settleOn(record, entry);
}

/** virDomainShutoffReason: it could not be started. */
const SHUTOFF_FAILED = 6;
/** virDomainEventDefinedDetailType. */
const DEFINED_FROM_SNAPSHOT = 3;

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
      const doomed = withChildren ? record.snapshots.descendantsOf(entry) : [];
      for (const child of doomed) record.snapshots.remove(child);
      if ((flags & CHILDREN_ONLY) === 0) record.snapshots.remove(entry);
      record.journal();
      return;
    }
    const below = withChildren ? record.snapshots.descendantsOf(entry) : [];
    if (below.some(isExternal)) throw unsupported('deletion of external children disk snapshots');
    const own = (flags & CHILDREN_ONLY) === 0 ? [entry] : [];
    if (withChildren && own.some(isExternal)) {
      throw unsupported('deletion of external disk snapshots with children');
    }
    if (!own.some(isExternal)) {
      for (const each of [...below, ...own]) await dropInternal(record, each);
      return;
    }
    await deleteExternal(record, entry);
    record.snapshots.remove(entry);
    record.journal();
  });
}

const unsupported = (what: string): VirtError =>
  new VirtError(ErrorCode.CONFIG_UNSUPPORTED, `${what} not supported`);

/** Takes one internal snapshot out of the images. */
async function dropInternal(record: DomainRecord, entry: SnapshotEntry): Promise<void> {
  record.guard('snapshot-delete-internal');
  if (record.running) await dropLive(record.running, entry);
  else await dropOff(record, entry);
  record.snapshots.remove(entry);
  record.journal();
}

async function dropLive(running: RunningDomain, entry: SnapshotEntry): Promise<void> {
  checkSameImages(running, entry);
  if (!running.machine.deleteSnapshot) throw noSupport('virDomainSnapshotDelete');
  await running.machine.deleteSnapshot(entry.definition.name);
}

/** An image that does not have it is no reason to keep the others' (libvirt tries all). */
async function dropOff({ services }: DomainRecord, entry: SnapshotEntry): Promise<void> {
  const { volumes } = services.driver;
  if (!volumes.snapshot) throw noSupport('virDomainSnapshotDelete');
  for (const { path, format } of imagesInside(entry)) {
    try {
      await volumes.snapshot('delete', path, format, entry.definition.name);
    } catch (error) {
      if (!isVirtError(error)) throw error;
    }
  }
}

/** The images that hold an internal snapshot have to be those in use (libvirt: qemuSnapshotDeleteValidate). */
function checkSameImages(running: RunningDomain, { definition }: SnapshotEntry): void {
  const then = domainFromXml(definition.domainXml).disks;
  for (const { name, location } of definition.disks) {
    const now = running.disks.find(({ target }) => target === name);
    const path = then.find(({ target }) => target === name)?.source?.path;
    if (location !== 'internal' || now?.chain[0]?.path === path) continue;
    const what = `disk image '${name}' for internal snapshot '${definition.name}'`;
    throw new VirtError(
      ErrorCode.OPERATION_UNSUPPORTED,
      `${what} is not the same as disk image currently used by VM`,
    );
  }
}

/** Merges the images of a snapshot; of a domain that is off in a machine that nobody sees. */
async function deleteExternal(record: DomainRecord, entry: SnapshotEntry): Promise<void> {
  record.guard('snapshot-delete-external');
  if (entry.parent && !isExternal(entry.parent)) {
    throw new VirtError(
      ErrorCode.OPERATION_UNSUPPORTED,
      'deleting external snapshot that has internal snapshot as parent not supported',
    );
  }
  const { running: present, persistent } = record;
  if (present) return mergeImages(record, present, entry);
  if (!persistent) throw noSupport('virDomainSnapshotDelete');
  checkTopmost(persistent, entry);
  await startDomain(record, persistent, 'unseen');
  const running = record.requireRunning();
  try {
    await mergeImages(record, running, entry);
  } finally {
    if (record.running === running) {
      record.endingAs = 'unseen';
      await running.machine.destroy();
      await running.gone;
    }
  }
}

/** Of a domain that is off libvirt looks for the images in what the definition names. */
function checkTopmost({ disks }: DomainDefinition, { definition }: SnapshotEntry): void {
  for (const { name, overlay } of definition.disks) {
    const disk = disks.find(({ target }) => target === name);
    if (!overlay || disk?.source?.path === overlay.path) continue;
    throw new VirtError(ErrorCode.INVALID_ARG, 'could not find base disk source in disk source chain', {
      domain: ErrorDomain.STORAGE,
    });
  }
}

/** Commits each overlay into what is below it and unlinks it, as blockCommit with DELETE does: all disks at once. */
async function mergeImages(
  record: DomainRecord,
  running: RunningDomain,
  { definition }: SnapshotEntry,
): Promise<void> {
  const jobs: JobRecord[] = [];
  for (const { name, overlay } of definition.disks) {
    if (overlay) jobs.push(await startMerge(running, name, overlay.path));
  }
  for (const job of jobs) if (job.kind === 'active-commit') await job.readyOrEnded;
  for (const job of jobs) {
    if (job.kind === 'active-commit' && job.state === 'ready') await conclude(record, running, job, 'pivot');
    await merged(job);
  }
}

async function startMerge(running: RunningDomain, target: string, path: string): Promise<JobRecord> {
  const disk = running.disks.find((candidate) => candidate.target === target);
  const depth = disk?.chain.findIndex((image) => image.path === path) ?? -1;
  const top = disk?.chain[depth];
  const base = disk?.chain[depth + 1];
  if (!disk || !top || !base) {
    throw new VirtError(ErrorCode.OPERATION_FAILED, 'failed to find parent disk source in backing chain');
  }
  const choice = { speedBytesPerSecond: 0, backingName: base.path, deletes: true };
  return startJob(running.machine, running.jobs, planCommit(disk, top, base, choice));
}

async function merged(job: JobRecord): Promise<void> {
  const end = await job.ended;
  if (end.succeeded) return;
  const why = end.error ? `: ${end.error}` : '';
  throw new VirtError(
    ErrorCode.OPERATION_FAILED,
    `block commit failed while deleting disk '${job.disk.target}' snapshot${why}`,
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
        [DISK_ONLY]: entry.definition.state === 'disk-snapshot',
        [ACTIVE]: keepsMemory(entry.definition.state),
        [INACTIVE]: entry.definition.state === 'shutoff',
        [EXTERNAL]: isExternal(entry),
        [INTERNAL]: !isExternal(entry),
      };
      const root = entry.parent === undefined;
      return ((flags & SnapshotListFlags.ROOTS) === 0 || root) && passes(flags, traits, GROUPS);
    })
    .map(({ definition }) => definition.name);
}
