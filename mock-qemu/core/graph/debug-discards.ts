/** How a discard that is not aligned ends a process with a blkdebug node whose requests are. */
import { skipFilters } from './data.ts';
import type { BlockNode } from './node.ts';

/** The signal that a discard ends the process with; undefined: it goes well. */
export function deathByDiscard(
  node: BlockNode,
  offset: number,
  bytes: number,
): 'SIGABRT' | 'SIGFPE' | undefined {
  const debugged = alignedBelow(node);
  const align = debugged?.debug?.alignBytes ?? 1;
  if (!debugged || align === 1) return undefined;
  const { driver, image } = skipFilters(debugged);
  // Who has no alignment of its own for discards is divided by.
  if (!driver.supportsBacking || !image)
    return offset % align === 0 && bytes % align === 0 ? undefined : 'SIGFPE';
  const pieces = piecesOf(offset, bytes, Math.max(align, image.header.clusterSizeBytes), align);
  const isRefused = pieces.some((piece) => piece.bytes >= align && !isAligned(piece, align));
  return isRefused ? 'SIGABRT' : undefined;
}

interface Stretch {
  readonly offset: number;
  readonly bytes: number;
}

const isAligned = ({ offset, bytes }: Stretch, align: number): boolean =>
  offset % align === 0 && bytes % align === 0;

/** The blkdebug node with an alignment that a discard reaches as it is. */
function alignedBelow(node: BlockNode): BlockNode | undefined {
  let at: BlockNode | undefined = node;
  while (at?.unmap && at.debug === undefined && !at.driver.supportsBacking)
    at = (at.filtered ?? at.file)?.child;
  return at?.unmap && at.debug ? at : undefined;
}

/** The requests that a discard becomes: the ends that are not whole ones for the format below are taken alone. */
function piecesOf(offset: number, bytes: number, whole: number, align: number): Stretch[] {
  const pieces: Stretch[] = [];
  const end = offset + bytes;
  for (let at = offset; at < end; ) {
    const [left, head, tail] = [end - at, at % whole, end % whole];
    let count = left;
    if (head > 0) {
      count = Math.min(left, whole - head);
      if (count % align !== 0) count %= align;
    } else if (tail > 0 && left > whole) count -= tail;
    else if (tail % align !== 0 && tail > align) count -= tail % align;
    pieces.push({ offset: at, bytes: count });
    at += count;
  }
  return pieces;
}
