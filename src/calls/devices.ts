/** virDomainAttachDevice, virDomainDetachDevice, virDomainUpdateDevice: disks only. */
import { aliasFor, diskSpec, imageRef, type LiveDisk } from '../blockjob/live.ts';
import { chainOf } from '../chains.ts';
import { type DiskDefinition, diskFromXml } from '../conf/disk.ts';
import { inDiskOrder, refuseTwins, withDiskElements } from '../conf/domain.ts';
import { parseXml } from '../conf/xml.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { DeviceModifyFlags, EventId } from '../flags.ts';
import { guardDisk } from '../guards.ts';
import type { DomainRecord } from '../record.ts';
import type { RunningDomain } from '../running.ts';
import { checkFlags, checkNonNull, noSupport } from './checks.ts';
import { scopeOf } from './scope.ts';

const { LIVE, CONFIG, FORCE } = DeviceModifyFlags;
/** How long libvirt waits for the guest to let go of a device (qemuDomainRemoveDeviceWaitTime). */
const REMOVAL_WAIT_MS = 5_000;

interface DeviceCall {
  /** libvirt's name of the dispatched call. */
  readonly call: string;
  readonly driverFunction: string;
  readonly known: Readonly<Record<string, number>>;
  readonly config: (record: DomainRecord, disk: DiskDefinition) => readonly DiskDefinition[];
  readonly live: (
    record: DomainRecord,
    running: RunningDomain,
    disk: DiskDefinition,
    flags: number,
  ) => Promise<void>;
}

const CALLS = {
  attach: {
    call: 'DomainAttachDeviceFlags',
    driverFunction: 'qemuDomainAttachDeviceLiveAndConfig',
    known: { LIVE, CONFIG },
    config: attachConfig,
    live: attachLive,
  },
  detach: {
    call: 'DomainDetachDeviceFlags',
    driverFunction: 'qemuDomainDetachDeviceLiveAndConfig',
    known: { LIVE, CONFIG },
    config: detachConfig,
    live: detachLive,
  },
  update: {
    call: 'DomainUpdateDeviceFlags',
    driverFunction: 'qemuDomainUpdateDeviceFlags',
    known: { LIVE, CONFIG, FORCE },
    config: updateConfig,
    live: updateLive,
  },
} as const satisfies Record<string, DeviceCall>;

/** See {@link Domain.attachDeviceFlags}, {@link Domain.detachDeviceFlags}, {@link Domain.updateDeviceFlags}. */
export async function changeDevice(
  record: DomainRecord,
  what: keyof typeof CALLS,
  xml: string,
  flags: number,
): Promise<void> {
  const { call, driverFunction, known, config, live }: DeviceCall = CALLS[what];
  checkNonNull(xml, 'xml', `vir${call}`);
  checkFlags(flags, known, driverFunction);
  await record.locked(call, async () => {
    const scope = scopeOf(record, flags);
    const disk = diskOf(xml);
    const configured = scope.config ? config(record, disk) : undefined;
    if (scope.live) await live(record, scope.live, disk, flags);
    if (configured && record.persistent) {
      const elements = inDiskOrder(configured).map(({ element }) => element);
      record.persistent = withDiskElements(record.persistent, elements);
      record.journal();
    }
  });
}

function diskOf(xml: string): DiskDefinition {
  const root = parseXml(xml, 'device_definition');
  if (root.name === 'disk') return diskFromXml(root);
  throw new VirtError(ErrorCode.CONFIG_UNSUPPORTED, `unknown device type '${root.name}'`, {
    domain: ErrorDomain.DOMAIN,
  });
}

const configDisks = (record: DomainRecord): readonly DiskDefinition[] => record.persistent?.disks ?? [];

function attachConfig(record: DomainRecord, disk: DiskDefinition): readonly DiskDefinition[] {
  const disks = configDisks(record);
  if (disks.some(({ target }) => target === disk.target)) {
    throw new VirtError(ErrorCode.OPERATION_INVALID, `target ${disk.target} already exists`);
  }
  return [...disks, disk];
}

function detachConfig(record: DomainRecord, { target }: DiskDefinition): readonly DiskDefinition[] {
  const disks = configDisks(record);
  if (disks.some((disk) => disk.target === target)) return disks.filter((disk) => disk.target !== target);
  throw new VirtError(ErrorCode.DEVICE_MISSING, `no target device ${target}`);
}

function updateConfig(record: DomainRecord, disk: DiskDefinition): readonly DiskDefinition[] {
  const disks = configDisks(record);
  if (disks.some(({ target }) => target === disk.target)) {
    return disks.map((old) => (old.target === disk.target ? disk : old));
  }
  throw new VirtError(ErrorCode.INVALID_ARG, `target ${disk.target} doesn't exist.`);
}

async function attachLive(
  record: DomainRecord,
  running: RunningDomain,
  disk: DiskDefinition,
  flags: number,
): Promise<void> {
  const present = running.disks.find(({ target }) => target === disk.target);
  // A medium for a drive that is there: libvirt takes it for a change of media.
  if (present && disk.device === 'cdrom') return updateLive(record, running, disk, flags);
  refuseTwins([...running.disks.map(({ definition, chain }) => ({ ...definition, source: chain[0] })), disk]);
  record.guard('attach-disk');
  if (!running.machine.attachDisk) throw noSupport('virDomainAttachDevice');
  const sources = await chainOf(record.services.driver.volumes, disk);
  const live: LiveDisk = {
    definition: disk,
    target: disk.target,
    alias: aliasFor(disk),
    chain: running.indexes.number(sources),
    mirror: undefined,
  };
  await running.machine.attachDisk(diskSpec(live));
  running.addDisk(live, orderLive);
  running.changed();
  record.services.events.emit(EventId.DEVICE_ADDED, { domain: record.handle, deviceAlias: live.alias });
}

function orderLive(disks: readonly LiveDisk[]): readonly LiveDisk[] {
  const order = inDiskOrder(disks.map(({ definition }) => definition)).map(({ target }) => target);
  return [...disks].sort((left, right) => order.indexOf(left.target) - order.indexOf(right.target));
}

/** Returns after 5 s at the latest: a guest that does not let go keeps its disk until it does. */
async function detachLive(
  record: DomainRecord,
  running: RunningDomain,
  { target }: DiskDefinition,
): Promise<void> {
  const disk = running.disks.find((candidate) => candidate.target === target);
  if (!disk) throw new VirtError(ErrorCode.DEVICE_MISSING, `disk ${target} not found`);
  const { device } = disk.definition;
  if (device === 'cdrom') {
    throw new VirtError(ErrorCode.OPERATION_UNSUPPORTED, `disk device type '${device}' cannot be detached`);
  }
  guardDisk('detach-disk', target, running.jobs.onDisk(disk));
  if (!running.machine.detachDisk) throw noSupport('virDomainDetachDevice');
  const removed = running.removalOf(disk);
  await running.machine.detachDisk(target);
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const cancel = record.services.driver.timers.after(REMOVAL_WAIT_MS, resolve);
  await Promise.race([removed, late, running.gone]);
  cancel();
}

/** Fields of a disk that stay as they are while it runs, in the order in which libvirt compares them. */
const FIXED = ['bus', 'device', 'readonly', 'shareable', 'transient'] as const;

async function updateLive(
  record: DomainRecord,
  running: RunningDomain,
  wanted: DiskDefinition,
  flags: number,
): Promise<void> {
  const disk = running.disks.find(({ target }) => target === wanted.target);
  if (!disk) throw new VirtError(ErrorCode.INTERNAL_ERROR, `disk '${wanted.target}' not found`);
  const changed = FIXED.find((field) => wanted[field] !== disk.definition[field]);
  if (changed) {
    throw new VirtError(ErrorCode.OPERATION_UNSUPPORTED, `cannot modify field '${changed}' of the disk`);
  }
  if (wanted.source?.path === disk.chain[0]?.path) return;
  if (disk.definition.device !== 'cdrom') {
    throw new VirtError(ErrorCode.CONFIG_UNSUPPORTED, 'disk source can be changed only in removable drives');
  }
  await changeMedium(record, running, disk, wanted, (flags & FORCE) !== 0);
}

async function changeMedium(
  record: DomainRecord,
  running: RunningDomain,
  disk: LiveDisk,
  wanted: DiskDefinition,
  force: boolean,
): Promise<void> {
  guardDisk('change-medium', disk.target, running.jobs.onDisk(disk));
  const { machine } = running;
  const changeTo = machine.changeMedium?.bind(machine);
  if (!changeTo) throw noSupport('virDomainUpdateDeviceFlags');
  const sources = await chainOf(record.services.driver.volumes, wanted);
  const chain = running.indexes.number(sources);
  // An emptied drive takes a number too, and shows it.
  const emptyIndex = chain.length === 0 ? running.indexes.next() : undefined;
  await running.change([{ disk, next: chain }], () => changeTo(disk.target, chain.map(imageRef), force));
  const old = disk.chain;
  disk.definition = wanted;
  disk.chain = chain;
  disk.emptyIndex = emptyIndex;
  running.changed();
  await running.release(old);
}
