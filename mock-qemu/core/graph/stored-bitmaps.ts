/** Persistent bitmaps: when a node takes them from its image and when it puts them back. */
import type { ImageFile, StoredBitmap } from '../images.ts';
import { DirtyBitmap } from './bitmap.ts';
import type { BlockNode } from './node.ts';

const imageWithBitmaps = (node: BlockNode): ImageFile | undefined =>
  node.driver.supportsBacking ? node.image : undefined;

/**
 * Gives a node that was opened the bitmaps of its image. One that a writer has not put back does not know what
 * was written since: it is inconsistent.
 */
export function loadBitmaps(node: BlockNode): void {
  const image = imageWithBitmaps(node);
  if (image === undefined || !node.active) return;
  for (const { name, granularityBytes, auto, inUse, ranges } of image.bitmaps) {
    const bitmap = new DirtyBitmap({
      name,
      granularityBytes,
      persistent: true,
      enabled: auto && !inUse,
      inconsistent: inUse,
    });
    if (!inUse) for (const { start, end } of ranges.extents) bitmap.force(start, end);
    bitmap.readOnly = node.readOnly;
    node.bitmaps.push(bitmap);
  }
  if (!node.readOnly) markInUse(image);
}

/** Puts a node's bitmaps into its image, for it is about to be closed or may not be written from now on. */
export function storeBitmaps(node: BlockNode): void {
  const image = imageWithBitmaps(node);
  const persistent = node.bitmaps.filter((each) => each.persistent && each.name !== undefined);
  if (image === undefined || persistent.length === 0) return;
  // The newest first, behind those that have their place already.
  for (const bitmap of persistent.toReversed()) {
    bitmap.readOnly = true;
    if (!bitmap.inconsistent) put(image, bitmap);
  }
  image.save();
}

/** Whether a node that may not be written to has bitmaps that its image should have. */
export const lacksStoredBitmaps = (node: BlockNode): boolean =>
  node.readOnly &&
  imageWithBitmaps(node) !== undefined &&
  node.bitmaps.some((each) => each.persistent && !each.inconsistent && !each.readOnly);

/** A node may be written again: what its image says of its bitmaps is no longer true. */
export function takeBitmaps(node: BlockNode): void {
  const image = imageWithBitmaps(node);
  if (image === undefined) return;
  for (const bitmap of node.bitmaps) bitmap.readOnly = false;
  markInUse(image);
}

/** Drops a bitmap that was removed from its node's image, where it is there. */
export function forgetBitmap(node: BlockNode, name: string | undefined): void {
  const image = imageWithBitmaps(node);
  const index = image?.bitmaps.findIndex((each) => each.name === name) ?? -1;
  if (image === undefined || index < 0) return;
  image.bitmaps.splice(index, 1);
  image.save();
}

function put(image: ImageFile, bitmap: DirtyBitmap): void {
  const stored: StoredBitmap = {
    name: bitmap.name ?? '',
    granularityBytes: bitmap.granularityBytes,
    auto: bitmap.enabled,
    inUse: false,
    ranges: bitmap.ranges.copy(),
  };
  const index = image.bitmaps.findIndex(({ name }) => name === stored.name);
  if (index < 0) image.bitmaps.push(stored);
  else image.bitmaps[index] = stored;
}

function markInUse(image: ImageFile): void {
  if (image.bitmaps.every(({ inUse }) => inUse)) return;
  for (const [index, bitmap] of image.bitmaps.entries()) image.bitmaps[index] = { ...bitmap, inUse: true };
  image.save();
}
