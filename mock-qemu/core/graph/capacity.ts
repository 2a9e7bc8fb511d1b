/** Files on a host that may run full. */
import { ABSENT, type ExtentMap } from '../extents.ts';
import { sharedAt } from '../images.ts';
import { skipFilters } from './data.ts';
import type { BlockNode } from './node.ts';
import { imageBelow } from './open.ts';

/** Whether a write to a node needs more room than its file can get. Only what was not there before takes any. */
export function lacksRoom(node: BlockNode, offset: number, bytes: number): boolean {
  const image = imageBelow(node);
  if (image?.capacityBytes === undefined) return false;
  const { pending } = skipFilters(node);
  let freshBytes = 0;
  const end = offset + bytes;
  for (let at = offset; at < end; ) {
    const flushed = image.extents.at(at, end);
    const unflushed = spanOf(pending, at, flushed.end);
    const { end: until, shared } = sharedAt(image, at, unflushed.end);
    if ((flushed.tag === ABSENT || shared) && unflushed.tag === ABSENT) freshBytes += until - at;
    at = until;
  }
  const usedBytes = image.extents.coveredBytes + (pending?.coveredBytes ?? 0);
  return freshBytes > 0 && usedBytes + freshBytes > image.capacityBytes;
}

const spanOf = (map: ExtentMap | undefined, offset: number, limit: number) =>
  map?.at(offset, limit) ?? { end: limit, tag: ABSENT };
