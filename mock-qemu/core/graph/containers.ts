/**
 * Copies of files that are containers: of a qcow2 file that is read as it lies on the host. What is simulated keeps what an
 * image holds, not its tables, so a copy of the file becomes an image of its own as far as the parts are there that matter.
 */
import { ExtentMap } from '../extents.ts';
import type { ImageFile } from '../images.ts';
import type { BlockNode } from './node.ts';

/** What has been copied of a container to a file. */
export interface ContainerCopy {
  readonly source: ImageFile;
  readonly copied: ExtentMap;
}

/** Where a new image has its parts, in clusters: the header, the first table, the one with its entries, content. */
const PLACES = { header: 0, l1: 3, l2: 4, content: 5 } as const;

/** The node that has the file below a node, if nothing on the way changes what is read. */
function fileBelow(node: BlockNode): BlockNode | undefined {
  if (node.driver.supportsBacking) return undefined;
  const below = (node.filtered ?? node.file)?.child;
  return below ? fileBelow(below) : node;
}

/** The container that a node reads as it lies on the host, if it does. */
export function containerBelow(node: BlockNode): ImageFile | undefined {
  const image = fileBelow(node)?.image;
  return image === undefined || image.format === 'raw' ? undefined : image;
}

/** How many bytes at the beginning of what a node reads are tables, each of which leaves the rest of its cluster free. */
export function tablesBytes(node: BlockNode): number {
  const container = containerBelow(node);
  return container ? PLACES.content * container.header.clusterSizeBytes : 0;
}

/** Copies a stretch of a container to a file that holds nothing else; false: it is none, or not such a file. */
export function copyContainer(from: BlockNode, to: BlockNode, start: number, end: number): boolean {
  const source = containerBelow(from);
  const file = fileBelow(to);
  if (source === undefined || !file?.image) return false;
  if (file.image.format !== 'raw' && file.containerCopy === undefined) return false;
  const copy = file.containerCopy ?? { source, copied: new ExtentMap() };
  if (copy.source !== source) return false;
  file.containerCopy = copy;
  copy.copied.set(start, end, 1);
  become(file.image, copy);
  return true;
}

function become(target: ImageFile, { source, copied }: ContainerCopy): void {
  const cluster = source.header.clusterSizeBytes;
  const has = (place: number): boolean => copied.at(place * cluster, place * cluster + 1).tag === 1;
  if (!has(PLACES.header)) return;
  target.format = source.format;
  target.header = source.header;
  target.virtualSizeBytes = source.virtualSizeBytes;
  target.extents.truncate(0);
  if (!has(PLACES.l1) || !has(PLACES.l2)) return;
  let next: number = PLACES.content;
  for (const { start, end, tag } of source.extents.extents) {
    for (let at = start; at < end; at = Math.min(end, (Math.floor(at / cluster) + 1) * cluster)) {
      const until = Math.min(end, (Math.floor(at / cluster) + 1) * cluster);
      const isThere = tag === 0 || has(next);
      target.extents.set(at, until, isThere ? tag : 0);
      if (tag !== 0 && until % cluster === 0) next++;
    }
  }
}
