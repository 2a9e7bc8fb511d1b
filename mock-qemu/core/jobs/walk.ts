/** How stream, commit and backup walk over a disk. */

/** One step of these jobs moves at most this much. */
export const CHUNK_BYTES = 512 << 10;

/** What is to be done with the bytes up to `end`. */
export interface Work {
  readonly end: number;
  readonly copy: boolean;
}

/** A walk over what need not be copied takes no more steps than this, however large the disk: from 2 GiB on they are longer. */
const MAX_STEPS = 4096;

/**
 * The next piece of work: as far as one answer goes, a chunk at most. After each one a job lets others run, also after what
 * need not be copied.
 */
export function nextWork(
  offset: number,
  sizeBytes: number,
  look: (offset: number, limit: number) => Work,
): Work {
  const chunks = Math.ceil(sizeBytes / MAX_STEPS / CHUNK_BYTES);
  const work = look(offset, Math.min(sizeBytes, offset + Math.max(1, chunks) * CHUNK_BYTES));
  return work.copy ? { end: Math.min(work.end, offset + CHUNK_BYTES), copy: true } : work;
}
