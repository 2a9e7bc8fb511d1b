/** How stream, commit and backup walk over a disk. */

/** One step of these jobs moves at most this much. */
export const CHUNK_BYTES = 512 << 10;

/** What is to be done with the bytes up to `end`. */
export interface Work {
  readonly end: number;
  readonly copy: boolean;
}

/**
 * The next piece of work: a chunk to copy at most, or everything up to it at once, for what need not be copied takes
 * no time.
 */
export function nextWork(
  offset: number,
  sizeBytes: number,
  look: (offset: number, limit: number) => Work,
  chunkBytes = CHUNK_BYTES,
): Work {
  let end = offset;
  while (end < sizeBytes) {
    const work = look(end, sizeBytes);
    if (work.copy) {
      if (end > offset) return { end, copy: false };
      return { end: Math.min(work.end, offset + chunkBytes), copy: true };
    }
    end = work.end;
  }
  return { end, copy: false };
}
