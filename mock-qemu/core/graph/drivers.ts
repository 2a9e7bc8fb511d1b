/** The drivers of nodes, as a table. */
import { assert } from '../../../src/util/assert.ts';
import { refuse } from '../errors.ts';
import { ABSENT, type ExtentMap, type Span, type Stretch, type Tag } from '../extents.ts';
import { fileSizeBytes, HOST_BLOCK_BYTES, type ImageFile, sharedAt } from '../images.ts';
import type { NbdConnection } from '../nbd.ts';
import { hasDebugBelow, noteHeader, noteSteps } from './blkdebug.ts';
import { noteRead, readAt, writeTo } from './data.ts';
import type { BlockDriver, BlockNode, Edge, WriteKind } from './node.ts';
import { countDiscard, dropClusters, placeWrite, shrinkClusters } from './qcow2-clusters.ts';

const imageOf = (node: BlockNode): ImageFile => {
  assert(node.image, `node ${node.name} has no image`);
  return node.image;
};

const childOf = (edge: Edge | undefined): BlockNode => {
  assert(edge, 'a filter or format node without its child');
  return edge.child;
};

/** What the format node above has allocated in a file and not flushed. */
function unflushedBytes(node: BlockNode): number {
  const above = node.parents.find(({ role }) => role === 'file')?.parent;
  return above?.kind === 'node' ? (above.node.pending?.coveredBytes ?? 0) : 0;
}

/** Whether a format with tables keeps its clusters in a node, be it through others. */
const isWrittenByFormat = (node: BlockNode): boolean =>
  node.parents.some(({ role, parent }) => {
    if (parent.kind !== 'node') return false;
    if (!parent.node.driver.supportsBacking) return isWrittenByFormat(parent.node);
    return role === 'file';
  });

const SECTOR_BYTES = 512;
const wholeSectors = (bytes: number): number => Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;

/** A whole block that is zeroed or dropped becomes a hole; one that is written to in part is data as a whole. */
function noteFirstBlock(image: ImageFile, start: number, end: number, isHole: boolean): void {
  if (start < HOST_BLOCK_BYTES && (!isHole || (start === 0 && end >= HOST_BLOCK_BYTES)))
    image.startsWithHole = isHole;
}

/** The bytes of a file as they are. A hole reads as zeroes, so nothing is ever absent at this level. */
const file: BlockDriver = {
  name: 'file',
  kind: 'protocol',
  supportsBacking: false,
  // Sectors count whole.
  lengthBytes(node) {
    const image = imageOf(node);
    const bytes = fileSizeBytes(image, unflushedBytes(node));
    const { knownBytes = bytes } = node;
    // What others do to a file goes unnoticed; what the format above does to it has been done through this node.
    return wholeSectors(isWrittenByFormat(node) ? Math.max(knownBytes, bytes) : knownBytes);
  },
  at(node, offset, limit) {
    const span = imageOf(node).extents.at(offset, limit);
    return span.tag === ABSENT ? { end: span.end, tag: 0 } : span;
  },
  write(node, start, end, tag, how) {
    const image = imageOf(node);
    // What is written over a container is no content of its image: mostly it lands where nothing of that lies.
    if (image.format !== 'raw') {
      if (end > file.lengthBytes(node)) node.knownBytes = end;
      return;
    }
    image.extents.set(start, end, tag);
    noteFirstBlock(image, start, end, how !== 'data');
    // Its last sector is written whole.
    if (end > image.virtualSizeBytes) image.virtualSizeBytes = end;
  },
  discard(node, start, end) {
    if (imageOf(node).format === 'raw') {
      imageOf(node).extents.clear(start, end);
      noteFirstBlock(imageOf(node), start, end, true);
    }
    countDiscard(node, end - start);
  },
  flush: (node) => imageOf(node).save(),
  truncate(node, lengthBytes) {
    const image = imageOf(node);
    // A container that has grown at its end holds what it held, and says so.
    if (image.format !== 'raw') {
      if (lengthBytes > file.lengthBytes(node)) node.knownBytes = lengthBytes;
      return;
    }
    image.extents.truncate(lengthBytes);
    image.virtualSizeBytes = lengthBytes;
    node.knownBytes = lengthBytes;
  },
};

/** Passes everything on, byte for byte. */
const raw: BlockDriver = {
  name: 'raw',
  kind: 'format',
  supportsBacking: false,
  lengthBytes: (node) => node.knownLengthBytes ?? childOf(node.file).lengthBytes,
  at: (node, offset, limit) => readAt(childOf(node.file), offset, limit),
  write: (node, start, end, tag, how) => writeTo(childOf(node.file), start, end, tag, how),
  discard(node, start, end) {
    const child = childOf(node.file);
    child.driver.discard(child, start, end);
  },
  flush: () => undefined,
  truncate(node, lengthBytes) {
    node.knownLengthBytes = undefined;
    const child = childOf(node.file);
    child.driver.truncate(child, lengthBytes);
  },
};

/**
 * Clusters, backing files, and metadata that stays in the process until a flush: a cluster that was allocated since is
 * lost with the process, one that was there before is written in place.
 */
const qcow2: BlockDriver & Required<Pick<BlockDriver, 'settle'>> = {
  name: 'qcow2',
  kind: 'format',
  supportsBacking: true,
  lengthBytes: (node) => imageOf(node).virtualSizeBytes,
  at(node, offset, limit) {
    const pending = node.pending?.at(offset, limit) ?? { end: limit, tag: ABSENT };
    return pending.tag === ABSENT ? imageOf(node).extents.at(offset, pending.end) : pending;
  },
  write: writeClusters,
  discard(node, start, end) {
    noteSteps(node, 'discard', start, end - start);
    const { clusterSizeBytes } = imageOf(node).header;
    const from = Math.ceil(start / clusterSizeBytes) * clusterSizeBytes;
    const isTail = end === imageOf(node).virtualSizeBytes;
    const to = isTail ? end : Math.floor(end / clusterSizeBytes) * clusterSizeBytes;
    if (from < to) dropClusters(node, imageOf(node), from, to);
    // Where the tables' own writes may fail, what they say counts from these on.
    const unflushed = node.file && hasDebugBelow(node.file.child) ? node.pending : undefined;
    for (let at = from; at < to; ) {
      const span = qcow2.at(node, at, to);
      // What was there reads as zeroes; what was not must not begin to show what is below.
      if (span.tag !== ABSENT || node.backing) (unflushed ?? imageOf(node).extents).set(at, span.end, 0);
      at = span.end;
    }
    if (!unflushed) node.pending?.clear(from, to);
  },
  flush(node) {
    noteSteps(node, 'flush', 0, 0);
    qcow2.settle(node);
    node.unwritten = undefined;
  },
  settle(node) {
    const image = imageOf(node);
    for (const { start, end, tag } of node.pending?.extents ?? []) image.extents.set(start, end, tag);
    node.pending?.truncate(0);
  },
  truncate(node, lengthBytes) {
    qcow2.flush(node);
    const image = imageOf(node);
    const before = image.virtualSizeBytes;
    shrinkClusters(node, image, lengthBytes);
    image.extents.truncate(lengthBytes);
    image.virtualSizeBytes = lengthBytes;
    // What a longer backing file has there must not begin to show.
    if (lengthBytes > before && node.backing && node.backing.child.lengthBytes > before)
      writeClusters(node, before, lengthBytes, 0, 'zero');
    noteHeader(node);
  },
};

function writeClusters(node: BlockNode, start: number, end: number, tag: Tag, how: WriteKind): void {
  const image = imageOf(node);
  const isNoted = how === 'zero' || how === 'unmap';
  noteSteps(node, isNoted ? 'zero' : 'write', start, end - start, how === 'unmap');
  node.hasRefcounts = true;
  node.hasTables = true;
  placeWrite(node, image, start, end, how);
  const cluster = image.header.clusterSizeBytes;
  fillCluster(node, Math.floor(start / cluster) * cluster, start);
  fillCluster(node, end, Math.min(Math.ceil(end / cluster) * cluster, image.virtualSizeBytes));
  const { pending } = node;
  if (pending === undefined) {
    image.extents.set(start, end, tag);
    return;
  }
  const noted = how === 'data' ? { start: end, end } : wholeWithin({ start, end }, cluster, image);
  for (let offset = start; offset < end; ) {
    const isNoted = offset >= noted.start && offset < noted.end;
    const edge = offset < noted.start ? noted.start : isNoted ? noted.end : end;
    const unflushed = pending.at(offset, edge);
    const flushed = image.extents.at(offset, unflushed.end);
    const { end: until, shared } = sharedAt(image, offset, flushed.end);
    // What an internal snapshot keeps is not written over: a new cluster takes its place.
    const isNew = unflushed.tag !== ABSENT || flushed.tag === ABSENT || shared || isNoted;
    const to = isNew || flushed.tag !== 0 ? until : withinClusters({ start: offset, end: until }, cluster);
    const into: ExtentMap = isNew || isZeroCluster(image, offset) ? pending : image.extents;
    into.set(offset, to, tag);
    offset = to;
  }
}

/** The clusters that lie in a stretch as a whole, or as much of them as the disk has. */
function wholeWithin({ start, end }: Stretch, cluster: number, { virtualSizeBytes }: ImageFile): Stretch {
  const from = Math.min(end, Math.ceil(start / cluster) * cluster);
  const to = end === virtualSizeBytes ? end : Math.floor(end / cluster) * cluster;
  return { start: from, end: Math.max(from, to) };
}

/** How far a stretch goes in whole clusters, or in one that is not whole. */
function withinClusters({ start, end }: Stretch, cluster: number): number {
  const next = Math.floor(start / cluster) * cluster + cluster;
  return start % cluster !== 0 || end < next ? Math.min(end, next) : Math.floor(end / cluster) * cluster;
}

/** Whether the tables say of a cluster that it is zero: what is written there changes what they say. */
function isZeroCluster({ header, extents, virtualSizeBytes }: ImageFile, offset: number): boolean {
  const { clusterSizeBytes: cluster } = header;
  const start = Math.floor(offset / cluster) * cluster;
  const end = Math.min(virtualSizeBytes, start + cluster);
  const span = extents.at(start, end);
  return span.tag === 0 && span.end === end;
}

// Copy on write: the part of a new cluster that the guest did not write comes from below.
function fillCluster(node: BlockNode, start: number, end: number): void {
  for (let offset = start; offset < end; ) {
    const own: Span = qcow2.at(node, offset, end);
    if (own.tag === ABSENT) {
      if (node.backing) noteRead(node.backing.child, offset, own.end);
      for (let at = offset; at < own.end; ) {
        const below = node.backing ? readAt(node.backing.child, at, own.end) : { end: own.end, tag: 0 };
        (node.pending ?? imageOf(node).extents).set(at, below.end, below.tag);
        at = below.end;
      }
    }
    offset = own.end;
  }
}

const refuseResize = (): never => refuse('Image format driver does not support resize');

/** Swallows writes, reads as zeroes. */
const nullCo: BlockDriver = {
  name: 'null-co',
  kind: 'protocol',
  supportsBacking: false,
  holdsNothing: true,
  // Sectors count whole here, too.
  lengthBytes: (node) => wholeSectors(node.fixedSizeBytes),
  at: (_node, _offset, limit) => ({ end: limit, tag: 0 }),
  write: () => undefined,
  discard: () => undefined,
  flush: () => undefined,
  truncate: refuseResize,
};

const filter = (name: string): BlockDriver => ({
  name,
  kind: 'filter',
  supportsBacking: false,
  lengthBytes: (node) => node.knownLengthBytes ?? childOf(node.filtered).lengthBytes,
  at(node, offset, limit) {
    const child = childOf(node.filtered);
    return child.driver.at(child, offset, limit);
  },
  write: (node, start, end, tag, how) => writeTo(childOf(node.filtered), start, end, tag, how),
  discard: () => undefined,
  flush: () => undefined,
  truncate(node, lengthBytes) {
    node.knownLengthBytes = lengthBytes;
    const child = childOf(node.filtered);
    child.driver.truncate(child, lengthBytes);
  },
});

/** Passes everything on unless a rule of its node is in the way, which is looked at before data moves. */
const blkdebug: BlockDriver = {
  ...filter('blkdebug'),
  discard(node, start, end) {
    const child = childOf(node.filtered);
    child.driver.discard(child, start, end);
  },
};

const remoteOf = (node: BlockNode): NbdConnection => {
  assert(node.remote, `node ${node.name} has no connection`);
  return node.remote;
};

/** What another machine exports. */
const nbd: BlockDriver = {
  name: 'nbd',
  kind: 'protocol',
  supportsBacking: false,
  lengthBytes: (node) => remoteOf(node).sizeBytes,
  at: (node, offset, limit) => remoteOf(node).at(offset, limit),
  write: (node, start, end, tag) => remoteOf(node).write(start, end, tag),
  discard: (node, start, end) => remoteOf(node).discard(start, end),
  flush: (node) => remoteOf(node).flush(),
  truncate: refuseResize,
};

/** Passes everything on, at the pace of its group. */
const throttle: BlockDriver = { ...blkdebug, name: 'throttle' };

/** Every driver a node can have, by its QAPI name. */
export const DRIVERS = {
  file,
  host_device: { ...file, name: 'host_device' },
  raw,
  qcow2,
  blkdebug,
  throttle,
  nbd,
  'null-co': nullCo,
  'null-aio': { ...nullCo, name: 'null-aio' },
  mirror_top: filter('mirror_top'),
  commit_top: filter('commit_top'),
  'copy-on-read': filter('copy-on-read'),
  'copy-before-write': filter('copy-before-write'),
} as const satisfies Record<string, BlockDriver>;

/** The QAPI name of a driver. */
export type DriverName = keyof typeof DRIVERS;
