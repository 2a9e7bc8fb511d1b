/**
 * The image store over real files, so that separate simulated QEMUs share images, stat and unlink work on them as on any
 * other file, and qemu-img reads them. A file that is no qcow2 image is a raw one.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { ERRNO, type Errno, HostError } from '../core/errno.ts';
import { ABSENT, BlobTable, ExtentMap, type Tag } from '../core/extents.ts';
import {
  type ContainerFormat,
  type FileStat,
  fileSizeBytes,
  type ImageFile,
  type ImageHeader,
  type ImageStore,
  type InternalSnapshot,
  type Run,
} from '../core/images.ts';
import { FileLocks } from '../core/rights.ts';
import { chainContents, digestRuns, spanBelow } from './content.ts';
import { isQcow2, Qcow2Error, readQcow2, type TagCodec, writeQcow2 } from './disk-qcow2.ts';

// More than this is not read into memory.
const MAX_STORED_BYTES = 256 << 20;
const CHUNK_BYTES = 1 << 20;
const BLOCK_BYTES = 512;
const NO_HEADER: ImageHeader = { clusterSizeBytes: 65536 };

function asHostError(error: unknown, path: string): never {
  const code = (error as { readonly code?: unknown }).code;
  if (typeof code === 'string' && Object.hasOwn(ERRNO, code)) throw new HostError(code as Errno, path);
  // What is not simulated is not opened, and whoever asks is told so.
  if (error instanceof Qcow2Error) throw new HostError('ENOTSUP', path);
  throw error;
}

// Comparing with a shifted view of itself tells in native code whether all bytes are equal.
const isUniform = (bytes: Buffer): boolean => bytes.subarray(1).equals(bytes.subarray(0, -1));

/** Turns bytes into tags and back. */
class BlobCodec implements TagCodec {
  readonly #blobs: BlobTable;

  constructor(blobs: BlobTable) {
    this.#blobs = blobs;
  }

  bytesOf(tag: Tag, start: number, end: number): Uint8Array {
    if (tag < 256) return Buffer.alloc(end - start, tag);
    const bytes = Buffer.alloc(end - start);
    for (let at = start; at < end; at++) bytes[at - start] = this.#blobs.byteAt(tag, at);
    return bytes;
  }

  put(into: ExtentMap, start: number, bytes: Buffer): void {
    if (isUniform(bytes)) into.set(start, start + bytes.length, bytes[0] ?? 0);
    else {
      for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
        const block = bytes.subarray(at, at + BLOCK_BYTES);
        const tag = isUniform(block) ? (block[0] ?? 0) : this.#blobs.intern(start + at, block);
        into.set(start + at, start + at + block.length, tag);
      }
    }
  }
}

/** One open file: its content as last read, written back at each save. */
class DiskFile implements ImageFile {
  readonly path: string;
  format: ContainerFormat = 'raw';
  virtualSizeBytes = 0;
  header: ImageHeader = NO_HEADER;
  readonly extents = new ExtentMap();
  readonly snapshots: InternalSnapshot[] = [];
  /** Known to this process alone: a file system's room is not in the file. */
  capacityBytes: number | undefined;
  readonly locks = new FileLocks();
  readonly #codec: TagCodec;
  readonly #store: DiskStore;
  /** The content of the file as this process knows it, in short; undefined: it has not been looked at. */
  #saved: string | undefined;
  /** The raw content of the file, to write only what has changed. */
  #savedRaw = new ExtentMap();
  /** Identity on the host, so that a file that was removed or replaced is not written again. */
  #inode = 0;
  #version = '';

  constructor(path: string, store: DiskStore) {
    this.path = path;
    this.#store = store;
    this.#codec = new BlobCodec(store.blobs);
  }

  /** Takes the content from the host, unless it is what it was. */
  load(): void {
    const stat = statSync(this.path, { bigint: true });
    if (stat.isDirectory()) throw new HostError('EISDIR', this.path);
    const version = `${stat.ino}:${stat.size}:${stat.mtimeNs}`;
    if (version === this.#version) return;
    if (Number(stat.blocks) * BLOCK_BYTES > MAX_STORED_BYTES) throw new HostError('EFBIG', this.path);
    const fd = openSync(this.path, 'r');
    try {
      const head = Buffer.alloc(CHUNK_BYTES);
      const length = readSync(fd, head, 0, CHUNK_BYTES, 0);
      if (isQcow2(head.subarray(0, length))) this.#takeQcow2();
      else this.#takeRaw(fd, Number(stat.size));
    } finally {
      closeSync(fd);
    }
    this.#inode = Number(stat.ino);
    this.#version = version;
    this.#saved = this.#summary();
  }

  save(): void {
    const summary = this.#summary();
    if (summary === this.#saved || !this.#isLinked()) return;
    if (this.format === 'raw') this.#saveRaw();
    else this.#saveQcow2();
    const stat = statSync(this.path, { bigint: true });
    this.#inode = Number(stat.ino);
    this.#version = `${stat.ino}:${stat.size}:${stat.mtimeNs}`;
    this.#saved = summary;
  }

  /** Makes it an empty raw image. */
  empty(): void {
    this.format = 'raw';
    this.virtualSizeBytes = 0;
    this.header = NO_HEADER;
    this.extents.truncate(0);
    this.snapshots.length = 0;
    this.save();
  }

  #isLinked(): boolean {
    return statSync(this.path, { throwIfNoEntry: false })?.ino === this.#inode;
  }

  /** Changes whenever the content does. */
  #summary(): string {
    const listOf = ({ extents }: ExtentMap) => extents.map(({ start, end, tag }) => [start, end, tag]);
    const kept = this.snapshots.map(({ extents, ...rest }) => ({ ...rest, extents: listOf(extents) }));
    return JSON.stringify([this.format, this.virtualSizeBytes, this.header, kept, listOf(this.extents)]);
  }

  #takeQcow2(): void {
    const content = readQcow2(readFileSync(this.path), this.#codec);
    this.format = 'qcow2';
    this.virtualSizeBytes = content.virtualSizeBytes;
    this.header = content.header;
    this.extents.truncate(0);
    for (const { start, end, tag } of content.extents.extents) this.extents.set(start, end, tag);
    this.snapshots.splice(0, Number.POSITIVE_INFINITY, ...content.snapshots);
  }

  #takeRaw(fd: number, sizeBytes: number): void {
    this.format = 'raw';
    this.virtualSizeBytes = sizeBytes;
    this.header = NO_HEADER;
    this.snapshots.length = 0;
    this.extents.truncate(0);
    if (fstatSync(fd).blocks > 0) {
      for (let at = 0; at < sizeBytes; at += CHUNK_BYTES) {
        const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, sizeBytes - at));
        readSync(fd, chunk, 0, chunk.length, at);
        this.#codec.put(this.extents, at, chunk);
      }
    }
    // Zeroes and holes look the same.
    for (const { start, end, tag } of [...this.extents.extents])
      if (tag === 0) this.extents.clear(start, end);
    this.#savedRaw = this.extents.copy();
  }

  /** Writes in place what differs from the file. */
  #saveRaw(): void {
    const fd = openSync(this.path, 'r+');
    try {
      const { virtualSizeBytes: sizeBytes } = this;
      // What was there in another format goes.
      if (this.#savedRaw.count === 0) ftruncateSync(fd, 0);
      ftruncateSync(fd, sizeBytes);
      for (let at = 0; at < sizeBytes; ) {
        const now = this.extents.at(at, Math.min(sizeBytes, at + CHUNK_BYTES));
        const before = this.#savedRaw.at(at, now.end);
        const isSame = Math.max(0, now.tag) === Math.max(0, before.tag);
        if (!isSame) writeSync(fd, this.#codec.bytesOf(Math.max(0, now.tag), at, before.end), null, null, at);
        at = before.end;
      }
    } finally {
      closeSync(fd);
    }
    this.#savedRaw = this.extents.copy();
  }

  /** A whole new file in place of the old one, so that nobody ever sees half of it. */
  #saveQcow2(): void {
    this.#completeClusters();
    const { virtualSizeBytes, header, extents, snapshots } = this;
    const { pieces, lengthBytes } = writeQcow2({ virtualSizeBytes, header, extents, snapshots }, this.#codec);
    const draft = `${this.path}.${process.pid}.tmp`;
    const fd = openSync(draft, 'w', 0o600);
    try {
      ftruncateSync(fd, lengthBytes);
      for (const { offset, bytes } of pieces) writeSync(fd, bytes, 0, bytes.length, offset);
    } finally {
      closeSync(fd);
    }
    renameSync(draft, this.path);
    this.#savedRaw = new ExtentMap();
  }

  /** A cluster is there whole or not at all: what is missing of one is what shines through from below. */
  #completeClusters(): void {
    if (this.header.backingName === undefined) return;
    const { clusterSizeBytes: cluster } = this.header;
    const edges = new Set<number>();
    for (const { start, end } of this.extents.extents) {
      if (start % cluster !== 0) edges.add(Math.floor(start / cluster) * cluster);
      if (end % cluster !== 0) edges.add(Math.floor(end / cluster) * cluster);
    }
    for (const start of edges) {
      const end = Math.min(start + cluster, this.virtualSizeBytes);
      for (let at = start; at < end; ) {
        const own = this.extents.at(at, end);
        const below = own.tag === ABSENT ? this.#store.spanBelow(this, at, own.end) : own;
        if (own.tag === ABSENT) this.extents.set(at, below.end, below.tag);
        at = below.end;
      }
    }
  }
}

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
    return { kind: 'file', sizeBytes: stat.isFile() ? fileSizeBytes(this.open(path)) : stat.size };
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

  /** What the backing files of a file hold. */
  spanBelow(file: ImageFile, offset: number, limit: number) {
    return spanBelow(file, (each) => this.open(each), offset, limit);
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
