/** What mirrors of all generations do with the bytes between source and target. */
import type { Errno } from '../errno.ts';
import { ABSENT, type Stretch } from '../extents.ts';
import type { DirtyBitmap } from '../graph/bitmap.ts';
import { takeLanded } from '../graph/blkdebug.ts';
import { tablesBytes } from '../graph/containers.ts';
import { copyRange, discardFrom, flushNode, readAt, skipFilters, unknownAt } from '../graph/data.ts';
import type { BlockNode, WriteKind } from '../graph/node.ts';
import { HOST_BLOCK_BYTES } from '../images.ts';
import type { Traits } from '../traits.ts';
import type { JobFailure } from './effects.ts';
import type { MirrorOptions } from './mirror-options.ts';

/** Copies all that is dirty, without a job's pace and errors: the last thing that a process does. */
export function finishCopy(
  { source, target }: Pick<MirrorOptions, 'source' | 'target'>,
  bitmap: DirtyBitmap,
  inFlight: readonly Stretch[],
): void {
  for (const { start, end } of inFlight) bitmap.force(start, end);
  const endBytes = Math.min(source.lengthBytes, target.lengthBytes);
  for (let dirty = bitmap.ranges.nextFrom(0); dirty; dirty = bitmap.ranges.nextFrom(dirty.end)) {
    copyRange(source, target, dirty.start, Math.min(dirty.end, endBytes));
  }
  flushNode(target);
}

/**
 * Copies a stretch in the order in which its requests end: zeroes need not be read first, data goes request by request.
 * That shows only where somebody watches how far writes go.
 */
export function copyAsIssued(
  source: BlockNode,
  target: BlockNode,
  stretch: Stretch & {
    readonly chunkBytes: number;
    readonly requestBytes: number;
    readonly zeroes: WriteKind;
  },
): void {
  const { start, end, chunkBytes, zeroes } = stretch;
  const requestBytes = isWatched(target) ? stretch.requestBytes : end - start;
  const requests = requestsOf(source, stretch, chunkBytes, requestBytes);
  for (const each of requests) if (each.kind === 'zero') copyKnown(source, target, each, zeroes);
  for (const each of requests) if (each.kind === 'write') copyKnown(source, target, each, 'data');
}

/** Copies; what nobody knows anything of is discarded from the target. */
function copyKnown(source: BlockNode, target: BlockNode, { start, end }: CopyRequest, how: WriteKind): void {
  for (let offset = start; offset < end; ) {
    const span = unknownAt(source, offset, end);
    if (span.unknown) discardFrom(target, offset, span.end);
    else copyRange(source, target, offset, span.end, how);
    offset = span.end;
  }
}

/** How a mirror writes zeroes. */
export const zeroesOf = ({ unmap }: Pick<MirrorOptions, 'unmap'>): WriteKind => (unmap ? 'unmap' : 'zero');

/** Copies the parts of a request that were written although it has failed. */
export function copyLanded(source: BlockNode, target: BlockNode, how: WriteKind): void {
  for (const { start, end } of takeLanded(target)) copyRange(source, target, start, end, how);
}

const isWatched = (node: BlockNode): boolean =>
  node.writeThresholdBytes > 0 || (node.file?.child.writeThresholdBytes ?? 0) > 0;

const SIZE_MISMATCH: Readonly<Record<Traits['mirrorSizeCheck'], JobFailure | undefined>> = {
  text: { code: 'EINVAL', text: 'Source and target image have different sizes' },
  einval: { code: 'EINVAL' },
  eio: { code: 'EIO' },
  none: undefined,
};

/** Why a mirror onto a target of another size fails at its start; undefined: it does not. */
export const sizeMismatch = (traits: Traits): JobFailure | undefined => SIZE_MISMATCH[traits.mirrorSizeCheck];

/** One request of a copy: zeroes are written as such. */
export interface CopyRequest extends Stretch {
  readonly kind: 'write' | 'zero';
}

/** Why a request has failed, and on which side. */
export interface CopyFailure {
  readonly operation: 'read' | 'write';
  readonly code: Errno;
}

/** A request and the error that it has met. */
export interface TriedRequest {
  readonly request: CopyRequest;
  readonly failure: CopyFailure | undefined;
}

/** How much of what was tried met no error. */
export const copiedBytes = (tried: readonly TriedRequest[]): number =>
  tried.reduce((sum, { request, failure }) => (failure ? sum : sum + request.end - request.start), 0);

/** The requests that a stretch is copied by, in whole chunks: zeroes in one, data in pieces. */
export function requestsOf(
  node: BlockNode,
  { start, end }: Stretch,
  chunkBytes: number,
  mostBytes: number,
): CopyRequest[] {
  const requests: CopyRequest[] = [];
  const first = Math.min(end, chunkBytes);
  if (start === 0 && beginsWithBlock(node) && shownAs(node, 0, first).kind === 'zero') {
    requests.push({ start, end: first, kind: 'write' });
  }
  // Of each cluster with a table only the beginning is there, and so each is data by itself.
  const tables = tablesBytes(node);
  for (let offset = requests[0]?.end ?? start; offset < end; ) {
    if (offset < tables) {
      requests.push({ start: offset, end: Math.min(end, offset + chunkBytes), kind: 'write' });
      offset = requests.at(-1)?.end ?? end;
      continue;
    }
    const span = shownAs(node, offset, end);
    const bytes = span.end === end ? end - offset : span.end - offset - ((span.end - offset) % chunkBytes);
    // A chunk that is zero in part only is data.
    const kind = bytes === 0 ? 'write' : span.kind;
    const to = Math.min(end, offset + (bytes === 0 ? chunkBytes : bytes));
    requests.push({ start: offset, end: kind === 'zero' ? to : Math.min(to, offset + mostBytes), kind });
    offset = requests.at(-1)?.end ?? end;
  }
  return requests;
}

/** As what a stretch is shown: zeroes that share a block with data are data. */
function shownAs(node: BlockNode, start: number, limit: number): ReturnType<typeof sameKind> {
  const first = sameKind(node, start, limit);
  if (first.kind === 'zero') {
    if (first.end === limit) return first;
    const hole = first.end - (first.end % HOST_BLOCK_BYTES);
    if (hole > start) return { end: hole, kind: 'zero' };
  }
  let end = first.kind === 'zero' ? sameKind(node, first.end, limit).end : first.end;
  while (end < limit) {
    const gap = sameKind(node, end, limit);
    const shown = Math.ceil(end / HOST_BLOCK_BYTES) * HOST_BLOCK_BYTES;
    if (gap.end === limit || gap.end - (gap.end % HOST_BLOCK_BYTES) > shown)
      return { end: Math.min(shown, limit), kind: 'write' };
    end = sameKind(node, gap.end, limit).end;
  }
  return { end, kind: 'write' };
}

/** How far content goes on being all zeroes, or not. */
export function sameKind(
  node: BlockNode,
  start: number,
  limit: number,
): { readonly end: number; readonly kind: 'write' | 'zero' } {
  const first = readAt(node, start, limit);
  let { end } = first;
  while (end < limit) {
    const next = readAt(node, end, limit);
    if ((next.tag === 0) !== (first.tag === 0)) break;
    end = next.end;
  }
  return { end, kind: first.tag === 0 ? 'zero' : 'write' };
}

// The first block of a new raw file is written, so that its alignment can be probed: it is no hole.
function beginsWithBlock(node: BlockNode): boolean {
  const image = skipFilters(node);
  if (image.driver.supportsBacking) {
    const below = image.backing?.child;
    return below !== undefined && image.driver.at(image, 0, 1).tag === ABSENT && beginsWithBlock(below);
  }
  const below = image.file?.child;
  return below ? beginsWithBlock(below) : image.image?.format === 'raw' && !image.image.startsWithHole;
}

/** Whether a stretch is known to read as zeroes throughout. */
export function isZero(node: BlockNode, start: number, end: number): boolean {
  if (start === 0 && beginsWithBlock(node)) return false;
  for (let offset = start; offset < end; ) {
    const span = readAt(node, offset, end);
    if (span.tag !== 0) return false;
    offset = span.end;
  }
  return true;
}
