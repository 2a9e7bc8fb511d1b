/**
 * Copies of files that are containers: of a qcow2 file that is read as it lies on the host. What is simulated keeps what an
 * image holds, not its tables, so a copy of the file becomes an image of its own as far as the parts are there that matter.
 */
import { FIRST_CLUSTERS } from '../cluster-layout.ts';
import { ExtentMap } from '../extents.ts';
import { type ImageFile, layoutOf } from '../images.ts';
import type { BlockNode } from './node.ts';

/** What has been copied of a container to a file. */
export interface ContainerCopy {
  readonly source: ImageFile;
  readonly copied: ExtentMap;
}

/** How many clusters at the beginning of a file with anything in it are tables. */
const FIRST_CONTENT = 5;

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
  return container ? FIRST_CONTENT * container.header.clusterSizeBytes : 0;
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
  if (!has(0)) return;
  target.format = source.format;
  target.header = source.header;
  target.virtualSizeBytes = source.virtualSizeBytes;
  target.extents.truncate(0);
  target.layout = undefined;
  if (!has(FIRST_CLUSTERS.l1)) return;
  const layout = layoutOf(source);
  for (const { start, end, tag } of source.extents.extents) {
    for (let at = start; at < end; at = Math.min(end, (Math.floor(at / cluster) + 1) * cluster)) {
      const until = Math.min(end, (Math.floor(at / cluster) + 1) * cluster);
      const number = Math.floor(at / cluster);
      const table = layout.tableAt(Math.floor(number / layout.clustersOfTable));
      if (table === undefined || !has(table)) continue;
      const { host } = layout.hostAt(number, number + 1);
      target.extents.set(at, until, host === undefined || has(host) ? tag : 0);
    }
  }
}
