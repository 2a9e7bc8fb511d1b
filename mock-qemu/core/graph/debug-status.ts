/** Finding out what of a chain is allocated, where errors are injected. */
import type { Errno } from '../errno.ts';
import { ABSENT } from '../extents.ts';
import { debugError, hasDebugBelow } from './blkdebug.ts';
import { skipFilters } from './data.ts';
import type { BlockNode } from './node.ts';

/** The error that is met: one image after the other is asked, from the top, until one has what is at the beginning of the stretch. */
export function statusError(
  top: BlockNode,
  base: BlockNode | undefined,
  offset: number,
  bytes: number,
): Errno | undefined {
  if (!hasDebugBelow(top)) return undefined;
  const stop = base && skipFilters(base);
  let end = offset + bytes;
  for (let at: BlockNode | undefined = top; at && skipFilters(at) !== stop; ) {
    const error = debugError(at, { op: 'block-status', offset, bytes: end - offset });
    if (error !== undefined) return error;
    const image: BlockNode = skipFilters(at);
    if (offset >= image.lengthBytes) return undefined;
    const span = image.driver.at(image, offset, Math.min(end, image.lengthBytes));
    if (span.tag !== ABSENT) return undefined;
    end = span.end;
    at = image.backing?.child;
  }
  return undefined;
}
