/**
 * The image store over this machine's files: raw images byte for byte, qcow2 images that QEMU and qemu-img read and
 * write, so that a simulated QEMU works on images that other programs made, and they on its.
 */
import {
  chmodSync,
  closeSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { HostError } from '../core/errno.ts';
import { ABSENT, BlobTable, ExtentMap, type Span } from '../core/extents.ts';
import {
  clearContent,
  emptyImage,
  type FileStat,
  fileSizeBytes,
  type ImageFile,
  type ImageHeader,
  type ImageState,
  type ImageStore,
  type InternalSnapshot,
  NO_HEADER,
  type Run,
  revertTo,
  type StoredBitmap,
  stateOf,
} from '../core/images.ts';
import { FileLocks } from '../core/rights.ts';
import { chainContents, digestRuns, spanBelow } from './content.ts';
import { asHostError, type ByteSource, identityOf, readHostFile } from './disk/host-file.ts';
import { Interner } from './disk/intern.ts';
import { isQcow2, readQcow2 } from './disk/qcow2/read.ts';
import { writeQcow2 } from './disk/qcow2/write.ts';
import { changesBetween, readRaw, writeRaw } from './disk/raw.ts';

const NOTHING_SAVED: ImageState = {
  format: 'raw',
  virtualSizeBytes: 0,
  header: NO_HEADER,
  extents: new ExtentMap(),
  snapshots: [],
  bitmaps: [],
};

/** One open file: its content as last read, written back at each save. */
class DiskFile implements ImageFile {
  readonly path: string;
  format: ImageFile['format'] = 'raw';
  virtualSizeBytes = 0;
  header: ImageHeader = NO_HEADER;
  readonly extents = new ExtentMap();
  readonly snapshots: InternalSnapshot[] = [];
  readonly bitmaps: StoredBitmap[] = [];
  layout: ImageFile['layout'];
  startsWithHole = false;
  capacityBytes: number | undefined;
  readonly locks = new FileLocks();
  readonly #store: DiskStore;
  /** What the host's file holds. */
  #saved: ImageState = NOTHING_SAVED;
  /** The host file whose content this is, so that one that was removed or replaced is not written again. */
  #inode = 0;
  /** What the file looked like when it was read; undefined: read it again to be sure. */
  #identity: string | undefined;

  constructor(path: string, store: DiskStore) {
    this.path = path;
    this.#store = store;
  }

  /** Takes the content from the host, unless it is what it was. */
  load(): void {
    readHostFile(this.path, (source, stat) => {
      const identity = identityOf(stat);
      if (identity !== undefined && identity === this.#identity) return;
      clearContent(this);
      this.#read(source);
      this.#identity = identity;
      this.#inode = Number(stat.ino);
      this.#saved = stateOf(this);
    });
  }

  save(): void {
    const stat = statSync(this.path, { throwIfNoEntry: false });
    if (stat?.ino !== this.#inode || isSame(this.#saved, this)) return;
    try {
      if (this.format === 'raw') this.#writeRaw();
      else this.#writeQcow2(stat);
    } catch (error) {
      asHostError(error, this.path);
    }
    this.#saved = stateOf(this);
    this.#identity = undefined;
  }

  losePageCache(survives: () => boolean): void {
    // The file has what was saved; what was not is in this process alone.
    const written = this.extents.copy();
    this.#identity = undefined;
    this.load();
    const before = this.extents.copy();
    this.extents.become(written);
    revertTo(this, before, survives);
    this.save();
  }

  /** Makes it an empty raw image. */
  empty(): void {
    emptyImage(this);
    this.save();
  }

  #read(source: ByteSource): void {
    const into = new Interner(this.path, this.#store.blobs, this.extents);
    if (!isQcow2(source)) {
      readRaw(source, into);
      Object.assign(this, { format: 'raw', virtualSizeBytes: source.sizeBytes, header: NO_HEADER });
      return;
    }
    const { virtualSizeBytes, header, snapshots, bitmaps } = readQcow2(source, into);
    this.snapshots.push(...snapshots);
    this.bitmaps.push(...bitmaps);
    Object.assign(this, { format: 'qcow2', virtualSizeBytes, header });
  }

  #writeRaw(): void {
    const wasRaw = this.#saved.format === 'raw';
    // What lies in a file of another format says nothing of what is in it as a raw one.
    if (!wasRaw) writeRaw(this.path, 0, [], () => Buffer.alloc(0));
    const changes = changesBetween(wasRaw ? this.#saved.extents.extents : [], this.extents.extents);
    const isResized = !wasRaw || this.#saved.virtualSizeBytes !== this.virtualSizeBytes;
    writeRaw(this.path, isResized ? this.virtualSizeBytes : undefined, changes, this.#bytesOf);
  }

  /** Beside the old file and then in its place, so that whoever reads it meanwhile reads one or the other. */
  #writeQcow2(stat: Stats): void {
    this.#completeClusters();
    const pieces = writeQcow2({
      ...stateOf(this),
      path: this.path,
      extents: this.extents.extents,
      bytesOf: this.#bytesOf,
    });
    const place = realpathSync(this.path);
    // A block device cannot be replaced.
    const draft = stat.isFile() ? `${place}.${process.pid}.tmp` : place;
    const fd = openSync(draft, stat.isFile() ? 'w' : 'r+', 0o600);
    try {
      for (const { offsetBytes, bytes } of pieces) writeSync(fd, bytes, 0, bytes.length, offsetBytes);
    } finally {
      closeSync(fd);
    }
    if (draft === place) return;
    chmodSync(draft, stat.mode & 0o7777);
    renameSync(draft, place);
    this.#inode = statSync(place).ino;
  }

  /** A cluster is there whole or not at all: what a crash has lost of one is what shines through from below. */
  #completeClusters(): void {
    if (this.header.backingName === undefined) return;
    const { clusterSizeBytes: cluster } = this.header;
    const edges = this.extents.extents.flatMap(({ start, end }) => [start, end]);
    for (const edge of edges.filter((each) => each % cluster !== 0)) {
      const from = Math.floor(edge / cluster) * cluster;
      const end = Math.min(from + cluster, this.virtualSizeBytes);
      for (let at = from; at < end; ) {
        const own = this.extents.at(at, end);
        const below = own.tag === ABSENT ? this.#below(at, own.end) : own;
        if (own.tag === ABSENT) this.extents.set(at, below.end, below.tag);
        at = below.end;
      }
    }
  }

  #below(offset: number, limit: number): Span {
    return spanBelow(this, (path) => this.#store.open(path), offset, limit);
  }

  readonly #bytesOf = (start: number, end: number, tag: number): Buffer => {
    const bytes = Buffer.alloc(end - start, tag < 256 ? Math.max(0, tag) : 0);
    if (tag >= 256)
      for (let at = start; at < end; at++) bytes[at - start] = this.#store.blobs.byteAt(tag, at);
    return bytes;
  };
}

const isSame = (left: ImageState, right: ImageState): boolean =>
  left.format === right.format &&
  left.virtualSizeBytes === right.virtualSizeBytes &&
  left.header === right.header &&
  areSame(left.extents.extents, right.extents.extents) &&
  areSame(left.snapshots, right.snapshots) &&
  areSame(left.bitmaps, right.bitmaps);

// Extents, snapshots and bitmaps are never changed, only replaced.
const areSame = (left: readonly unknown[], right: readonly unknown[]): boolean =>
  left === right || (left.length === right.length && left.every((each, index) => each === right[index]));

class DiskStore implements ImageStore {
  readonly blobs = new BlobTable();
  /** Files that this process has opened: openers of one file share its content. */
  readonly #files = new Map<string, DiskFile>();

  open(path: string): ImageFile {
    const file = this.#files.get(path) ?? new DiskFile(path, this);
    // What this process is writing is newer than what is on the host.
    if (file.locks.counts.writers > 0) return file;
    try {
      file.load();
    } catch (error) {
      this.#files.delete(path);
      asHostError(error, path);
    }
    this.#files.set(path, file);
    return file;
  }

  create(path: string): ImageFile {
    const file = this.exists(path) ? (this.open(path) as DiskFile) : this.#make(path);
    file.empty();
    return file;
  }

  createEmpty(path: string): void {
    try {
      writeFileSync(path, '', { flag: 'wx', mode: 0o600 });
    } catch (error) {
      asHostError(error, path);
    }
  }

  remove(path: string): void {
    try {
      rmSync(path, { force: true });
    } catch (error) {
      asHostError(error, path);
    }
    this.#files.delete(path);
  }

  stat(path: string): FileStat | undefined {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    if (stat.isBlockDevice()) return { kind: 'block', sizeBytes: 0 };
    return { kind: 'file', sizeBytes: stat.isFile() ? this.#lengthBytes(path, stat.size) : stat.size };
  }

  exists(path: string): boolean {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  }

  contents(path: string): Run[] {
    return chainContents(path, (each) => this.open(each), this.blobs);
  }

  digest(path: string): string {
    return digestRuns(this.contents(path));
  }

  #lengthBytes(path: string, hostBytes: number): number {
    try {
      return fileSizeBytes(this.open(path));
    } catch (error) {
      // One that the simulation cannot open is as long as the host says.
      if (error instanceof HostError) return hostBytes;
      throw error;
    }
  }

  #make(path: string): DiskFile {
    this.createEmpty(path);
    return this.open(path) as DiskFile;
  }
}

/** An image store over this machine's files. */
export function createDiskStore(): ImageStore {
  return new DiskStore();
}
