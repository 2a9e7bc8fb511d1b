/** Dirty bitmaps: which parts of a node changed, in chunks. */
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
  readonly name: string | undefined;
  readonly granularityBytes: number;
  readonly persistent: boolean;
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

  constructor(options: BitmapOptions) {
    this.name = options.name;
    this.granularityBytes = options.granularityBytes;
    this.persistent = options.persistent ?? false;
    this.enabled = options.enabled ?? true;
    this.keptByJob = options.keptByJob ?? false;
    this.inconsistent = options.inconsistent ?? false;
  }

  /** Dirty bytes, in whole chunks. */
  get countBytes(): number {
    return this.ranges.coveredBytes;
  }

  /** Marks every chunk that the range touches, if the bitmap records. */
  mark(start: number, end: number): void {
    if (this.enabled) this.force(start, end);
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
