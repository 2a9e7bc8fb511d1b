/** virDomainCreate, virDomainUndefine, and which domains a list shows. */
import { domainFromXml } from '../conf/domain.ts';
import { ErrorCode, VirtError } from '../errors.ts';
import {
  DomainCreateFlags,
  DomainState,
  DomainUndefineFlags,
  LifecycleEvent,
  ListDomainsFlags,
} from '../flags.ts';
import { emitLifecycle, startDomain } from '../lifecycle.ts';
import type { DomainRecord } from '../record.ts';
import { checkFlags } from './checks.ts';
import { passes } from './list-filter.ts';
import { hasManagedSave, managedSavePath, readSaved, removeManagedSave } from './save.ts';

/** See {@link Domain.create}. */
export async function createDomain(record: DomainRecord, flags: number): Promise<void> {
  checkFlags(flags, DomainCreateFlags, 'qemuDomainCreateWithFlags');
  await record.locked('DomainCreate', async () => {
    if (record.running) throw new VirtError(ErrorCode.OPERATION_INVALID, 'domain is already running');
    if (await hasManagedSave(record)) {
      if ((flags & DomainCreateFlags.START_FORCE_BOOT) === 0) return resumeFromManagedSave(record);
      await removeManagedSave(record);
    }
    record.requireKnown();
    refuseUnknown(record);
    if (record.persistent) await startDomain(record, record.persistent, startMode(flags));
  });
}

/**
 * A pivot that nobody knows the end of: to start from either image might be to lose what the guest wrote.
 * @throws VirtError OPERATION_INVALID that names both
 */
function refuseUnknown({ outcomes }: DomainRecord): void {
  const doubt = outcomes.all.find(({ outcome }) => outcome === 'unknown');
  if (!doubt) return;
  const { disk, source, destination } = doubt;
  throw new VirtError(
    ErrorCode.OPERATION_INVALID,
    `the pivot of disk '${disk}' was cut off: its last writes are in '${source}' or in '${destination}'`,
    { hint: 'Look at both images and define the domain with the one that is right.' },
  );
}

/** How a start with these DomainCreateFlags goes. */
export function startMode(flags: number): 'booted' | 'booted-paused' {
  return (flags & DomainCreateFlags.START_PAUSED) === 0 ? 'booted' : 'booted-paused';
}

/** The save is used up by a start that succeeds. */
async function resumeFromManagedSave(record: DomainRecord): Promise<void> {
  const path = managedSavePath(record) ?? '';
  const { xml, mode } = await readSaved(record.services.driver, path, 0);
  await startDomain(record, domainFromXml(xml), mode, path);
  await removeManagedSave(record);
}

/** See {@link Domain.undefine}. */
export async function undefineDomain(record: DomainRecord, flags: number): Promise<void> {
  checkFlags(flags, DomainUndefineFlags, 'qemuDomainUndefineFlags');
  await record.locked('DomainUndefine', async () => {
    if (!record.persistent) {
      throw new VirtError(ErrorCode.OPERATION_INVALID, 'cannot undefine transient domain');
    }
    record.guard('undefine');
    checkMoments(record, flags);
    if (await hasManagedSave(record)) {
      if ((flags & DomainUndefineFlags.MANAGED_SAVE) === 0) {
        throw new VirtError(
          ErrorCode.OPERATION_INVALID,
          'Refusing to undefine while domain managed save image exists',
        );
      }
      await removeManagedSave(record);
    }
    record.persistent = undefined;
    record.autostart = false;
    record.journal();
    emitLifecycle(record, LifecycleEvent.UNDEFINED, 0);
    if (!record.running) record.services.forget(record);
  });
}

/** See {@link Domain.setAutostart}. */
export async function setAutostart(record: DomainRecord, autostart: boolean): Promise<void> {
  record.requireKnown();
  if (!record.persistent) {
    throw new VirtError(ErrorCode.OPERATION_INVALID, 'cannot set autostart for transient domain');
  }
  await record.locked('DomainSetAutostart', async () => {
    record.autostart = autostart;
    record.journal();
  });
}

/** Moments of a domain that runs on keep their owner; those of one that goes have to be given up by name. */
function checkMoments(record: DomainRecord, flags: number): void {
  if (record.running) return;
  const { SNAPSHOTS_METADATA, CHECKPOINTS_METADATA } = DomainUndefineFlags;
  const kinds = [
    ['snapshots', SNAPSHOTS_METADATA],
    ['checkpoints', CHECKPOINTS_METADATA],
  ] as const;
  for (const [kind, flag] of kinds) {
    const { size } = record[kind];
    if (size === 0 || (flags & flag) !== 0) continue;
    throw new VirtError(ErrorCode.OPERATION_INVALID, `cannot delete inactive domain with ${size} ${kind}`);
  }
  record.snapshots.clear();
  record.checkpoints.clear();
}

const L = ListDomainsFlags;
const GROUPS = [
  [L.ACTIVE, L.INACTIVE],
  [L.PERSISTENT, L.TRANSIENT],
  [L.RUNNING, L.PAUSED, L.SHUTOFF, L.OTHER],
  [L.MANAGEDSAVE, L.NO_MANAGEDSAVE],
  [L.AUTOSTART, L.NO_AUTOSTART],
  [L.HAS_SNAPSHOT, L.NO_SNAPSHOT],
  [L.HAS_CHECKPOINT, L.NO_CHECKPOINT],
];

/** Whether a list with these ListDomainsFlags shows a domain. */
export async function isListed(record: DomainRecord, flags: number): Promise<boolean> {
  if (flags === 0) return true;
  const active = record.running !== undefined;
  const paused = record.running?.state.state === DomainState.PAUSED;
  const saved = await hasManagedSave(record);
  const snapshots = record.snapshots.size > 0;
  return passes(
    flags,
    {
      [L.ACTIVE]: active,
      [L.INACTIVE]: !active,
      [L.PERSISTENT]: record.persistent !== undefined,
      [L.TRANSIENT]: record.persistent === undefined,
      [L.RUNNING]: active && !paused,
      [L.PAUSED]: paused,
      [L.SHUTOFF]: !active,
      [L.OTHER]: false,
      [L.MANAGEDSAVE]: saved,
      [L.NO_MANAGEDSAVE]: !saved,
      [L.AUTOSTART]: record.autostart,
      [L.NO_AUTOSTART]: !record.autostart,
      [L.HAS_SNAPSHOT]: snapshots,
      [L.NO_SNAPSHOT]: !snapshots,
      [L.HAS_CHECKPOINT]: record.checkpoints.size > 0,
      [L.NO_CHECKPOINT]: record.checkpoints.size === 0,
    },
    GROUPS,
  );
}
