/** Persistent dirty bitmaps: they go into the image when it is closed or made read-only, and come back when it is opened. */
import type { Tag } from '../extents.ts';
import { ExtentMap } from '../extents.ts';
import { DirtyBitmap } from './bitmap.ts';
import type { BlockNode } from './node.ts';

const DIRTY: Tag = 1;

function copyOf({ extents }: ExtentMap): ExtentMap {
  const copy = new ExtentMap();
  for (const { start, end } of extents) copy.set(start, end, DIRTY);
  return copy;
}

/** Puts the persistent bitmaps of a node into its image, which is not written to from now on. */
export function storeBitmaps({ image, bitmaps, driver }: BlockNode): void {
  if (image === undefined || !driver.supportsBacking) return;
  image.bitmapsInUse = false;
  image.bitmaps.length = 0;
  // Newest first.
  for (const bitmap of bitmaps.toReversed()) {
    const { name, granularityBytes, enabled, persistent, ranges } = bitmap;
    if (!persistent || name === undefined) continue;
    bitmap.readOnly = true;
    image.bitmaps.push({ name, granularityBytes, enabled, ranges: copyOf(ranges) });
  }
}

/** Marks the stored bitmaps of a node that may be written to from now on. */
export function claimBitmaps({ image, bitmaps }: BlockNode): void {
  for (const bitmap of bitmaps) bitmap.readOnly = false;
  if (image && image.bitmaps.length > 0) image.bitmapsInUse = true;
}

/** Takes the bitmaps out of the image of a node that has just been opened. */
export function loadBitmaps(node: BlockNode): void {
  for (const { ranges, ...options } of node.image?.bitmaps ?? []) {
    const bitmap = new DirtyBitmap({ ...options, persistent: true });
    for (const { start, end } of ranges.extents) bitmap.force(start, end);
    bitmap.readOnly = node.readOnly;
    node.bitmaps.push(bitmap);
  }
  if (!node.readOnly) claimBitmaps(node);
}
