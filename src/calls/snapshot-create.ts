/** virDomainSnapshotCreateXML, disk-only. */
import { bitmapsToBegin } from '../bitmaps.ts';
import { imageRef, type LiveDisk } from '../blockjob/live.ts';
import { type DiskDefinition, type DiskSource, overlaidDiskXml } from '../conf/disk.ts';
import { liveDefinition, withDiskElements } from '../conf/domain.ts';
import {
  type SnapshotDisk,
  type SnapshotDiskRequest,
  type SnapshotLocation,
  type SnapshotRequest,
  type SnapshotState,
  snapshotFromXml,
} from '../conf/snapshot.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { DomainState, SnapshotCreateFlags } from '../flags.ts';
import { guardDisk } from '../guards.ts';
import type { DomainRecord } from '../record.ts';
import type { RunningDomain } from '../running.ts';
import { checkFlags, checkNonNull, noSupport } from './checks.ts';
import { snapshotRedefine } from './snapshot-redefine.ts';

const has = (flags: number, flag: keyof typeof SnapshotCreateFlags): boolean =>
  (flags & SnapshotCreateFlags[flag]) !== 0;

const snapshotError = (code: ErrorCode, detail: string, bare = false): VirtError =>
  new VirtError(code, detail, { domain: ErrorDomain.DOMAIN_SNAPSHOT, bare });

const NAME = (flag: string): string => `VIR_DOMAIN_SNAPSHOT_CREATE_${flag}`;

/** One disk of the domain, as the snapshot will treat it. */
interface Aligned {
  readonly disk: DiskDefinition;
  readonly active: DiskSource | undefined;
  readonly location: SnapshotLocation;
  readonly overlay: DiskSource | undefined;
}

/** See {@link Domain.snapshotCreateXML}. @returns the snapshot's name */
export async function snapshotCreate(record: DomainRecord, xml: string, flags: number): Promise<string> {
  checkNonNull(xml, 'xmlDesc', 'virDomainSnapshotCreateXML');
  checkCreateFlags(flags);
  record.requireKnown();
  if (has(flags, 'REDEFINE')) {
    return record.locked('DomainSnapshotCreateXML', async () => snapshotRedefine(record, xml, flags));
  }
  if (has(flags, 'HALT') && !record.persistent) {
    throw new VirtError(ErrorCode.OPERATION_INVALID, 'cannot halt after transient domain snapshot');
  }
  const request = snapshotFromXml(xml);
  checkName(request.name);
  return record.locked('DomainSnapshotCreateXML', () => create(record, request, flags));
}

function checkCreateFlags(flags: number): void {
  if (has(flags, 'CURRENT') && !has(flags, 'REDEFINE')) throw requires('REDEFINE', 'CURRENT', true);
  if (has(flags, 'REDEFINE') && has(flags, 'NO_METADATA')) {
    const pair = `'${NAME('REDEFINE')}' and '${NAME('NO_METADATA')}'`;
    throw snapshotError(ErrorCode.INVALID_ARG, `Flags ${pair} are mutually exclusive`, true);
  }
  checkFlags(flags, SnapshotCreateFlags, 'qemuSnapshotCreateXML');
  if (has(flags, 'QUIESCE') && !has(flags, 'DISK_ONLY')) throw requires('DISK_ONLY', 'QUIESCE', false);
}

function requires(needed: string, flag: string, inClient: boolean): VirtError {
  return new VirtError(ErrorCode.INVALID_ARG, `Flag '${NAME(needed)}' is required by flag '${NAME(flag)}'`, {
    domain: inClient ? ErrorDomain.DOMAIN_SNAPSHOT : ErrorDomain.QEMU,
    bare: true,
  });
}

function checkName(name: string | undefined): void {
  const why = name?.includes('/')
    ? "name can't contain '/'"
    : name?.startsWith('.')
      ? "name can't start with '.'"
      : undefined;
  if (why) throw new VirtError(ErrorCode.XML_DETAIL, `invalid snapshot name '${name}': ${why}`);
}

async function create(record: DomainRecord, request: SnapshotRequest, flags: number): Promise<string> {
  const nowSeconds = Math.floor(record.services.driver.timers.now() / 1000);
  const name = request.name ?? String(nowSeconds);
  const { running, persistent } = record;
  const mode = modeOf(request, running !== undefined, flags);
  const disks = align(record, request, name, mode);
  const before = running && record.live ? liveDefinition(record.live, running.disks) : record.toXml(!running);
  const inactive = running && persistent && { inactiveXml: record.toXml(true) };
  const state = stateOf(running, mode === 'disks');
  if (!has(flags, 'NO_METADATA') && record.snapshots.byName(name)) {
    throw new VirtError(ErrorCode.OPERATION_FAILED, `domain moment ${name} already exists`, {
      domain: ErrorDomain.DOMAIN,
    });
  }
  await TAKE[mode](record, disks, { name, flags, memoryFile: request.memoryFile ?? '' });
  if (!has(flags, 'NO_METADATA')) {
    record.snapshots.add({
      name,
      description: request.description,
      state,
      creationTimeSeconds: nowSeconds,
      disks: disks.map(describeDisk),
      domainXml: before,
      ...inactive,
      ...(mode === 'memory-file' && { memoryFile: request.memoryFile ?? '' }),
    });
    record.journal();
  }
  if (running && has(flags, 'HALT')) {
    record.endingAs = 'halted';
    await running.machine.destroy();
    await running.gone;
  }
  return name;
}

/**
 * What a snapshot is made of: images on top of others, the same with memory in a file, everything inside the images, or
 * inside them and without memory, since there is none.
 */
type Mode = 'disks' | 'memory-file' | 'inside' | 'inside-off';

/** See {@link create}. */
interface Wanted {
  readonly name: string;
  readonly flags: number;
  readonly memoryFile: string;
}

const TAKE: Readonly<
  Record<Mode, (record: DomainRecord, disks: readonly Aligned[], wanted: Wanted) => Promise<void>>
> = {
  disks: (record, disks, { flags }) =>
    record.running ? takeLive(record, record.running, disks, flags) : takeInactive(record, disks, flags),
  'memory-file': (record, disks, wanted) => takeWithMemory(record, record.requireRunning(), disks, wanted),
  inside: (record, disks, { name, flags }) =>
    takeInternal(record, record.requireRunning(), disks, name, flags),
  'inside-off': (record, disks, { name }) => takeInternalOff(record, disks, name),
};

/** An internal snapshot of a domain that runs holds its memory (libvirt: qemuSnapshotPrepare, qemuSnapshotCreateAlignDisks). */
function modeOf({ memory }: SnapshotRequest, runs: boolean, flags: number): Mode {
  if (has(flags, 'LIVE') && memory !== 'external') {
    throw new VirtError(
      ErrorCode.OPERATION_UNSUPPORTED,
      'live snapshot creation is supported only during full system snapshots',
    );
  }
  const diskOnly = has(flags, 'DISK_ONLY');
  if (memory !== undefined && memory !== 'no' && (diskOnly || !runs)) {
    const detail = 'memory state cannot be saved with offline or disk-only snapshot';
    throw snapshotError(ErrorCode.XML_ERROR, detail);
  }
  if (diskOnly) return 'disks';
  if (memory === 'external') return 'memory-file';
  if (!runs) return 'inside-off';
  if (memory === 'no') {
    throw new VirtError(
      ErrorCode.OPERATION_UNSUPPORTED,
      'internal snapshot of a running VM must include the memory state',
    );
  }
  return 'inside';
}

function stateOf(running: RunningDomain | undefined, diskOnly: boolean): SnapshotState {
  if (!running) return 'shutoff';
  if (diskOnly) return 'disk-snapshot';
  return running.state.state === DomainState.PAUSED ? 'paused' : 'running';
}

/** Only qcow2 has room for them. */
function checkInside(disks: readonly Aligned[], guard: (target: string) => void): void {
  for (const { disk, active, location } of disks) {
    if (location !== 'internal') continue;
    guard(disk.target);
    if (active?.format === 'qcow2') continue;
    const what = `for disk ${disk.target} unsupported for storage type ${active?.format ?? 'none'}`;
    throw unsupported(`internal snapshot ${what}`);
  }
}

/** Of a domain that is off: image by image, all or none. */
async function takeInternalOff(record: DomainRecord, disks: readonly Aligned[], name: string): Promise<void> {
  const { volumes } = record.services.driver;
  checkInside(disks, () => undefined);
  if (!volumes.snapshot) throw noSupport('virDomainSnapshotCreateXML');
  const taken: DiskSource[] = [];
  for (const { active, location } of disks) {
    if (location !== 'internal' || !active) continue;
    try {
      await volumes.snapshot('create', active.path, active.format, name);
    } catch (error) {
      for (const { path, format } of taken) await volumes.snapshot('delete', path, format, name);
      throw error;
    }
    taken.push(active);
  }
}

/** Memory goes to a file, then overlays go on the disks, all while the guest stands still. */
async function takeWithMemory(
  record: DomainRecord,
  running: RunningDomain,
  disks: readonly Aligned[],
  { flags, memoryFile }: Wanted,
): Promise<void> {
  const { machine } = running;
  if (disks.some(({ location }) => location === 'internal')) {
    throw unsupported('mixing internal and external targets for a snapshot is not yet supported');
  }
  const overlaid = disks.filter(({ overlay }) => overlay !== undefined);
  if (overlaid.length > 0) await prepare(record, disks, flags, guardOf(running));
  if (!machine.save || !record.live) throw noSupport('virDomainSnapshotCreateXML');
  const { save } = machine;
  const xml = liveDefinition(record.live, running.disks);
  await whilePaused(record, running, flags, async (ran) => {
    record.guard('save');
    await save.call(machine, memoryFile, JSON.stringify({ xml, paused: !ran }));
    if (overlaid.length > 0) await takeLive(record, running, disks, flags);
  });
}

/** Stops the guest around something; with HALT it goes on only if that failed. */
async function whilePaused(
  record: DomainRecord,
  running: RunningDomain,
  flags: number,
  make: (ran: boolean) => Promise<void>,
): Promise<void> {
  const ran = running.state.state === DomainState.RUNNING;
  let stays = false;
  if (ran) await running.pause();
  try {
    await make(ran);
    stays = has(flags, 'HALT');
  } finally {
    if (ran && !stays && record.running === running) await running.resume();
  }
}

const guardOf =
  (running: RunningDomain) =>
  (target: string): void => {
    const live = running.disks.find((disk) => disk.target === target);
    if (live) guardDisk('snapshot-create', target, running.jobs.onDisk(live));
  };

/** Keeps disks and memory inside the images, while the guest stands still. */
async function takeInternal(
  record: DomainRecord,
  running: RunningDomain,
  disks: readonly Aligned[],
  name: string,
  flags: number,
): Promise<void> {
  checkInside(disks, guardOf(running));
  const { machine } = running;
  const { saveSnapshot } = machine;
  if (!saveSnapshot) throw noSupport('virDomainSnapshotCreateXML');
  await whilePaused(record, running, flags, () => saveSnapshot.call(machine, name));
}

function describeDisk({ disk, location, overlay }: Aligned): SnapshotDisk {
  const { target: name } = disk;
  return overlay ? { name, location, overlay } : { name, location };
}

/** Puts each request to its disk and fills in the rest (libvirt: virDomainSnapshotAlignDisks). */
function align(record: DomainRecord, request: SnapshotRequest, name: string, mode: Mode): readonly Aligned[] {
  const disks = activeDisks(record);
  if (request.disks.length > disks.length) {
    throw snapshotError(ErrorCode.CONFIG_UNSUPPORTED, 'too many disk snapshot requests for domain');
  }
  const requests = new Map<DiskDefinition, SnapshotDiskRequest>();
  for (const asked of request.disks) {
    const found = disks.find(
      ({ disk, active }) => disk.target === asked.name || active?.path === asked.name,
    )?.disk;
    if (!found) throw snapshotError(ErrorCode.CONFIG_UNSUPPORTED, `no disk named '${asked.name}'`);
    if (requests.has(found)) {
      throw snapshotError(ErrorCode.CONFIG_UNSUPPORTED, `disk '${asked.name}' specified twice`);
    }
    requests.set(found, asked);
  }
  return disks.map(({ disk, active }) => alignOne(disk, active, requests.get(disk), name, mode));
}

function alignOne(
  disk: DiskDefinition,
  active: DiskSource | undefined,
  asked: SnapshotDiskRequest | undefined,
  name: string,
  mode: Mode,
): Aligned {
  const isOutside = mode === 'disks' || mode === 'memory-file';
  const fitting = active && !disk.readonly ? (isOutside ? 'external' : 'internal') : 'no';
  const location = asked?.location ?? fitting;
  // Everything inside means all of it.
  if (!isOutside && (location === 'external' || (fitting === 'internal' && location !== fitting))) {
    const detail = `disk '${disk.target}' must use snapshot mode 'internal'`;
    throw snapshotError(ErrorCode.CONFIG_UNSUPPORTED, detail);
  }
  if (location !== 'external') return { disk, active, location, overlay: undefined };
  const path = asked?.path ?? generatedPath(disk, active, name);
  const overlay = { type: asked?.type ?? 'file', path, format: asked?.format ?? 'qcow2' } as const;
  return { disk, active, location, overlay };
}

/** The active image's path with the snapshot's name in the place of its suffix. */
function generatedPath(disk: DiskDefinition, active: DiskSource | undefined, name: string): string {
  if (!active) {
    throw snapshotError(
      ErrorCode.CONFIG_UNSUPPORTED,
      `cannot generate external snapshot name for disk '${disk.target}' without source`,
    );
  }
  return `${active.path.replace(/\.[^./]*$/, '')}.${name}`;
}

interface ActiveDisk {
  readonly disk: DiskDefinition;
  readonly active: DiskSource | undefined;
}

function activeDisks({ running, persistent }: DomainRecord): readonly ActiveDisk[] {
  if (running) return running.disks.map(({ definition: disk, chain: [active] }) => ({ disk, active }));
  return (persistent?.disks ?? []).map((disk) => ({ disk, active: disk.source }));
}

const OVERLAY_FORMATS = new Set(['qcow2', 'qed']);

/** Looks at every disk before anything is done (libvirt: qemuSnapshotPrepare). */
async function prepare(
  record: DomainRecord,
  disks: readonly Aligned[],
  flags: number,
  guard: (target: string) => void,
): Promise<void> {
  let external = 0;
  for (const { disk, location, overlay } of disks) {
    const { target } = disk;
    if (location === 'no') continue;
    guard(target);
    if (!overlay) {
      throw unsupported(
        `active qemu domains require external disk snapshots; disk ${target} requested ${location}`,
      );
    }
    if (!OVERLAY_FORMATS.has(overlay.format)) {
      throw unsupported(`external snapshot format for disk ${target} is unsupported: ${overlay.format}`);
    }
    await checkOverlay(record, target, overlay.path, has(flags, 'REUSE_EXT'));
    external += 1;
  }
  if (external === 0) throw unsupported('nothing selected for snapshot');
}

const unsupported = (detail: string): VirtError => new VirtError(ErrorCode.CONFIG_UNSUPPORTED, detail);

async function checkOverlay(
  record: DomainRecord,
  target: string,
  path: string,
  reuse: boolean,
): Promise<void> {
  const found = await record.services.driver.volumes.stat(path);
  if (!found && reuse) {
    throw new VirtError(
      ErrorCode.SYSTEM_ERROR,
      `missing existing file for disk ${target}: ${path}: No such file or directory`,
      { errno: 2 },
    );
  }
  if (found?.kind === 'file' && found.sizeBytes > 0 && !reuse) {
    throw unsupported(
      `external snapshot file for disk ${target} already exists and is not a block device: ${path}`,
    );
  }
}

async function takeLive(
  record: DomainRecord,
  running: RunningDomain,
  disks: readonly Aligned[],
  flags: number,
): Promise<void> {
  const liveOf = (target: string): LiveDisk | undefined =>
    running.disks.find((disk) => disk.target === target);
  await prepare(record, disks, flags, guardOf(running));
  if (has(flags, 'QUIESCE')) {
    throw new VirtError(ErrorCode.ARGUMENT_UNSUPPORTED, 'QEMU guest agent is not configured');
  }
  const { machine } = running;
  const takeOf = machine.snapshot?.bind(machine);
  if (!takeOf) throw noSupport('virDomainSnapshotCreateXML');
  const changes = disks.flatMap(({ disk: { target }, overlay }) => {
    const disk = liveOf(target);
    const active = disk?.chain[0];
    if (!overlay || !disk || !active) return [];
    return [{ disk, active, overlay: { ...overlay, index: running.indexes.next() } }];
  });
  const overlays = await Promise.all(
    changes.map(async ({ disk, active, overlay }) => ({
      disk: disk.target,
      active: imageRef(active),
      overlay: imageRef(overlay),
      reuse: has(flags, 'REUSE_EXT'),
      bitmaps: await bitmapsToBegin(record.checkpoints, machine, disk),
    })),
  );
  await running.change(
    changes.map(({ disk, overlay }) => ({ disk, next: [overlay, ...disk.chain] })),
    () => takeOf(overlays),
  );
  for (const { disk, active, overlay } of changes) {
    disk.chain = [overlay, ...disk.chain];
    overlayConfig(record, disk.target, active.path, overlay);
  }
  running.changed();
}

/** The definition grows with the disk if it named the image that was active. */
export function overlayConfig(
  record: DomainRecord,
  target: string,
  activePath: string,
  overlay: DiskSource,
): void {
  const { persistent } = record;
  if (!persistent) return;
  const elements = persistent.disks.map((disk) =>
    disk.target === target && disk.source?.path === activePath
      ? overlaidDiskXml(disk, overlay)
      : disk.element,
  );
  record.persistent = withDiskElements(persistent, elements);
}

/** Of a domain that is shut off: new images on top of the old ones, and a definition that names them. */
async function takeInactive(record: DomainRecord, disks: readonly Aligned[], flags: number): Promise<void> {
  const { volumes } = record.services.driver;
  await prepare(record, disks, flags, () => undefined);
  const made: string[] = [];
  try {
    for (const { active, overlay } of disks) {
      if (!overlay || !active || has(flags, 'REUSE_EXT')) continue;
      const { capacityBytes } = await volumes.inspect(active.path, active.format);
      const { path, format } = overlay;
      // An empty file may be there: to be replaced, as libvirt does.
      await volumes.remove(path);
      await volumes.create({ path, format, capacityBytes, backing: active });
      made.push(path);
    }
  } catch (error) {
    for (const path of made) await volumes.remove(path);
    throw error;
  }
  for (const { disk, active, overlay } of disks) {
    if (overlay && active) overlayConfig(record, disk.target, active.path, overlay);
  }
  record.journal();
}
