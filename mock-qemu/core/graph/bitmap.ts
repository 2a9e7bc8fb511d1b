/** Dirty bitmaps: which parts of a node changed, in chunks. */
import { assert } from '../../../src/util/assert.ts';
import { ExtentMap } from '../extents.ts';

/** What is wanted of a new bitmap. */
export interface BitmapOptions {
  /** Undefined: a job's own, not addressable. */
  readonly name?: string;
  readonly granularityBytes: number;
  readonly persistent?: boolean;
  readonly enabled?: boolean;
  /** Kept by a job, not by the node that it is on: shows as not recording. */
  readonly keptByJob?: boolean;
  /** Whoever wrote to its image last did not put it back. */
  readonly inconsistent?: boolean;
}

/** A set of dirty chunks; ranges, so that its cost is the number of dirty stretches. */
export class DirtyBitmap {
  name: string | undefined;
  readonly granularityBytes: number;
  persistent: boolean;
  enabled: boolean;
  readonly keptByJob: boolean;
  /** A job works on it: nobody may touch it. */
  busy = false;
  /** What it marks is not known: it can only be removed. */
  readonly inconsistent: boolean;
  /** Its image may not be written. */
  readOnly = false;
  readonly ranges = new ExtentMap();
  /** Told whenever something was marked: an idle mirror waits for this. */
  onMark: (() => void) | undefined;
  /** Told of whole chunks that a write is about to mark. */
  beforeMark: ((start: number, end: number) => void) | undefined;
  /** Marks in its place while a backup works on it; the two are on the same node. */
  successor: DirtyBitmap | undefined;

  constructor(options: BitmapOptions) {
    this.name = options.name;
    this.granularityBytes = options.granularityBytes;
    this.persistent = options.persistent ?? false;
    this.enabled = options.enabled ?? true;
    this.keptByJob = options.keptByJob ?? false;
    this.inconsistent = options.inconsistent ?? false;
  }

  /** Whether what is written now is marked here or in the successor. */
  get recording(): boolean {
    return !this.keptByJob && (this.enabled || (this.successor?.enabled ?? false));
  }

  /** Dirty bytes, in whole chunks. */
  get countBytes(): number {
    return this.ranges.coveredBytes;
  }

  /** Marks every chunk that the range touches, if the bitmap records. */
  mark(start: number, end: number): void {
    if (!this.enabled) return;
    const chunk = this.granularityBytes;
    this.beforeMark?.(Math.floor(start / chunk) * chunk, Math.ceil(end / chunk) * chunk);
    this.force(start, end);
  }

  /** Marks every chunk that the range touches. */
  force(start: number, end: number): void {
    const chunk = this.granularityBytes;
    this.ranges.set(Math.floor(start / chunk) * chunk, Math.ceil(end / chunk) * chunk, 1);
    this.onMark?.();
  }

  /** Marks whole chunks as clean. */
  reset(start: number, end: number): void {
    const chunk = this.granularityBytes;
    this.ranges.clear(Math.floor(start / chunk) * chunk, Math.ceil(end / chunk) * chunk);
  }
}

/**
 * Keeps a bitmap as it is for a backup: from now on an anonymous successor marks what is written.
 * @param list the bitmaps of the node that it is on
 */
export function freezeBitmap(list: DirtyBitmap[], bitmap: DirtyBitmap): void {
  const { granularityBytes, enabled } = bitmap;
  bitmap.successor = new DirtyBitmap({ granularityBytes, enabled });
  bitmap.enabled = false;
  bitmap.busy = true;
  list.push(bitmap.successor);
}

/** A backup has saved what a frozen bitmap marks: the successor becomes the bitmap. @returns the successor */
export function abdicate(list: DirtyBitmap[], bitmap: DirtyBitmap): DirtyBitmap {
  const { successor } = bitmap;
  assert(successor, `bitmap '${bitmap.name}' is not frozen`);
  successor.name = bitmap.name;
  successor.persistent = bitmap.persistent;
  list.splice(list.indexOf(bitmap), 1);
  return successor;
}

/** A frozen bitmap records again, and has what its successor has marked. */
export function reclaim(list: DirtyBitmap[], bitmap: DirtyBitmap): void {
  const { successor } = bitmap;
  assert(successor, `bitmap '${bitmap.name}' is not frozen`);
  for (const { start, end } of successor.ranges.extents) bitmap.force(start, end);
  bitmap.enabled = successor.enabled;
  bitmap.successor = undefined;
  bitmap.busy = false;
  list.splice(list.indexOf(successor), 1);
}
