/** query-block, query-named-block-nodes, query-blockstats: the graph as a client sees it. */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import { type BlockBackend, type IoCounters, noCounters } from '../../core/graph/backend.ts';
import { skipFilters, skipImplicit } from '../../core/graph/data.ts';
import { fileNameOf } from '../../core/graph/names.ts';
import type { BlockNode } from '../../core/graph/node.ts';
import { imageBelow } from '../../core/graph/open.ts';
import { fileSizeBytes, type ImageFile, resolveBacking, storedBytes } from '../../core/images.ts';
import { CreateTask } from '../../core/jobs/create.ts';
import { hasRemoteBelow } from '../../core/nbd.ts';
import type { ThrottleGroup } from '../../core/throttle.ts';
import type { Behaviour } from '../../profiles/profile.ts';
import { histogramInfo } from './rare.ts';
import { snapshotInfo } from './snapshots.ts';
import { type CommandContext, type CommandTable, flag } from './table.ts';
import { throttleInfo } from './throttling.ts';

/** The image with clusters that a node is, or passes its requests on to. */
function clustersOf(node: BlockNode): BlockNode['image'] {
  if (node.driver.supportsBacking) return node.image;
  return node.file && clustersOf(skipFilters(node.file.child));
}

/** QAPI ImageInfo of one node, without its backing image. */
function imageInfo({ fileDetails }: Behaviour, node: BlockNode): JsonObject {
  const file = imageBelow(node);
  const { image } = node;
  const isFormat = node.driver.supportsBacking && image !== undefined;
  const backingName = isFormat ? image.header.backingName || undefined : undefined;
  // Filters and raw nodes pass on what the image below them says about clusters.
  const below = skipFilters(node);
  const clusters = clustersOf(below);
  const snapshots = clusters?.snapshots.map(snapshotInfo) ?? [];
  return {
    ...(backingName !== undefined &&
      image?.header.backingFormat !== undefined && {
        'backing-filename-format': image.header.backingFormat,
      }),
    ...(snapshots.length > 0 && { snapshots }),
    'virtual-size': node.lengthBytes,
    filename: fileNameOf(node),
    ...(clusters && { 'cluster-size': clusters.header.clusterSizeBytes }),
    format: node.driver.name,
    ...(file && { 'actual-size': file.format === 'raw' ? storedBytes(file) : fileSizeBytes(file) }),
    ...(isFormat && { 'format-specific': qcow2Details(image) }),
    ...(fileDetails && node.driver.name === 'file' && { 'format-specific': { type: 'file', data: {} } }),
    ...(backingName !== undefined &&
      image && {
        'full-backing-filename': resolveBacking(image.path, backingName),
        'backing-filename': backingName,
      }),
    ...(hasDirtyFlag(below) && { 'dirty-flag': false }),
  };
}

/** ImageInfoSpecificQCow2. */
function qcow2Details({ bitmaps }: ImageFile): JsonObject {
  const list = bitmaps.map(({ name, granularityBytes, auto, inUse }) => ({
    flags: [...(inUse ? ['in-use'] : []), ...(auto ? ['auto'] : [])],
    name,
    granularity: granularityBytes,
  }));
  const data = {
    compat: '1.1',
    'compression-type': 'zlib',
    'lazy-refcounts': false,
    ...(list.length > 0 && { bitmaps: list }),
    'refcount-bits': 16,
    corrupt: false,
    'extended-l2': false,
  };
  return { type: 'qcow2', data };
}

/** ImageInfo with all images below; queries by device pass over the filters that jobs inserted unasked. */
function withBacking(behaviour: Behaviour, node: BlockNode, byDevice: boolean): JsonObject {
  const child = node.filtered?.child ?? node.backing?.child;
  const below = child && (byDevice ? skipImplicit(child) : child);
  const info = imageInfo(behaviour, node);
  return below ? { ...info, 'backing-image': withBacking(behaviour, below, byDevice) } : info;
}

/** How many images {@link withBacking} shows below a node. */
function depthOf(node: BlockNode, byDevice: boolean): number {
  const child = node.filtered?.child ?? node.backing?.child;
  return child ? 1 + depthOf(byDevice ? skipImplicit(child) : child, byDevice) : 0;
}

function bitmapInfo(node: BlockNode): JsonObject {
  if (node.bitmaps.length === 0) return {};
  const list = node.bitmaps.toReversed().map((bitmap) => ({
    ...(bitmap.name !== undefined && { name: bitmap.name }),
    recording: bitmap.recording,
    persistent: bitmap.persistent,
    busy: bitmap.busy,
    granularity: bitmap.granularityBytes,
    count: bitmap.countBytes,
    ...(bitmap.inconsistent && { inconsistent: true }),
  }));
  return { 'dirty-bitmaps': list };
}

/** QAPI BlockDeviceInfo. `flat`: without the images below. */
function deviceInfo(
  { profile }: CommandContext,
  node: BlockNode,
  shown: 'flat' | 'by-device' | 'by-node',
  throttle?: ThrottleGroup,
): JsonObject {
  const { behaviour } = profile;
  const byDevice = shown === 'by-device';
  const below = node.backing?.child;
  return {
    ...throttleInfo(throttle),
    ...(profile.behaviour.inactiveNodes && { active: node.active }),
    ...bitmapInfo(node),
    detect_zeroes: node.detectZeroes,
    image: shown === 'flat' ? imageInfo(behaviour, node) : withBacking(behaviour, node, byDevice),
    ro: node.readOnly,
    'node-name': node.name,
    backing_file_depth: shown === 'flat' ? 0 : depthOf(node, byDevice),
    drv: node.driver.name,
    ...(below && { backing_file: fileNameOf(below) }),
    encrypted: false,
    write_threshold: signed(node.writeThresholdBytes),
    file: fileNameOf(node),
    cache: { 'no-flush': false, direct: false, writeback: true },
  };
}

function blockInfo(context: CommandContext, backend: BlockBackend): JsonObject {
  const node = backend.node && skipImplicit(backend.node);
  return {
    ...(backend.ioStatus !== undefined && { 'io-status': backend.ioStatus }),
    device: backend.name,
    locked: false,
    removable: backend.removable || (backend.qdev === undefined && backend.name !== ''),
    ...(node && { inserted: deviceInfo(context, node, 'by-device', backend.throttle) }),
    ...(backend.qdev !== undefined && { qdev: backend.qdev }),
    type: 'unknown',
    ...(backend.removable && { tray_open: backend.trayOpen }),
  };
}

function stats(
  { zoneStatistics }: Behaviour,
  { of: { read, write, flush, discard }, histograms }: IoCounters,
  writeHighestOffset: number,
): JsonObject {
  return {
    ...histogramInfo(histograms),
    flush_total_time_ns: Math.round(flush.totalNs),
    wr_highest_offset: writeHighestOffset,
    wr_total_time_ns: Math.round(write.totalNs),
    failed_wr_operations: write.failed,
    failed_rd_operations: read.failed,
    wr_merged: 0,
    wr_bytes: write.bytes,
    timed_stats: [],
    failed_unmap_operations: discard.failed,
    failed_flush_operations: flush.failed,
    ...(zoneStatistics && NO_ZONES),
    account_invalid: true,
    rd_total_time_ns: Math.round(read.totalNs),
    invalid_unmap_operations: 0,
    flush_operations: flush.operations,
    wr_operations: write.operations,
    unmap_merged: 0,
    rd_merged: 0,
    rd_bytes: read.bytes,
    unmap_total_time_ns: Math.round(discard.totalNs),
    invalid_flush_operations: 0,
    account_failed: true,
    unmap_operations: discard.operations,
    unmap_bytes: discard.bytes,
    rd_operations: read.operations,
    invalid_wr_operations: 0,
    invalid_rd_operations: 0,
  };
}

const NO_ZONES = {
  failed_zone_append_operations: 0,
  invalid_zone_append_operations: 0,
  zone_append_bytes: 0,
  zone_append_merged: 0,
  zone_append_operations: 0,
  zone_append_total_time_ns: 0,
} as const;

/** A number of 64 bits without a sign, told with one. */
const signed = (value: number | bigint): number | bigint =>
  typeof value === 'bigint' ? BigInt.asIntN(64, value) : value;

const idleStats = (behaviour: Behaviour, writeHighestOffset: number): JsonObject => ({
  ...stats(behaviour, noCounters(), writeHighestOffset),
  account_invalid: false,
  account_failed: false,
});

/** Statistics of a node and what is below: by device the whole chain, by node its storage alone. */
function nodeStats(
  behaviour: Behaviour,
  node: BlockNode,
  shown: 'by-device' | 'by-node',
  counters?: IoCounters,
): JsonObject {
  const image = shown === 'by-device' ? skipImplicit(node) : node;
  const file = (image.filtered ?? image.file)?.child;
  // What a filter passes on is told twice.
  const below = shown === 'by-device' ? (image.filtered ?? image.backing)?.child : undefined;
  return {
    ...(below && { backing: nodeStats(behaviour, below, shown) }),
    ...(file && { parent: nodeStats(behaviour, file, shown) }),
    stats: counters
      ? stats(behaviour, counters, node.writeHighestOffset)
      : idleStats(behaviour, node.writeHighestOffset),
    ...(image.driver.name === 'file' && {
      'driver-specific': {
        driver: 'file',
        'discard-nb-failed': 0,
        'discard-bytes-ok': image.discarded.bytes,
        'discard-nb-ok': image.discarded.operations,
      },
    }),
    'node-name': image.name,
  };
}

const backendStats = (behaviour: Behaviour, backend: BlockBackend): JsonObject => ({
  ...(backend.node
    ? nodeStats(behaviour, skipImplicit(backend.node), 'by-device', backend.counters)
    : { stats: stats(behaviour, backend.counters, 0) }),
  device: backend.name,
  ...(backend.qdev !== undefined && { qdev: backend.qdev }),
});

/** What is not kept in a file says nothing about its state. */
const hasDirtyFlag = (node: BlockNode): boolean =>
  !node.driver.name.startsWith('null-') && !hasRemoteBelow(node);

/** An image that is being formatted has a node already, whose details nobody can tell. */
function dieIfFormatting({ vm, profile }: CommandContext): void {
  const isFormatting = vm.jobs.jobs.some(({ task }) => task instanceof CreateTask && task.formatting);
  if (!isFormatting || !profile.bugs.listingWhileFormattingAborts) return;
  vm.options.print('stderr', "qcow2_get_specific_info: Assertion `false' failed.\n");
  vm.die(null, 'SIGABRT');
}

/** Queries of the block graph. */
export const blockQueryCommands: CommandTable = {
  'query-block': (context) => context.vm.graph.backends.map((backend) => blockInfo(context, backend)),
  'query-named-block-nodes': (context, args) => {
    dieIfFormatting(context);
    const nodes = [...context.vm.graph.nodes.values()].reverse();
    const flat = flag(args, 'flat') ?? false;
    return nodes.map((node) => deviceInfo(context, node, flat ? 'flat' : 'by-node'));
  },
  'query-blockstats': ({ vm, profile }, args) =>
    flag(args, 'query-nodes')
      ? [...vm.graph.nodes.values()].map((node) => nodeStats(profile.behaviour, node, 'by-node'))
      : vm.graph.backends.map((backend) => backendStats(profile.behaviour, backend)),
};
