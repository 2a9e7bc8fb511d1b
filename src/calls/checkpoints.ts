/** virDomainCheckpointCreateXML, virDomainCheckpointDelete and what tells of checkpoints. */
import { bitmapIn } from '../bitmaps.ts';
import { imageRef, type LiveDisk } from '../blockjob/live.ts';
import {
  type CheckpointDefinition,
  type CheckpointDisk,
  type CheckpointRequest,
  checkpointFromXml,
  checkpointToXml,
  toldCheckpointFromXml,
} from '../conf/checkpoint.ts';
import { domainFromXml, liveDefinition } from '../conf/domain.ts';
import type { BitmapChange, BitmapReport, Machine } from '../driver.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import {
  CheckpointCreateFlags,
  CheckpointDeleteFlags,
  CheckpointListFlags,
  CheckpointXMLFlags,
} from '../flags.ts';
import { guardDisk } from '../guards.ts';
import type { DomainRecord } from '../record.ts';
import type { RunningDomain } from '../running.ts';
import type { CheckpointEntry } from '../snapshots.ts';
import { checkFlags, noSupport } from './checks.ts';
import { passes } from './list-filter.ts';
import { parentOf } from './moment-parent.ts';

const checkpointError = (code: ErrorCode, detail: string, bare = false): VirtError =>
  new VirtError(code, detail, { domain: ErrorDomain.DOMAIN_CHECKPOINT, bare });
const unsupported = (detail: string): VirtError => new VirtError(ErrorCode.CONFIG_UNSUPPORTED, detail);
const inactive = (verb: string): VirtError =>
  new VirtError(ErrorCode.OPERATION_UNSUPPORTED, `cannot ${verb} checkpoint for inactive domain`);

const flagName = (flag: string): string => `'VIR_DOMAIN_CHECKPOINT_${flag}'`;

function checkExclusive(flags: number, first: readonly [string, number], second: readonly [string, number]) {
  if ((flags & first[1]) === 0 || (flags & second[1]) === 0) return;
  const pair = `${flagName(first[0])} and ${flagName(second[0])}`;
  throw checkpointError(ErrorCode.INVALID_ARG, `Flags ${pair} are mutually exclusive`, true);
}

/**
 * The checkpoint of that name.
 * @throws VirtError NO_DOMAIN_CHECKPOINT
 */
export function requireCheckpoint(record: DomainRecord, name: string): CheckpointEntry {
  record.requireKnown();
  const entry = record.checkpoints.byName(name);
  if (entry) return entry;
  const detail = `no domain checkpoint with matching name '${name}'`;
  throw new VirtError(ErrorCode.NO_DOMAIN_CHECKPOINT, detail);
}

/** What has to be before XML is looked at for whether it is there (libvirt checks this one ahead of the access). */
export function checkXmlGiven(xml: unknown): asserts xml is string {
  if (typeof xml === 'string') return;
  const detail = 'xmlDesc in virDomainCheckpointCreateXML must not be NULL';
  throw checkpointError(ErrorCode.INVALID_ARG, detail, true);
}

/** See {@link Domain.checkpointCreateXML}. @returns the checkpoint's name */
export async function checkpointCreate(record: DomainRecord, xml: string, flags: number): Promise<string> {
  const { REDEFINE, REDEFINE_VALIDATE, QUIESCE } = CheckpointCreateFlags;
  checkExclusive(flags, ['CREATE_REDEFINE', REDEFINE], ['CREATE_QUIESCE', QUIESCE]);
  if ((flags & REDEFINE_VALIDATE) !== 0 && (flags & REDEFINE) === 0) {
    const pair = `${flagName('CREATE_REDEFINE')} is required by flag ${flagName('CREATE_REDEFINE_VALIDATE')}`;
    throw checkpointError(ErrorCode.INVALID_ARG, `Flag ${pair}`, true);
  }
  checkFlags(flags, { REDEFINE, REDEFINE_VALIDATE }, 'qemuCheckpointCreateXML');
  record.requireKnown();
  if ((flags & REDEFINE) !== 0) {
    const told = toldCheckpointFromXml(xml);
    const validates = (flags & REDEFINE_VALIDATE) !== 0;
    return record.locked('DomainCheckpointCreateXML', () => redefine(record, told, validates));
  }
  const { running } = record;
  if (!running) throw inactive('create');
  if (!running.machine.changeBitmaps) {
    throw new VirtError(ErrorCode.OPERATION_UNSUPPORTED, 'incremental backup is not supported yet');
  }
  const request = checkpointFromXml(xml);
  return record.locked('DomainCheckpointCreateXML', () => create(record, request));
}

async function create(record: DomainRecord, request: CheckpointRequest): Promise<string> {
  const running = record.requireRunning();
  const { checkpoints, live } = record;
  const creationTimeSeconds = Math.floor(record.services.driver.timers.now() / 1000);
  const name = request.name ?? String(creationTimeSeconds);
  const disks = align(running, request, name);
  const marked = disks.flatMap(({ disk, bitmap }) => (bitmap === undefined ? [] : [{ disk, bitmap }]));
  for (const { disk } of marked) checkFormat(disk);
  for (const { disk } of marked) guardDisk('checkpoint-create', disk.target, running.jobs.onDisk(disk));
  if (checkpoints.byName(name)) {
    throw new VirtError(ErrorCode.OPERATION_FAILED, `domain moment ${name} already exists`, {
      domain: ErrorDomain.DOMAIN,
    });
  }
  const domainXml = live && liveDefinition(live, running.disks);
  const changes = marked.flatMap(({ disk, bitmap }): BitmapChange[] => {
    const image = disk.chain[0];
    return image ? [{ do: 'add', bitmap: { image: imageRef(image), name: bitmap } }] : [];
  });
  if (changes.length > 0) await running.machine.changeBitmaps?.(changes);
  const { description } = request;
  const described = disks.map(({ disk, bitmap }): CheckpointDisk => ({ name: disk.target, bitmap }));
  checkpoints.add({ name, description, creationTimeSeconds, disks: described, domainXml });
  record.journal();
  return name;
}

interface Aligned {
  readonly disk: LiveDisk;
  readonly bitmap: string | undefined;
}

/** Puts each request to its disk and fills in the rest (libvirt: virDomainCheckpointAlignDisks). */
function align({ disks }: RunningDomain, request: CheckpointRequest, name: string): readonly Aligned[] {
  const asked = new Map<LiveDisk, string | boolean>();
  for (const { name: wanted, bitmap } of request.disks ?? []) {
    const disk = disks.find(({ target, chain }) => target === wanted || chain[0]?.path === wanted);
    if (!disk) throw checkpointError(ErrorCode.CONFIG_UNSUPPORTED, `no disk named '${wanted}'`);
    if (asked.has(disk)) {
      throw checkpointError(ErrorCode.CONFIG_UNSUPPORTED, `disk '${wanted}' specified twice`);
    }
    asked.set(disk, bitmap);
    if (bitmap !== false && !canChange(disk)) {
      throw checkpointError(ErrorCode.CONFIG_UNSUPPORTED, `disk '${wanted}' is empty or readonly`);
    }
  }
  const others = request.disks === undefined;
  return disks.map((disk): Aligned => {
    const bitmap = asked.get(disk) ?? (others && canChange(disk));
    if (typeof bitmap === 'string' && bitmap !== name) {
      throw unsupported(`bitmap for disk '${disk.target}' must match checkpoint name '${name}'`);
    }
    return { disk, bitmap: bitmap === false ? undefined : name };
  });
}

const canChange = ({ definition, chain }: LiveDisk): boolean => chain.length > 0 && !definition.readonly;

function checkFormat({ target, chain: [active] }: LiveDisk): void {
  if (active?.format === 'qcow2') return;
  throw unsupported(`checkpoint for disk ${target} unsupported for storage type ${active?.format}`);
}

/** A checkpoint that exists is told of; nothing is done to any image. */
async function redefine(
  record: DomainRecord,
  { definition, parent }: ReturnType<typeof toldCheckpointFromXml>,
  validates: boolean,
): Promise<string> {
  const { name, domainXml } = definition;
  const { checkpoints, running } = record;
  if (domainXml !== undefined && domainFromXml(domainXml).uuid !== record.uuid) {
    const detail = `definition for checkpoint ${name} must use uuid ${record.uuid}`;
    throw checkpointError(ErrorCode.INVALID_ARG, detail);
  }
  const from = parentOf(checkpoints, name, parent);
  if (validates) await validate(running, definition);
  const isFirst = checkpoints.size === 0;
  const entry = checkpoints.put(definition, from);
  // libvirt counts the only one that nothing came from, and nothing else, as the current one.
  if (isFirst || checkpoints.current === from) checkpoints.makeCurrent(entry);
  record.journal();
  return name;
}

async function validate(running: RunningDomain | undefined, { disks }: CheckpointDefinition): Promise<void> {
  if (!running) throw inactive('validate');
  const present = (await running.machine.bitmaps?.()) ?? [];
  for (const { name, bitmap } of disks) {
    const disk = running.disks.find(({ target }) => target === name);
    if (bitmap === undefined || (disk && holders(disk, present, bitmap).length > 0)) continue;
    const detail = `missing or broken bitmap '${bitmap}' for disk '${name}'`;
    throw new VirtError(ErrorCode.CHECKPOINT_INCONSISTENT, detail);
  }
}

/** The images of a disk that have a bitmap, the active one first, down to the first that has not. */
function holders({ chain }: LiveDisk, present: readonly BitmapReport[], name: string) {
  const has = (index: number): boolean =>
    present.some((bitmap) => bitmap.imageIndex === index && bitmap.name === name && !bitmap.isBroken);
  const end = chain.findIndex(({ index }) => !has(index));
  return end === -1 ? chain : chain.slice(0, end);
}

/** See {@link DomainCheckpoint.delete}. */
export async function checkpointDelete(record: DomainRecord, name: string, flags: number): Promise<void> {
  const { CHILDREN, CHILDREN_ONLY, METADATA_ONLY } = CheckpointDeleteFlags;
  checkExclusive(flags, ['DELETE_CHILDREN', CHILDREN], ['DELETE_CHILDREN_ONLY', CHILDREN_ONLY]);
  checkFlags(flags, CheckpointDeleteFlags, 'qemuCheckpointDelete');
  await record.locked('DomainCheckpointDelete', async () => {
    const keepsBitmaps = (flags & METADATA_ONLY) !== 0;
    if (!record.running && !keepsBitmaps) throw inactive('delete');
    const { checkpoints } = record;
    const entry = requireCheckpoint(record, name);
    const below = (flags & (CHILDREN | CHILDREN_ONLY)) === 0 ? [] : checkpoints.descendantsOf(entry);
    const doomed = (flags & CHILDREN_ONLY) === 0 ? [...below, entry] : below;
    for (const each of doomed) {
      if (record.running && !keepsBitmaps) await discard(record.running, each.definition);
      checkpoints.remove(each);
      record.journal();
    }
  });
}

async function discard({ machine, disks }: RunningDomain, definition: CheckpointDefinition): Promise<void> {
  if (!machine.changeBitmaps || !machine.bitmaps) throw noSupport('virDomainCheckpointDelete');
  const present = await machine.bitmaps();
  const changes: BitmapChange[] = [];
  for (const { name, bitmap } of definition.disks) {
    const disk = disks.find(({ target }) => target === name);
    if (bitmap === undefined || !disk) continue;
    const images = holders(disk, present, bitmap);
    if (images.length === 0) {
      throw new VirtError(
        ErrorCode.INTERNAL_ERROR,
        `bitmap '${bitmap}' not found in backing chain of '${name}'`,
      );
    }
    for (const image of images) {
      changes.push({ do: 'remove', bitmap: bitmapIn(disk.chain, image, bitmap) });
    }
  }
  if (changes.length > 0) await machine.changeBitmaps(changes);
}

/** See {@link DomainCheckpoint.getXMLDesc}. */
export async function checkpointXml(record: DomainRecord, name: string, flags: number): Promise<string> {
  checkFlags(flags, CheckpointXMLFlags, 'qemuCheckpointGetXMLDesc');
  const { definition, parent } = requireCheckpoint(record, name);
  const isWithoutDomain = (flags & CheckpointXMLFlags.NO_DOMAIN) !== 0;
  const view = { parent: parent?.definition.name, isWithoutDomain };
  if ((flags & CheckpointXMLFlags.SIZE) === 0)
    return checkpointToXml(definition, { ...view, sizes: undefined });
  return record.locked('DomainCheckpointGetXMLDesc', async () => {
    const sizes = await changedSince(record.requireRunning(), definition);
    return checkpointToXml(definition, { ...view, sizes });
  });
}

/** How much of each disk has changed since a checkpoint: what any image of its chain has recorded. */
async function changedSince({ machine, disks }: RunningDomain, { disks: marked }: CheckpointDefinition) {
  const sizes = new Map<string, number>();
  for (const { name, bitmap } of marked) {
    const disk = disks.find(({ target }) => target === name);
    if (bitmap === undefined || !disk) continue;
    sizes.set(name, await recorded(machine, disk, bitmap));
  }
  return sizes;
}

/** libvirt's name for what it adds up in. */
const SUM = 'libvirt-tmp-size-xml';

async function recorded(machine: Machine, disk: LiveDisk, name: string): Promise<number> {
  if (!machine.changeBitmaps || !machine.bitmaps) throw noSupport('virDomainCheckpointGetXMLDesc');
  const sizeOf = async (wanted: string, index: number): Promise<number> =>
    (await machine.bitmaps?.())?.find((bitmap) => bitmap.imageIndex === index && bitmap.name === wanted)
      ?.dirtyBytes ?? 0;
  const images = holders(disk, await machine.bitmaps(), name);
  const [active, ...below] = images;
  if (!active) return 0;
  if (below.length === 0) return sizeOf(name, active.index);
  const sum = { image: imageRef(active), name: SUM };
  const from = images.map((image) => ({ image: imageRef(image), name }));
  await machine.changeBitmaps([
    { do: 'add', bitmap: sum, isTemporary: true },
    { do: 'merge', into: sum, from },
  ]);
  const size = await sizeOf(SUM, active.index);
  await machine.changeBitmaps([{ do: 'remove', bitmap: sum }]);
  return size;
}

const { ROOTS, LEAVES, NO_LEAVES } = CheckpointListFlags;

/**
 * Names of the checkpoints that the flags leave, each behind the one that it came from.
 * @param flags CheckpointListFlags
 * @param above only those that came from this one: its children, or with DESCENDANTS theirs too
 */
export function checkpointNames(
  record: DomainRecord,
  flags: number,
  driverFunction: string,
  above?: string,
): string[] {
  checkFlags(flags, CheckpointListFlags, driverFunction);
  const { checkpoints } = record;
  const entry = above === undefined ? undefined : requireCheckpoint(record, above);
  record.requireKnown();
  const all = inOrder(record);
  const wanted = all.filter((each) => {
    if ((flags & ROOTS) === 0) return entry === undefined || each.parent === entry;
    return entry ? each !== entry && checkpoints.isAbove(entry, each) : each.parent === undefined;
  });
  return wanted
    .filter((each) => {
      const leaf = checkpoints.childrenOf(each).length === 0;
      return passes(flags, { [LEAVES]: leaf, [NO_LEAVES]: !leaf }, [[LEAVES, NO_LEAVES]]);
    })
    .map(({ definition }) => definition.name);
}

function inOrder({ checkpoints }: DomainRecord): CheckpointEntry[] {
  const below = (entry: CheckpointEntry): CheckpointEntry[] => [
    entry,
    ...checkpoints.childrenOf(entry).flatMap(below),
  ];
  return checkpoints
    .all()
    .filter(({ parent }) => parent === undefined)
    .flatMap(below);
}

/**
 * Refuses a job where its bitmaps could not follow (libvirt: qemuDomainSupportsCheckpointsBlockjobs).
 * @throws VirtError OPERATION_UNSUPPORTED
 */
export function requireCheckpointSupport({ checkpoints }: DomainRecord, { machine }: RunningDomain): void {
  if (checkpoints.size === 0 || machine.changeBitmaps) return;
  const detail = 'cannot perform block operations while checkpoint exists';
  throw new VirtError(ErrorCode.OPERATION_UNSUPPORTED, detail);
}
