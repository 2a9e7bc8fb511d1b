/**
 * A sparse map from byte ranges to content tags. Its cost grows with the number of extents, never with bytes, so that
 * a fully written disk of a tebibyte is one entry.
 */

/** What a range holds: 0..255 is that byte throughout; larger tags are blobs of a {@link BlobTable}. */
export type Tag = number;
/** The answer for a range that the map does not hold. */
export const ABSENT: Tag = -1;

/** One stretch of equal content. `tag` is {@link ABSENT} in a gap. */
export interface Span {
  readonly end: number;
  readonly tag: Tag;
}

/** From a start to an end, the end not included: bytes, where nothing else is said. */
export interface Stretch {
  readonly start: number;
  readonly end: number;
}

/** One entry of an {@link ExtentMap}: bytes from `start` to, not including, `end`. */
export interface Extent extends Stretch {
  readonly tag: Tag;
}

/** A mutable sparse map of sorted extents that never overlap; neighbours of equal content are one extent. */
export class ExtentMap {
  #list: Extent[];
  #covered: number;
  /** Another map has the same list until one of them changes. */
  #shared = false;

  constructor(extents: readonly Extent[] = []) {
    this.#list = [...extents];
    this.#covered = extents.reduce((sum, extent) => sum + extent.end - extent.start, 0);
  }

  /** A map of its own that holds the same. */
  copy(): ExtentMap {
    const copy = new ExtentMap();
    copy.become(this);
    return copy;
  }

  /** Holds what another map holds, instead of what it held. */
  become(other: ExtentMap): void {
    this.#list = other.#list;
    this.#covered = other.#covered;
    this.#shared = true;
    other.#shared = true;
  }

  /** How many bytes are held. */
  get coveredBytes(): number {
    return this.#covered;
  }

  /** How many extents there are: what the map costs. */
  get count(): number {
    return this.#list.length;
  }

  /** All extents in order. */
  get extents(): readonly Extent[] {
    return this.#list;
  }

  /** The end of the last extent. */
  get endBytes(): number {
    return this.#list.at(-1)?.end ?? 0;
  }

  /** The stretch that begins at `offset`, cut at `limit`. */
  at(offset: number, limit: number): Span {
    const extent = this.#list[this.#indexOf(offset)];
    if (extent === undefined) return { end: limit, tag: ABSENT };
    if (extent.start > offset) return { end: Math.min(extent.start, limit), tag: ABSENT };
    return { end: Math.min(extent.end, limit), tag: extent.tag };
  }

  /** The first extent that ends after `offset`. */
  nextFrom(offset: number): Extent | undefined {
    return this.#list[this.#indexOf(offset)];
  }

  /** Puts content over a range; {@link ABSENT} makes a gap. */
  set(start: number, end: number, tag: Tag): void {
    if (start >= end) return;
    if (this.#shared) {
      this.#list = [...this.#list];
      this.#shared = false;
    }
    const last = this.#list.at(-1);
    if (last === undefined || last.end <= start) this.#append(last, start, end, tag);
    else this.#overwrite(start, end, tag);
  }

  /** Makes a gap. */
  clear(start: number, end: number): void {
    this.set(start, end, ABSENT);
  }

  /** Drops everything at and after `length`. */
  truncate(length: number): void {
    const end = this.endBytes;
    if (end > length) this.clear(length, end);
  }

  #append(last: Extent | undefined, start: number, end: number, tag: Tag): void {
    if (tag === ABSENT) return;
    this.#covered += end - start;
    if (last !== undefined && last.end === start && last.tag === tag) {
      this.#list[this.#list.length - 1] = { start: last.start, end, tag };
    } else {
      this.#list.push({ start, end, tag });
    }
  }

  #overwrite(start: number, end: number, tag: Tag): void {
    const list = this.#list;
    // One further on each side, so that equal neighbours become one extent.
    let from = this.#indexOf(start);
    if (list[from - 1]?.end === start) from--;
    let to = from;
    let grown = tag === ABSENT ? 0 : end - start;
    let left: Extent | undefined;
    let right: Extent | undefined;
    for (let extent = list[to]; extent !== undefined && extent.start <= end; extent = list[++to]) {
      grown -= Math.max(0, Math.min(extent.end, end) - Math.max(extent.start, start));
      if (extent.start < start) left = { start: extent.start, end: start, tag: extent.tag };
      if (extent.end > end) right = { start: end, end: extent.end, tag: extent.tag };
    }
    // Nothing to clear.
    if (tag === ABSENT && grown === 0) return;
    const put: Extent[] = [];
    if (left !== undefined && left.tag !== tag) put.push(left);
    if (tag !== ABSENT) {
      const joinedStart = left?.tag === tag ? left.start : start;
      const joinedEnd = right?.tag === tag ? right.end : end;
      put.push({ start: joinedStart, end: joinedEnd, tag });
    }
    if (right !== undefined && right.tag !== tag) put.push(right);
    // As many as before, which is usual, need not move what is behind them.
    if (put.length === to - from) for (const extent of put) list[from++] = extent;
    else list.splice(from, to - from, ...put);
    this.#covered += grown;
  }

  /** Index of the first extent that ends after `offset`. */
  #indexOf(offset: number): number {
    let low = 0;
    let high = this.#list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#list[middle] as Extent).end > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/**
 * Content that is not one repeated byte. A blob knows where it lies on the disk, so a tag stands for "the byte at this
 * position" and stays true however its range is cut: block jobs copy content to equal offsets.
 */
export class BlobTable {
  readonly #blobs: { readonly origin: number; readonly bytes: Uint8Array }[] = [];
  readonly #known = new Map<string, Tag>();

  /** The tag for `bytes` at `origin`; equal content at an equal place has an equal tag. */
  intern(origin: number, bytes: Uint8Array): Tag {
    const key = `${origin}:${bytes.join()}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const tag = 256 + this.#blobs.length;
    // Not slice(): a Buffer of Node shares its memory with its slices.
    this.#blobs.push({ origin, bytes: new Uint8Array(bytes) });
    this.#known.set(key, tag);
    return tag;
  }

  /** The byte that `tag` stands for at a position of the disk. */
  byteAt(tag: Tag, offset: number): number {
    if (tag < 256) return Math.max(0, tag);
    const blob = this.#blobs[tag - 256];
    return blob?.bytes[offset - blob.origin] ?? 0;
  }
}
