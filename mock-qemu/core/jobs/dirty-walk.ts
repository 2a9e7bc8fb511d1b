/** The way of a mirror through its dirty bitmap. */

import { ExtentMap, type Stretch } from '../extents.ts';
import type { DirtyBitmap } from '../graph/bitmap.ts';

/** As many chunks as QEMU looks at together. */
const CHUNKS_PER_WORD = 64;

/**
 * Goes round and round. Chunks are looked at by the word: what is marked in the word that was looked at last is met in the next
 * round only, unless it follows directly on what is copied.
 */
export class DirtyWalk {
  readonly #bitmap: DirtyBitmap;
  readonly #wordBytes: number;
  #nextOffset = 0;
  #wordStart = Number.NaN;
  /** What has been marked in the word since. */
  readonly #unseen = new ExtentMap();

  constructor(bitmap: DirtyBitmap) {
    this.#bitmap = bitmap;
    this.#wordBytes = CHUNKS_PER_WORD * bitmap.granularityBytes;
    bitmap.beforeMark = (start, end) => this.#note(start, end);
  }

  /** The dirty stretch that comes next. */
  next(): Stretch | undefined {
    const { ranges } = this.#bitmap;
    for (let at = this.#nextOffset; ; ) {
      const dirty = ranges.nextFrom(at);
      if (dirty === undefined) break;
      const start = Math.max(dirty.start, at);
      const hidden = this.#unseen.nextFrom(start);
      if (!hidden || hidden.start > start) return { start, end: dirty.end };
      at = hidden.end;
    }
    return ranges.nextFrom(0);
  }

  /** A stretch has been taken. */
  passed({ start, end }: Stretch): void {
    const wordStart = this.#wordOf(end - 1);
    const hidden = this.#unseen.nextFrom(start);
    if (wordStart !== this.#wordStart || start < this.#nextOffset || (hidden && hidden.start < end))
      this.#unseen.truncate(0);
    this.#wordStart = wordStart;
    this.#nextOffset = end;
  }

  /** What was taken has not been issued, from somewhere on. */
  goBack(offset: number): void {
    if (offset >= this.#nextOffset) return;
    this.#nextOffset = offset;
    this.#unseen.truncate(0);
  }

  #wordOf(offset: number): number {
    return offset - (offset % this.#wordBytes);
  }

  #note(start: number, end: number): void {
    const from = Math.max(start, this.#nextOffset, this.#wordStart);
    const to = Math.min(end, this.#wordStart + this.#wordBytes);
    for (let at = from; at < to; ) {
      const dirty = this.#bitmap.ranges.nextFrom(at);
      const clean = Math.min(to, Math.max(at, dirty?.start ?? to));
      if (clean > at) this.#unseen.set(at, clean, 1);
      at = dirty ? Math.max(clean, dirty.end) : to;
    }
  }
}
