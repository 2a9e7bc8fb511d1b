/** Moving bytes through the graph. Nothing here takes time; errors are decided before it is called. */
import { CommandError } from '../errors.ts';
import { ABSENT, type Span, type Tag } from '../extents.ts';
import { copyContainer } from './containers.ts';
import type { BlockNode, WriteKind } from './node.ts';

/** The first node below filters. */
export function skipFilters(node: BlockNode): BlockNode {
  let at = node;
  while (at.filtered) at = at.filtered.child;
  return at;
}

/** The first node below filters that jobs inserted unasked: what the user put there. */
export function skipImplicit(node: BlockNode): BlockNode {
  let at = node;
  while (at.implicit && at.filtered) at = at.filtered.child;
  return at;
}

/** What a filter filters, or what an overlay lies on. */
export const belowOf = (node: BlockNode): BlockNode | undefined => (node.filtered ?? node.backing)?.child;

/** The next image of a chain: past filters, the backing node's first image. */
export function backingOf(node: BlockNode): BlockNode | undefined {
  const below = skipFilters(node).backing?.child;
  return below && skipFilters(below);
}

/** All images of a chain without filters, the given node's first. */
export function chainOf(node: BlockNode): BlockNode[] {
  const chain: BlockNode[] = [];
  for (let at: BlockNode | undefined = skipFilters(node); at; at = backingOf(at)) chain.push(at);
  return chain;
}

/** A node and what its own bytes lie on, down to its file: those that a request to it reaches, not its backing files. */
export function* storageOf(node: BlockNode): Generator<BlockNode, void> {
  for (let at: BlockNode | undefined = node; at; at = (at.filtered ?? at.file)?.child) yield at;
}

/** What a reader of `node` gets at `offset`. */
export function readAt(node: BlockNode, offset: number, limit: number): Span {
  const lengthBytes = node.lengthBytes;
  if (offset >= lengthBytes) return { end: limit, tag: 0 };
  const span = node.driver.at(node, offset, Math.min(limit, lengthBytes));
  if (span.tag !== ABSENT) return span;
  const backing = skipFilters(node).backing;
  return backing ? readAt(backing.child, offset, span.end) : { end: span.end, tag: 0 };
}

/** Whether nothing is known of what a node reads as: it has no file and does not promise zeroes, and so holds nothing. */
const isUnknown = (node: BlockNode): boolean =>
  node.driver.supportsBacking || node.file === undefined
    ? node.driver.holdsNothing === true && !node.readsZeroes
    : isUnknown(skipFilters(node.file.child));

/** How far a stretch goes on being one of which nobody knows what it reads as, or not. */
export function unknownAt(
  node: BlockNode,
  offset: number,
  limit: number,
): { readonly end: number; readonly unknown: boolean } {
  const last = chainOf(node).at(-1);
  if (last === undefined || !isUnknown(last)) return { end: limit, unknown: false };
  const { end, allocated } = allocatedAbove(node, undefined, offset, limit);
  return { end, unknown: !allocated };
}

/** What says which bytes of an image are allocated: a raw image leaves that to a format that it lies on. */
function layerOf(node: BlockNode): BlockNode {
  for (let at = node; ; ) {
    if (at.driver.supportsBacking) return at;
    if (!at.file) return node;
    at = skipFilters(at.file.child);
  }
}

/**
 * Whether a layer between `top` and `base` (base not included) holds the byte at `offset`, and how far that goes. Beyond the
 * end of `top` nothing does.
 */
export function allocatedAbove(
  top: BlockNode,
  base: BlockNode | undefined,
  offset: number,
  limit: number,
): { readonly end: number; readonly allocated: boolean } {
  const stop = base && skipFilters(base);
  let end = limit;
  for (let at: BlockNode | undefined = skipFilters(top); at && at !== stop; at = backingOf(at)) {
    if (isUnknown(at)) continue;
    const lengthBytes = at.lengthBytes;
    // An overlay that leaves a stretch to a shorter image gets zeroes from there: as if that image had them.
    if (offset >= lengthBytes) return { end, allocated: at !== skipFilters(top) };
    const layer = layerOf(at);
    const span = layer.driver.at(layer, offset, Math.min(end, lengthBytes));
    if (span.tag !== ABSENT) return { end: span.end, allocated: true };
    end = span.end;
  }
  return { end, allocated: false };
}

/** Somebody reads a range: filters that it passes do what they do then. */
export function noteRead(node: BlockNode, start: number, end: number): void {
  if (!isReadWatched(node)) return;
  node.hooks?.beforeRead?.(start, end);
  if (node.filtered) noteRead(node.filtered.child, start, end);
  if (!node.backing) return;
  for (let offset = start; offset < end; ) {
    const own = node.driver.at(node, offset, end);
    if (own.tag === ABSENT) noteRead(node.backing.child, offset, own.end);
    offset = own.end;
  }
}

function isReadWatched(node: BlockNode): boolean {
  for (let at: BlockNode | undefined = node; at; at = (at.filtered ?? at.backing)?.child) {
    if (at.hooks?.beforeRead) return true;
  }
  return false;
}

/** Writes content; tells bitmaps, hooks and the write threshold. Left out, `how` is as zeroes are usually written. */
export function writeTo(
  node: BlockNode,
  start: number,
  end: number,
  tag: Tag,
  how: WriteKind = tag === 0 ? 'zero' : 'data',
): void {
  if (start >= end) return;
  node.hooks?.beforeWrite?.(start, end);
  const file = watchedFile(node);
  const fileBytes = file?.lengthBytes ?? 0;
  node.driver.write(node, start, end, tag, how === 'unmap' && !node.unmap ? 'zero' : how);
  node.writeHighestOffset = Math.max(node.writeHighestOffset, end);
  noteWrite(node, start, end);
  if (file && file.lengthBytes > fileBytes) tellThreshold(file, file.lengthBytes);
  node.hooks?.afterWrite?.(start, end, tag);
}

/** Drops content, where the node lets discards through; the filters of jobs do not. */
export function discardFrom(node: BlockNode, start: number, end: number): void {
  if (!node.unmap) return;
  node.hooks?.beforeWrite?.(start, end);
  if (node.driver.kind === 'filter' && node.filtered) discardFrom(node.filtered.child, start, end);
  else {
    node.driver.discard(node, start, end);
    noteWrite(node, start, end);
  }
  node.hooks?.afterWrite?.(start, end, 0);
}

/**
 * A write has failed on its way: what it reached counts as written to all the same, down to the format, or to the blkdebug node
 * that has stopped it.
 */
export function noteFailedWrite(node: BlockNode, start: number, end: number, stopsAtDebug: boolean): void {
  for (let at: BlockNode | undefined = node; at; at = at.filtered?.child) {
    at.writeHighestOffset = Math.max(at.writeHighestOffset, end);
    noteWrite(at, start, end);
    if (stopsAtDebug && at.debug) return;
  }
}

function noteWrite(node: BlockNode, start: number, end: number): void {
  node.generation++;
  for (const bitmap of node.bitmaps) bitmap.mark(start, end);
  tellThreshold(node, end);
}

function tellThreshold(node: BlockNode, end: number): void {
  if (node.writeThresholdBytes > 0 && end > node.writeThresholdBytes) {
    node.onThreshold?.(end - Number(node.writeThresholdBytes));
  }
}

/** The file below a format with clusters, if its threshold is armed: new clusters go to the file's end. */
function watchedFile(node: BlockNode): BlockNode | undefined {
  const file = node.driver.supportsBacking ? node.file?.child : undefined;
  return file && file.writeThresholdBytes > 0 ? file : undefined;
}

/** Copies what a reader of `from` sees into `to`. Left out, zeroes are written as such. */
export function copyRange(from: BlockNode, to: BlockNode, start: number, end: number, how?: WriteKind): void {
  noteRead(from, start, end);
  // It is one request, however often its content changes.
  tellThreshold(to, end);
  if (copyContainer(from, to, start, end)) {
    for (const each of storageOf(to)) noteWrite(each, start, end);
    return;
  }
  for (let offset = start; offset < end; ) {
    const span = readAt(from, offset, end);
    writeTo(to, offset, span.end, span.tag, how);
    offset = span.end;
  }
}

/** How many drained sections that nobody ends a node is held by, its own and those of what it rests on. */
export const holdsOn = (node: BlockNode): number =>
  [node.filtered, node.file, node.backing].reduce(
    (sum, edge) => sum + (edge ? holdsOn(edge.child) : 0),
    node.heldForGood,
  );

/** Makes a node longer; false: its driver cannot do that. */
export function grow(node: BlockNode, lengthBytes: number): boolean {
  try {
    node.driver.truncate(node, lengthBytes);
    return true;
  } catch (error) {
    if (error instanceof CommandError) return false;
    throw error;
  }
}

/** Whether a flush would have anything to do: what passes everything on has nothing of its own to flush. */
export function needsFlush(node: BlockNode): boolean {
  const below = node.filtered?.child ?? node.file?.child;
  const passesOn = below !== undefined && !node.driver.supportsBacking;
  if (!passesOn && node.generation !== node.flushedGeneration) return true;
  return below !== undefined && needsFlush(below);
}

/** Whether requests to a node are done as soon as they are made: nothing but memory is asked. */
export function answersAtOnce(node: BlockNode): boolean {
  if (node.throttle) return false;
  const below = node.filtered?.child ?? (node.driver.supportsBacking ? undefined : node.file?.child);
  if (below) return answersAtOnce(below);
  return node.driver.name === 'null-co' && !node.isSlow;
}

/** Makes everything written to a node last. */
export function flushNode(node: BlockNode): void {
  const below = node.filtered?.child ?? node.file?.child;
  node.driver.flush(node);
  node.flushedGeneration = node.generation;
  if (below) flushNode(below);
}
