/** Starting mirrors and backups. */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import { CommandError, refuse } from '../../core/errors.ts';
import type { DirtyBitmap } from '../../core/graph/bitmap.ts';
import { backingOf, belowOf, chainOf, skipFilters, skipImplicit } from '../../core/graph/data.ts';
import { DRIVERS } from '../../core/graph/drivers.ts';
import { backendName, checkNotBlocked, isRoot } from '../../core/graph/graph.ts';
import type { BlockNode } from '../../core/graph/node.ts';
import { fileOptions, keepLength, openNode, probeFormat } from '../../core/graph/open.ts';
import { BackupTask } from '../../core/jobs/backup.ts';
import type { Job, JobTask, JobType } from '../../core/jobs/job.ts';
import { MirrorTask } from '../../core/jobs/mirror.ts';
import type { MirrorBacking, MirrorOptions, MirrorSync } from '../../core/jobs/mirror-options.ts';
import type { ErrorPolicy } from '../../core/jobs/policy.ts';
import type { HeldNode } from '../../core/jobs/registry.ts';
import type { JobTransaction } from '../../core/jobs/transaction.ts';
import { ALL, READ, RESIZE, type Rights, WRITE, WRITE_UNCHANGED } from '../../core/rights.ts';
import type { Vm } from '../../core/vm.ts';
import { checkUsable } from './bitmaps.ts';
import { createImageFile } from './nodes.ts';
import {
  type CommandContext,
  type CommandTable,
  choice,
  exactInteger,
  flag,
  integer,
  isObject,
  needText,
  quoted,
  text,
} from './table.ts';

const DEFAULT_BUF_BYTES = 16 << 20;
const DEFAULT_WORKERS = 64;
const MIN_GRANULARITY = 512;
const MAX_GRANULARITY = 64 << 20;

/** The granularity for a target whose user did not choose one. */
const defaultGranularity = (target: BlockNode): number =>
  Math.min(65536, Math.max(4096, skipFilters(target).image?.header.clusterSizeBytes ?? 65536));

/** A filter that a job needs above a node, not there yet; a name that the user gave makes it visible. */
function addFilter(vm: Vm, driver: keyof typeof DRIVERS, args: JsonObject): BlockNode {
  const name = text(args, 'filter-node-name');
  return vm.graph.add({
    name,
    driver: DRIVERS[driver],
    readOnly: driver === 'commit_top',
    // Backups show their filter even if nobody named it.
    implicit: name === undefined && driver !== 'copy-before-write',
  });
}

/** Puts the filter of a mirror or a commit above a node. */
export function appendFilter(
  vm: Vm,
  driver: 'mirror_top' | 'commit_top',
  above: BlockNode,
  { args, state = 'active' }: { readonly args: JsonObject; readonly state?: BlockNode['filterState'] },
): BlockNode {
  const filter = addFilter(vm, driver, args);
  filter.filterState = state;
  try {
    vm.graph.insertAbove(filter, 'filtered', above);
    keepLength(filter);
  } catch (error) {
    vm.graph.collect(filter);
    throw error;
  }
  return filter;
}

/** Opens the filter of a stream or a backup over a node, as blockdev-add would, then puts it above. */
export function openFilter(
  vm: Vm,
  driver: 'copy-on-read' | 'copy-before-write',
  above: BlockNode,
  { args, target }: { readonly args: JsonObject; readonly target?: BlockNode },
): BlockNode {
  let filter: BlockNode | undefined;
  let step = 'create';
  try {
    filter = addFilter(vm, driver, args);
    filter.alwaysReads = driver === 'copy-before-write' && vm.traits.backupsAlwaysRead;
    vm.graph.adopt(filter, 'filtered', above);
    keepLength(filter);
    if (target) vm.graph.adopt(filter, 'target', target);
    step = 'replace';
    // A target that lies on its source stays there: the filter holds the target.
    vm.graph.replace(above, filter);
  } catch (error) {
    if (filter) vm.graph.collect(filter);
    if (error instanceof CommandError) refuse(`Could not ${step} node: ${error.message}`);
    throw error;
  }
  return filter;
}

/** A job about to be created, but for what every start command says. */
interface FilterJob {
  readonly args: JsonObject;
  readonly defaultId: string;
  readonly type: JobType;
  readonly task: JobTask;
  readonly nodes: readonly HeldNode[];
  readonly transaction?: JobTransaction | undefined;
}

/** Creates a job with what its command says of all jobs. */
export function createJob(vm: Vm, { args, defaultId, ...rest }: FilterJob): Job {
  return vm.jobs.create({
    ...rest,
    id: text(args, 'job-id') ?? defaultId,
    autoFinalize: flag(args, 'auto-finalize'),
    autoDismiss: flag(args, 'auto-dismiss'),
    speedBytesPerSecond: exactInteger(args, 'speed'),
  });
}

/** Creates a job whose filter is in place, and lets it take what it needs; where that is refused, the filter goes again. */
export function createOverFilter(vm: Vm, job: FilterJob, equip: (job: Job) => void = () => undefined): Job {
  let created: Job | undefined;
  try {
    created = createJob(vm, job);
    equip(created);
    return created;
  } catch (error) {
    if (created) vm.jobs.discard(created);
    job.task.clean?.(vm);
    throw error;
  }
}

function checkGranularity(granularity: number): void {
  if (granularity !== 0 && (granularity < MIN_GRANULARITY || granularity > MAX_GRANULARITY)) {
    refuse("Parameter 'granularity' expects a value in range [512B, 64MB]");
  }
  if ((granularity & (granularity - 1)) !== 0) refuse("Parameter 'granularity' expects a power of 2");
}

function checkReplaces(vm: Vm, source: BlockNode, args: JsonObject): void {
  const replaces = text(args, 'replaces');
  if (replaces === undefined) return;
  const node = vm.graph.nodes.get(replaces) ?? refuse(`Failed to find node with node-name='${replaces}'`);
  checkNotBlocked(node, 'replace');
  if (node !== source && !chainOf(source).includes(node)) {
    refuse(
      `Cannot replace ${quoted(replaces)} by a node mirrored from ${quoted(source.name)}, because it cannot be ` +
        'guaranteed that doing so would not lead to an abrupt change of visible data',
    );
  }
  if (node.lengthBytes !== source.lengthBytes) {
    refuse('cannot replace image with a mirror image of different size');
  }
}

/** What drive-mirror and blockdev-mirror share. */
function startMirror(
  vm: Vm,
  args: JsonObject,
  how: {
    readonly source: BlockNode;
    readonly target: BlockNode;
    readonly targetIsZero: MirrorOptions['targetIsZero'];
    readonly backing: MirrorBacking;
  },
): undefined {
  const { source, target } = how;
  const granularity = integer(args, 'granularity') ?? 0;
  checkGranularity(granularity);
  checkNotBlocked(source, 'mirror-source');
  checkNotBlocked(target, 'mirror-target');
  checkReplaces(vm, source, args);
  const mode = needText(args, 'sync');
  if (mode !== 'full' && mode !== 'top' && mode !== 'none') refuse(`Sync mode '${mode}' not supported`);
  const sync = mode === 'top' && backingOf(source) === undefined ? 'full' : (mode as MirrorSync);
  const bufSize = integer(args, 'buf-size') ?? 0;
  if (bufSize < 0) refuse("Invalid parameter 'buf-size'");
  if (skipFilters(source) === skipFilters(target)) refuse("Can't mirror node into itself");
  vm.reach('mirror.target-created');
  const granularityBytes = granularity || defaultGranularity(target);
  const defaultId = backendName(source);
  startMirrorJob(
    vm,
    { args, defaultId, type: 'mirror' },
    {
      source,
      target,
      sync,
      commitBase: undefined,
      granularityBytes,
      bufSizeBytes: roundUp(bufSize || DEFAULT_BUF_BYTES, granularityBytes),
      onSourceError: choice<ErrorPolicy>(args, 'on-source-error', 'report'),
      onTargetError: choice<ErrorPolicy>(args, 'on-target-error', 'report'),
      writeBlocking: text(args, 'copy-mode') === 'write-blocking',
      targetIsZero: how.targetIsZero,
      backing: how.backing,
      unmap: args.unmap !== false,
      replaces: text(args, 'replaces'),
    },
  );
  return undefined;
}

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** Starts a mirror job, a copy or an active commit. */
export function startMirrorJob(
  vm: Vm,
  job: { readonly args: JsonObject; readonly defaultId: string; readonly type: 'mirror' | 'commit' },
  options: Omit<MirrorOptions, 'filter' | 'bitmapOn'>,
): void {
  const { source, target } = options;
  // Whatever the job is called: a copy onto an image of the source's own chain is a commit.
  const isCommit = chainOf(source).includes(target);
  const state = isCommit ? 'commit' : 'active';
  const filter = appendFilter(vm, 'mirror_top', source, { args: job.args, state });
  const task = new MirrorTask({
    ...options,
    filter,
    bitmapOn: vm.traits.jobBitmapsOn === 'filter' ? filter : source,
  });
  // The source must not be resized while it is copied.
  const rights = { needs: READ, shares: ALL & ~RESIZE };
  const nodes = [{ node: filter, as: 'main node', rights }] as const;
  const created = createOverFilter(vm, { ...job, task, nodes }, (each) => {
    if (isCommit) vm.jobs.addBackend(each, target, commitTargetRights(source, target));
    else if (chainOf(source).includes(skipFilters(target))) {
      refuse("Cannot mirror to a filter on top of a node in the source's backing chain");
    } else vm.jobs.addBackend(each, target, { needs: WRITE, shares: WRITE_UNCHANGED });
    vm.jobs.use(each, { node: source, as: 'source', rights: { needs: 0, shares: ALL & ~RESIZE } });
    vm.jobs.use(each, { node: target, as: 'target' });
    if (isCommit) useIntermediates(vm, each, source, target);
  });
  created.start();
}

/** What a commit needs of an image into which it merges others: more, if it has to grow. */
export const commitTargetRights = (source: BlockNode, target: BlockNode): Rights => ({
  needs: target.lengthBytes < source.lengthBytes ? WRITE | RESIZE : WRITE,
  shares: ALL & ~RESIZE,
});

/** Keeps others from relying on the images between a commit's source and its target. */
function useIntermediates(vm: Vm, job: Job, source: BlockNode, target: BlockNode): void {
  for (let node = belowOf(source); node && node !== target; node = belowOf(node)) {
    useIntermediate(vm, job, node, target);
  }
}

/** Writes are allowed, for what forbids them on a node forbids them on all below; filters of the target may be read. */
export function useIntermediate(vm: Vm, job: Job, node: BlockNode, target: BlockNode): void {
  const shares = skipFilters(node) === skipFilters(target) ? ALL & ~RESIZE : WRITE | WRITE_UNCHANGED;
  vm.jobs.use(job, { node, as: 'intermediate node', rights: { needs: 0, shares } });
}

function blockdevMirror({ vm }: CommandContext, args: JsonObject): undefined {
  const source = vm.graph.find(needText(args, 'device'));
  if (!isRoot(source)) refuse('Need a root block node');
  const target = vm.graph.find(needText(args, 'target'));
  // A target that can unmap is zeroed first; then only what is allocated is copied.
  return startMirror(vm, args, {
    source,
    target,
    targetIsZero: needText(args, 'sync') !== 'full' || (target.unmap && 'made'),
    backing: 'leave',
  });
}

type DriveCopy = 'drive-mirror' | 'drive-backup';

/** The file that drive-mirror and drive-backup write to, which is there by now. */
interface TargetFile {
  /** It was made with so many requests that others get on with theirs meanwhile. */
  readonly tookLong: boolean;
  open(): BlockNode;
}

/** What a file is opened as that is there: as its content says, but beside a node with no format above it as a file. */
function formatOf(vm: Vm, source: BlockNode, path: string): string {
  const copied = skipImplicit(source);
  return copied.driver.kind === 'protocol' || copied.debug ? 'file' : probeFormat(vm.images, path);
}

/** Creates, unless it exists, the file that drive-mirror and drive-backup write to. */
function targetFile(vm: Vm, source: BlockNode, args: JsonObject, kind: DriveCopy): TargetFile {
  const isMirror = kind === 'drive-mirror';
  const path = needText(args, 'target');
  const existing = text(args, 'mode') === 'existing';
  const driver =
    text(args, 'format') ?? (existing ? formatOf(vm, source, path) : skipFilters(source).driver.name);
  if (!Object.hasOwn(DRIVERS, driver)) {
    refuse(existing ? `Unknown driver '${driver}'` : `Unknown file format '${driver}'`);
  }
  let tookLong = false;
  if (!existing) {
    const sync = needText(args, 'sync');
    // What is right below, be it a filter that somebody has put there.
    const next = skipFilters(source).backing?.child;
    const onBacking = isMirror ? sync !== 'full' : sync === 'top';
    const below = sync === 'none' ? skipImplicit(source) : onBacking && next ? skipImplicit(next) : undefined;
    tookLong = createImageFile(vm, path, {
      driver,
      sizeBytes: source.lengthBytes,
      backing: below,
      opensBacking: !isMirror && sync !== 'none',
    });
  }
  return { tookLong, open: () => openTargetFile(vm, source, args, { kind, driver }) };
}

function openTargetFile(
  vm: Vm,
  source: BlockNode,
  args: JsonObject,
  { kind, driver }: { readonly kind: DriveCopy; readonly driver: string },
): BlockNode {
  const isMirror = kind === 'drive-mirror';
  const name = text(args, 'node-name');
  return openNode(vm, {
    driver,
    // What copies a file as it lies on the host makes another one, with nothing above it.
    ...(driver === 'file'
      ? { filename: needText(args, 'target') }
      : { file: fileOptions(needText(args, 'target')) }),
    // Zeroes cost a mirror nothing where its target may unmap, and that is as its source.
    discard: isMirror && !skipFilters(source).unmap ? 'ignore' : 'unmap',
    // A mirror opens the chain below only when it ends; a backup of everything to come lies on its source.
    ...(driver === 'qcow2' && (isMirror || text(args, 'sync') === 'none') && { backing: null }),
    ...(!isMirror && { 'detect-zeroes': 'unmap' }),
    ...(name !== undefined && { 'node-name': name }),
  });
}

function driveMirror({ vm }: CommandContext, args: JsonObject): undefined {
  const source = vm.graph.find(needText(args, 'device'));
  if (!isRoot(source)) refuse('Need a root block node');
  checkNotBlocked(source, 'mirror-source');
  if (text(args, 'replaces') !== undefined && text(args, 'node-name') === undefined) {
    refuse('a node-name must be provided when replacing a named node of the graph');
  }
  const target = targetFile(vm, source, args, 'drive-mirror').open();
  const existing = text(args, 'mode') === 'existing';
  try {
    return startMirror(vm, args, {
      source,
      target,
      targetIsZero: !existing,
      backing: existing ? 'open-from-header' : 'source-chain',
    });
  } catch (error) {
    vm.graph.collect(target);
    throw error;
  }
}

/** Refuses a bitmap that a backup could make no use of. */
function checkBitmapUse(bitmap: DirtyBitmap, mode: string, bitmapMode: string | undefined): void {
  if (mode !== 'incremental' && bitmapMode === undefined) {
    refuse('Bitmap sync mode must be given when providing a bitmap');
  }
  checkUsable(bitmap, 'read-only');
  if (mode === 'none') refuse("sync mode 'none' does not produce meaningful bitmap outputs");
  if (bitmapMode === 'never' && mode !== 'bitmap') {
    refuse(`Bitmap sync mode 'never' has no meaningful effect when combined with sync mode '${mode}'`);
  }
}

/** Checks, and prepares to start, a backup; the answer is the job, not yet started. */
export function createBackup(
  vm: Vm,
  args: JsonObject,
  target: BlockNode,
  kind: 'blockdev-backup' | 'drive-backup',
  transaction?: JobTransaction,
): Job {
  const source = vm.graph.find(needText(args, 'device'));
  const mode = needText(args, 'sync');
  const bitmapName = text(args, 'bitmap');
  if ((mode === 'incremental' || mode === 'bitmap') && bitmapName === undefined) {
    refuse(`must provide a valid bitmap name for '${mode}' sync mode`);
  }
  const bitmapMode = text(args, 'bitmap-mode');
  if (mode === 'incremental' && (bitmapMode ?? 'on-success') !== 'on-success') {
    refuse("Bitmap sync mode must be 'on-success' when using sync mode 'incremental'");
  }
  const bitmap = source.bitmaps.find((each) => bitmapName !== undefined && each.name === bitmapName);
  if (bitmapName !== undefined && !bitmap) refuse(`Bitmap '${bitmapName}' could not be found`);
  if (bitmap) checkBitmapUse(bitmap, mode, bitmapMode);
  if (!bitmap && bitmapMode !== undefined) refuse('Cannot specify bitmap sync mode without a bitmap');
  if (source === target) refuse('Source and target cannot be the same');
  if (flag(args, 'compress') && !target.driver.supportsBacking) {
    refuse(`Compression is not supported for this drive ${backendName(target)}`);
  }
  checkNotBlocked(source, 'backup-source');
  checkNotBlocked(target, 'backup-target');
  checkPerf(args);
  if (source.lengthBytes !== target.lengthBytes) refuse('Source and target image have different sizes');
  const defaultId = backendName(source);
  const filter = openFilter(vm, 'copy-before-write', source, { args, target });
  const sync = kind === 'drive-backup' && mode === 'top' && !backingOf(source) ? 'full' : mode;
  const task = new BackupTask({
    bitmapOn: vm.traits.jobBitmapsOn === 'filter' ? filter : source,
    source,
    target,
    filter,
    sync: sync === 'incremental' ? 'bitmap' : (sync as 'full' | 'top' | 'none' | 'bitmap'),
    bitmap,
    compress: flag(args, 'compress') ?? false,
    maxChunkBytes: integer(perfOf(args), 'max-chunk') ?? 0,
    maxWorkers: integer(perfOf(args), 'max-workers') ?? DEFAULT_WORKERS,
    bitmapMode: (bitmapMode ?? 'on-success') as 'on-success' | 'never' | 'always',
    onSourceError: choice<ErrorPolicy>(args, 'on-source-error', 'report'),
    onTargetError: choice<ErrorPolicy>(args, 'on-target-error', 'report'),
  });
  return createOverFilter(vm, {
    args,
    defaultId,
    type: 'backup',
    task,
    // The filter holds the target: the job itself needs no rights.
    nodes: [
      { node: filter, as: 'main node' },
      { node: target, as: 'target' },
    ],
    transaction,
  });
}

const perfOf = (args: JsonObject): JsonObject => (isObject(args['x-perf']) ? args['x-perf'] : {});

function checkPerf(args: JsonObject): void {
  const perf = perfOf(args);
  const workers = integer(perf, 'max-workers') ?? DEFAULT_WORKERS;
  if (workers < 1 || workers > 2_147_483_647) refuse('max-workers must be between 1 and 2147483647');
  if ((integer(perf, 'max-chunk') ?? 0) < 0) {
    refuse('max-chunk must be zero (which means no limit) or positive');
  }
}

/** The target of a drive-backup: a file that exists now, to be opened when others have got on with their work. */
export function backupFile(vm: Vm, args: JsonObject): TargetFile {
  const source = vm.graph.find(needText(args, 'device'));
  // Before a file is made for nothing.
  checkNotBlocked(source, 'backup-source');
  const { tookLong, open } = targetFile(vm, source, args, 'drive-backup');
  return { tookLong, open: () => laidOnSource(vm, source, args, open()) };
}

/** A backup of everything to come reads the rest from its source. */
function laidOnSource(vm: Vm, source: BlockNode, args: JsonObject, target: BlockNode): BlockNode {
  if (text(args, 'sync') !== 'none') return target;
  try {
    if (!target.driver.supportsBacking) {
      refuse(`Driver '${target.driver.name}' of node '${target.name}' does not support backing files`);
    }
    vm.graph.adopt(target, 'backing', source);
    return target;
  } catch (error) {
    vm.graph.collect(target);
    throw error;
  }
}

/** Start commands of copies. */
export const copyCommands: CommandTable = {
  'blockdev-mirror': blockdevMirror,
  'drive-mirror': driveMirror,
};
