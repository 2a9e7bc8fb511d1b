/** The image port: what a simulated QEMU knows of the files on its host. The stores are in `images/`. */
import { ClusterLayout } from './cluster-layout.ts';
import { ABSENT, type BlobTable, type ExtentMap } from './extents.ts';
import type { FileLocks } from './rights.ts';

/** How a file's content is laid out. */
export type ContainerFormat = 'raw' | 'qcow2';

/** What an image's header records. A raw image has none of it. */
export interface ImageHeader {
  /** Verbatim; undefined: no backing file. */
  readonly backingName?: string;
  readonly backingFormat?: string;
  readonly clusterSizeBytes: number;
}

/** An internal snapshot: what the disk held at one instant, kept in the same file. */
export interface InternalSnapshot {
  /** A number as text, of which an image never has two. */
  readonly id: string;
  readonly name: string;
  /** When it was taken: seconds and nanoseconds since the Unix epoch. */
  readonly dateSec: number;
  readonly dateNsec: number;
  /** How long the guest had run by then. */
  readonly vmClockNs: number;
  /** How much of the file the machine's state takes; 0: only the disk was kept. */
  readonly vmStateBytes: number;
  readonly virtualSizeBytes: number;
  /** Never changed. */
  readonly extents: ExtentMap;
}

/** A dirty bitmap that outlives the processes that use its image. */
export interface StoredBitmap {
  readonly name: string;
  readonly granularityBytes: number;
  /** Records from the moment its image is opened. */
  readonly auto: boolean;
  /** A process has it in memory, or had when it died: what is stored here is out of date. */
  readonly inUse: boolean;
  /** What is dirty. Never changed. */
  readonly ranges: ExtentMap;
}

/** The header of what has none. */
export const NO_HEADER: ImageHeader = { clusterSizeBytes: 65536 };

/** What a file holds at one moment. */
export interface ImageState {
  readonly format: ContainerFormat;
  readonly virtualSizeBytes: number;
  readonly header: ImageHeader;
  readonly extents: ExtentMap;
  readonly snapshots: readonly InternalSnapshot[];
  readonly bitmaps: readonly StoredBitmap[];
}

/** What a file holds now, whatever becomes of it. */
export function stateOf({ format, virtualSizeBytes, header, ...lists }: ImageState): ImageState {
  const { extents, snapshots, bitmaps } = lists;
  const kept = { extents: extents.copy(), snapshots: [...snapshots], bitmaps: [...bitmaps] };
  return { format, virtualSizeBytes, header, ...kept };
}

/** Drops all that a file holds. */
export function clearContent(
  file: Pick<ImageFile, 'extents' | 'snapshots' | 'bitmaps' | 'layout' | 'startsWithHole'>,
): void {
  file.layout = undefined;
  file.startsWithHole = false;
  file.extents.truncate(0);
  file.snapshots.length = 0;
  file.bitmaps.length = 0;
}

/** Makes a file what a freshly created one is, an empty raw image; its openers see that, as with O_TRUNC. */
export function emptyImage(file: ImageFile): void {
  file.format = 'raw';
  file.virtualSizeBytes = 0;
  file.header = NO_HEADER;
  clearContent(file);
}

/** Puts the content of a file back to what it was, but for the stretches that `survives` picks. */
export function revertTo(file: ImageFile, before: ExtentMap, survives: () => boolean): void {
  const now = file.extents.copy();
  file.layout = undefined;
  file.extents.become(before);
  for (const { start, end, tag } of now.extents) {
    for (let at = start; at < end; ) {
      const old = before.at(at, end);
      if (old.tag !== tag && survives()) file.extents.set(at, old.end, tag);
      at = old.end;
    }
  }
}

/**
 * One file's content, shared by everyone who has it open: what is left when every process is gone. It lives on while
 * open, even when its path has been removed.
 */
export interface ImageFile {
  readonly path: string;
  format: ContainerFormat;
  /** What a guest sees. */
  virtualSizeBytes: number;
  header: ImageHeader;
  readonly extents: ExtentMap;
  /** Oldest first. */
  readonly snapshots: InternalSnapshot[];
  /** In the order of the image's directory. */
  readonly bitmaps: StoredBitmap[];
  /** Where a qcow2 image's clusters lie; undefined: nobody has asked yet, or nobody knows any more. */
  layout: ClusterLayout | undefined;
  /** The first block of a new raw file is written, so that its alignment can be probed; true: it has become a hole since. */
  startsWithHole: boolean;
  /** How many bytes of content its file system can hold; undefined: no limit. */
  capacityBytes: number | undefined;
  /** Held by all openers that share a store (QEMU's image locking). */
  readonly locks: FileLocks;
  /** Makes the present content last: called after each flush and at an orderly close. */
  save(): void;
  /**
   * The host dies: the content is again what was last made to last. Of what was written since, `survives` is asked for each
   * stretch whether it had got to the disk all the same.
   */
  losePageCache(survives: () => boolean): void;
}

// Header, refcount table and refcount block take a cluster each, the empty L1 table behind them a sector.
const QCOW2_METADATA_CLUSTERS = 3;
const SECTOR_BYTES = 512;

/** Files have holes by blocks of their host. */
export const HOST_BLOCK_BYTES = 4096;

/**
 * How long a file is on its host: a raw image is its size, a qcow2 image its metadata and its data clusters. A cluster that
 * its process has allocated but not flushed has its place already.
 */
export function fileSizeBytes(file: ImageFile, unflushedBytes = 0): number {
  if (file.format === 'raw') return file.virtualSizeBytes;
  // What snapshots and bitmaps take has no places in a layout.
  if (file.layout && file.snapshots.length + file.bitmaps.length === 0) return file.layout.sizeBytes;
  const cluster = file.header.clusterSizeBytes;
  const dataBytes = storedBytes(file) + snapshotBytes(file) + bitmapBytes(file) + unflushedBytes;
  if (dataBytes === 0) return QCOW2_METADATA_CLUSTERS * cluster + SECTOR_BYTES;
  // An L2 table is a cluster of 8-byte entries, one for each data cluster.
  const tables = Math.ceil(dataBytes / (cluster * (cluster / 8)));
  return (QCOW2_METADATA_CLUSTERS + 1 + tables) * cluster + dataBytes;
}

/** Where a qcow2 image's clusters lie: as one that was written from its front to its end, where nobody knows better. */
export function layoutOf(file: ImageFile): ClusterLayout {
  const { clusterSizeBytes: clusterBytes } = file.header;
  file.layout ??= new ClusterLayout({
    clusterBytes,
    virtualSizeBytes: file.virtualSizeBytes,
    extents: file.extents.extents,
    extraClusters: Math.ceil((snapshotBytes(file) + bitmapBytes(file)) / clusterBytes),
  });
  return file.layout;
}

/** How many bytes of content take room: clusters that are known to be zero do not. */
export function storedBytes(file: ImageFile): number {
  let bytes = 0;
  for (const { start, end, tag } of file.extents.extents) if (tag !== 0) bytes += end - start;
  return bytes;
}

/** What internal snapshots take beyond what the disk holds now: their tables, machine states and clusters of their own. */
function snapshotBytes(file: ImageFile): number {
  if (file.snapshots.length === 0) return 0;
  const cluster = file.header.clusterSizeBytes;
  let bytes = cluster;
  for (const { extents, vmStateBytes } of file.snapshots) {
    bytes += cluster + Math.ceil(vmStateBytes / cluster) * cluster;
    for (const { start, end, tag } of extents.extents) {
      for (let at = start; at < end && tag !== 0; ) {
        const now = file.extents.at(at, end);
        if (now.tag !== tag) bytes += now.end - at;
        at = now.end;
      }
    }
  }
  return bytes;
}

/** What persistent bitmaps take: a directory, and for each its table and those of its clusters that mark anything. */
function bitmapBytes(file: ImageFile): number {
  if (file.bitmaps.length === 0) return 0;
  const cluster = file.header.clusterSizeBytes;
  let clusters = 1;
  for (const { granularityBytes, ranges } of file.bitmaps) {
    // One bit for each chunk.
    const coveredBytes = cluster * 8 * granularityBytes;
    const marked = new Set<number>();
    for (const { start, end } of ranges.extents) {
      for (let at = Math.floor(start / coveredBytes); at * coveredBytes < end; at++) marked.add(at);
    }
    clusters += 1 + marked.size;
  }
  return clusters * cluster;
}

/** Whether the clusters at `offset` belong to an internal snapshot as well, so that a write makes new ones; how far that goes. */
export function sharedAt(
  file: ImageFile,
  offset: number,
  limit: number,
): { readonly end: number; readonly shared: boolean } {
  const now = file.extents.at(offset, limit);
  let end = now.end;
  let shared = false;
  for (const { extents } of file.snapshots) {
    const then = extents.at(offset, end);
    end = then.end;
    shared ||= then.tag === now.tag && now.tag !== ABSENT;
  }
  return { end, shared };
}

/** A backing name as its overlay means it: relative names start at the overlay's directory. */
export function resolveBacking(overlayPath: string, name: string): string {
  // What has a colon before any slash begins with a protocol.
  if (/^(?:\/|[^:/]*:)/.test(name)) return name;
  const parts = overlayPath.split('/').slice(0, -1);
  for (const part of name.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}

/** The path of a backing file, also where the name is a `json:` of options. */
export function backingPath(overlayPath: string, name: string): string {
  const resolved = resolveBacking(overlayPath, name);
  if (!resolved.startsWith('json:')) return resolved;
  const options = JSON.parse(resolved.slice('json:'.length)) as {
    readonly file?: { readonly filename?: string };
  };
  return options.file?.filename ?? '';
}

/** What stat(2) says. */
export interface FileStat {
  readonly kind: 'file' | 'block';
  readonly sizeBytes: number;
}

/** A stretch of equal bytes as a guest would read them. */
export interface Run {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly byte: number;
}

/** The image files of one host. Paths are absolute. Failures are HostErrors. */
export interface ImageStore {
  readonly blobs: BlobTable;
  /** Opens a file; ENOENT, EACCES, EISDIR. An empty file is an empty raw image. */
  open(path: string): ImageFile;
  /** Creates a file or empties an existing one, as QEMU does when it formats an image; ENOENT, EACCES. */
  create(path: string): ImageFile;
  /** Makes an empty file; EEXIST, ENOENT (no such directory), EACCES. */
  createEmpty(path: string): void;
  /** Unlinks; nothing happens if there is no such file. */
  remove(path: string): void;
  stat(path: string): FileStat | undefined;
  exists(path: string): boolean;
  /** What a guest would read from this image and the chain its header names; one run per stretch of equal bytes. */
  contents(path: string): Run[];
  /** A short text that is equal exactly for equal contents of equal size. */
  digest(path: string): string;
}
