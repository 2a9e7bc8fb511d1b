/** Raw images on this machine's disk: byte for byte, holes for what was never written. */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import type { Extent } from '../../core/extents.ts';
import type { ByteSource } from './host-file.ts';
import type { Interner } from './intern.ts';

const CHUNK_BYTES = 1 << 20;

/** Takes a file's bytes. Holes are read as well: how much room a host says that it gave lags behind what was written. */
export function readRaw(source: ByteSource, into: Interner): void {
  const buffer = Buffer.alloc(CHUNK_BYTES);
  const zeroes = Buffer.alloc(CHUNK_BYTES);
  for (let start = 0; start < source.sizeBytes; start += CHUNK_BYTES) {
    const chunk = source.read(start, Math.min(CHUNK_BYTES, source.sizeBytes - start), buffer);
    if (chunk.equals(zeroes.subarray(0, chunk.length))) continue;
    into.put(start, chunk, false);
  }
}

/** A range and what it has come to hold; 0 where it holds nothing any more. */
type Change = Extent;

/** What differs between two states of a file, in order. */
export function changesBetween(before: readonly Extent[], after: readonly Extent[]): Change[] {
  const cuts = [...before, ...after].flatMap(({ start, end }) => [start, end]).sort((a, b) => a - b);
  const changes: Change[] = [];
  let [old, now] = [0, 0];
  for (let index = 1; index < cuts.length; index++) {
    const [start, end] = [cuts[index - 1] as number, cuts[index] as number];
    if (start === end) continue;
    while ((before[old]?.end ?? Infinity) <= start) old++;
    while ((after[now]?.end ?? Infinity) <= start) now++;
    const tag = tagAt(after[now], start);
    if (tag === tagAt(before[old], start)) continue;
    const last = changes.at(-1);
    if (last?.end === start && last.tag === tag) changes[changes.length - 1] = { ...last, end };
    else changes.push({ start, end, tag });
  }
  return changes;
}

// A hole reads as zeroes.
const tagAt = (extent: Extent | undefined, at: number): number =>
  extent !== undefined && extent.start <= at ? extent.tag : 0;

/** Writes what has changed into a file that exists, and gives it its size. */
export function writeRaw(
  path: string,
  sizeBytes: number | undefined,
  changes: readonly Change[],
  bytesOf: (start: number, end: number, tag: number) => Buffer,
): void {
  const fd = openSync(path, 'r+');
  try {
    if (sizeBytes !== undefined) ftruncateSync(fd, sizeBytes);
    for (const { start, end, tag } of changes) {
      for (let at = start; at < end; at += CHUNK_BYTES) {
        const bytes = bytesOf(at, Math.min(end, at + CHUNK_BYTES), tag);
        writeSync(fd, bytes, 0, bytes.length, at);
      }
    }
  } finally {
    closeSync(fd);
  }
}
