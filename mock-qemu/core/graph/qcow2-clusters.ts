/** Which clusters of its file a qcow2 node takes and gives back for what is written to it, and what its file hears of that. */

import { FIRST_CLUSTERS, type KeptAt } from '../cluster-layout.ts';
import { ABSENT } from '../extents.ts';
import { type ImageFile, layoutOf, sharedAt } from '../images.ts';
import { noteShrunk } from './blkdebug.ts';
import type { BlockNode, WriteKind } from './node.ts';
import { isZeroBelow } from './qcow2-io.ts';

/** A protocol node is told to drop bytes. */
export function countDiscard(node: BlockNode, bytes: number): void {
  if (!node.unmap || bytes === 0) return;
  node.discarded.operations++;
  node.discarded.bytes += bytes;
}

/** What is about to be written takes its places. */
export function placeWrite(
  node: BlockNode,
  image: ImageFile,
  start: number,
  end: number,
  how: WriteKind,
): void {
  const { clusterSizeBytes: cluster } = image.header;
  const layout = layoutOf(image);
  const keptAt = keptAtOf(node, image);
  const [first, last] = [Math.floor(start / cluster), Math.ceil(end / cluster)];
  if (how === 'data') layout.put(first, last, keptAt);
  else if (how === 'compressed') layout.putCompressed(first, last);
  else {
    // Zeroes that share a cluster with something else are data.
    const isTail = end === image.virtualSizeBytes;
    const from = start % cluster === 0 || canZero(node, image, first) ? first : first + 1;
    const to = end % cluster === 0 || isTail || canZero(node, image, last - 1) ? last : last - 1;
    if (from > first) layout.put(first, first + 1, keptAt);
    if (from < to) layout.zero(from, to, how === 'unmap', keptAt);
    if (to < last && last - 1 >= from) layout.put(last - 1, last, keptAt);
    passDiscards(node);
  }
}

/** Whole clusters are dropped. */
export function dropClusters(node: BlockNode, image: ImageFile, start: number, end: number): void {
  const { clusterSizeBytes: cluster } = image.header;
  layoutOf(image).zero(start / cluster, Math.ceil(end / cluster), true, keptAtOf(node, image));
  passDiscards(node);
}

/** An image that shrinks drops, in its file, the clusters of what goes, then the tables that are no longer needed. */
export function shrinkClusters(node: BlockNode, image: ImageFile, lengthBytes: number): void {
  const { clusterSizeBytes: cluster } = image.header;
  if (lengthBytes >= image.virtualSizeBytes) return;
  const [end, oldEnd] = [Math.ceil(lengthBytes / cluster), Math.ceil(image.virtualSizeBytes / cluster)];
  const file = fileBelow(node, () => true);
  const layout = layoutOf(image);
  const freed = layout.truncate(end, oldEnd);
  for (const { count } of freed) if (file) countDiscard(file, count * cluster);
  // The table that the disk ends in, or the one that named the tables which have gone.
  const table = layout.tableAt(Math.floor(end / layout.clustersOfTable)) ?? FIRST_CLUSTERS.l1;
  noteShrunk(node, layout, freed.length > 0 ? [FIRST_CLUSTERS.refcounts, table] : []);
}

/** What has been given back is told to the file, where the node and all below it let discards through. */
function passDiscards(node: BlockNode): void {
  const image = node.image;
  const runs = image?.layout?.takeFreed() ?? [];
  const file = node.unmap ? fileBelow(node, ({ unmap }) => unmap) : undefined;
  if (!file || !image) return;
  for (const { count } of runs) countDiscard(file, count * image.header.clusterSizeBytes);
}

/** The protocol node below a format, if what is in between does what is asked of it. */
function fileBelow(node: BlockNode, passes: (node: BlockNode) => boolean): BlockNode | undefined {
  let at = node.file?.child;
  while (at && at.driver.kind !== 'protocol') {
    if (!passes(at)) return undefined;
    at = (at.filtered ?? at.file)?.child;
  }
  return at;
}

/** What internal snapshots keep is not written over. Where requests may fail, that has been seen to already. */
function keptAtOf(node: BlockNode, image: ImageFile): KeptAt | undefined {
  if (image.snapshots.length === 0 || node.io) return undefined;
  const { clusterSizeBytes: cluster } = image.header;
  return (at, limit) => {
    const [from, to] = [at * cluster, limit * cluster];
    const pending = node.pending?.at(from, to) ?? { end: to, tag: ABSENT };
    const { end, shared } = sharedAt(image, from, pending.end);
    return { end: Math.max(at + 1, Math.floor(end / cluster)), kept: shared && pending.tag === ABSENT };
  };
}

/** Whether a cluster that zeroes are written to in part reads as zeroes throughout: then it is noted as such. */
function canZero(node: BlockNode, image: ImageFile, cluster: number): boolean {
  const { clusterSizeBytes } = image.header;
  const start = cluster * clusterSizeBytes;
  const end = Math.min(start + clusterSizeBytes, image.virtualSizeBytes);
  for (let at = start; at < end; ) {
    const { tag, end: until } = node.driver.at(node, at, end);
    if (tag > 0 || (tag === ABSENT && !isZeroBelow(node, at, until - at))) return false;
    at = until;
  }
  return true;
}
