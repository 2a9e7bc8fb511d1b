/**
 * The image store over real files, so that separate simulated QEMUs share images and stat or unlink work on them as
 * on any other file. An image is a small text file; a file that is not one of ours is taken as a raw image.
 */
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { ERRNO, type Errno, HostError } from '../core/errno.ts';
import { BlobTable, type Extent, ExtentMap, type Tag } from '../core/extents.ts';
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
import { chainContents, digestRuns } from './content.ts';

const MAGIC = 'mock-qemu image 1\n';
// A foreign raw image is read into memory byte by byte.
const MAX_FOREIGN_BYTES = 64 << 20;
const RUN_BYTES = 512;

/** What stands behind the magic. */
interface Stored {
  readonly format: ContainerFormat;
  readonly virtualSizeBytes: number;
  readonly header: ImageHeader;
  readonly capacityBytes?: number;
  /** start, end, and the byte that fills the range or the range's bytes in base 64. */
  readonly extents: readonly StoredExtent[];
  readonly snapshots?: readonly (Omit<InternalSnapshot, 'extents'> & {
    readonly extents: readonly StoredExtent[];
  })[];
}

type StoredExtent = readonly [number, number, number | string];

function asHostError(error: unknown, path: string): never {
  const code = (error as { readonly code?: unknown }).code;
  if (typeof code === 'string' && Object.hasOwn(ERRNO, code)) throw new HostError(code as Errno, path);
  throw error;
}

/** One open file: its content as last read, written back at each save. */
class DiskFile implements ImageFile {
  readonly path: string;
  format: ContainerFormat = 'raw';
  virtualSizeBytes = 0;
  header: ImageHeader = { clusterSizeBytes: 65536 };
  readonly extents = new ExtentMap();
  readonly snapshots: InternalSnapshot[] = [];
  capacityBytes: number | undefined;
  readonly locks = { writers: 0, readers: 0 };
  readonly #blobs: BlobTable;
  #saved = '';
  /** Identity on the host, so that a file that was removed or replaced is not written again. */
  #inode = 0;

  constructor(path: string, blobs: BlobTable) {
    this.path = path;
    this.#blobs = blobs;
  }

  /** Takes the content from the host, unless it is what it was. */
  load(): void {
    const bytes = readFileSync(this.path);
    this.#inode = statSync(this.path).ino;
    const isOurs = bytes.subarray(0, MAGIC.length).toString('latin1') === MAGIC;
    if (!isOurs) {
      this.#loadForeign(bytes);
      return;
    }
    const text = bytes.subarray(MAGIC.length).toString('utf8');
    if (text === this.#saved) return;
    const stored = JSON.parse(text) as Stored;
    this.format = stored.format;
    this.virtualSizeBytes = stored.virtualSizeBytes;
    this.header = stored.header;
    this.capacityBytes = stored.capacityBytes;
    this.extents.truncate(0);
    this.#take(stored.extents, this.extents);
    this.snapshots.length = 0;
    for (const { extents, ...rest } of stored.snapshots ?? []) {
      const map = new ExtentMap();
      this.#take(extents, map);
      this.snapshots.push({ ...rest, extents: map });
    }
    this.#saved = text;
  }

  #take(extents: readonly StoredExtent[], into: ExtentMap): void {
    for (const [start, end, content] of extents) {
      const tag = typeof content === 'number' ? content : this.#intern(start, Buffer.from(content, 'base64'));
      into.set(start, end, tag);
    }
  }

  #put({ extents }: ExtentMap): StoredExtent[] {
    return extents.map((extent) => [extent.start, extent.end, this.#contentOf(extent)]);
  }

  save(): void {
    const text = JSON.stringify(this.#stored());
    if (text === this.#saved || !this.#isLinked()) return;
    const draft = `${this.path}.${process.pid}.tmp`;
    writeFileSync(draft, MAGIC + text, { mode: 0o600 });
    renameSync(draft, this.path);
    this.#inode = statSync(this.path).ino;
    this.#saved = text;
  }

  #isLinked(): boolean {
    return statSync(this.path, { throwIfNoEntry: false })?.ino === this.#inode;
  }

  #stored(): Stored {
    return {
      format: this.format,
      virtualSizeBytes: this.virtualSizeBytes,
      header: this.header,
      ...(this.capacityBytes !== undefined && { capacityBytes: this.capacityBytes }),
      extents: this.#put(this.extents),
      ...(this.snapshots.length > 0 && {
        snapshots: this.snapshots.map((each) => ({ ...each, extents: this.#put(each.extents) })),
      }),
    };
  }

  #contentOf({ start, end, tag }: Extent): number | string {
    if (tag < 256) return tag;
    const bytes = Buffer.alloc(end - start);
    for (let at = start; at < end; at++) bytes[at - start] = this.#blobs.byteAt(tag, at);
    return bytes.toString('base64');
  }

  #intern(origin: number, bytes: Uint8Array): Tag {
    const first = bytes[0] ?? 0;
    return bytes.every((byte) => byte === first) ? first : this.#blobs.intern(origin, bytes);
  }

  #loadForeign(bytes: Buffer): void {
    if (bytes.length > MAX_FOREIGN_BYTES) throw new HostError('EFBIG', this.path);
    this.format = 'raw';
    this.virtualSizeBytes = bytes.length;
    this.extents.truncate(0);
    for (let start = 0; start < bytes.length; start += RUN_BYTES) {
      const end = Math.min(bytes.length, start + RUN_BYTES);
      const tag = this.#intern(start, bytes.subarray(start, end));
      if (tag !== 0) this.extents.set(start, end, tag);
    }
  }

  /** Makes it an empty raw image. */
  empty(): void {
    this.format = 'raw';
    this.virtualSizeBytes = 0;
    this.header = { clusterSizeBytes: 65536 };
    this.extents.truncate(0);
    this.snapshots.length = 0;
    this.save();
  }
}

class DiskStore implements ImageStore {
  readonly blobs = new BlobTable();
  /** Files that this process has opened: openers of one file share its content. */
  readonly #files = new Map<string, DiskFile>();

  open(path: string): ImageFile {
    const file = this.#files.get(path) ?? new DiskFile(path, this.blobs);
    // What this process is writing is newer than what is on the host.
    if (file.locks.writers > 0) return file;
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

  #make(path: string): DiskFile {
    this.createEmpty(path);
    return this.open(path) as DiskFile;
  }
}

/** An image store over this machine's files. */
export function createDiskStore(): ImageStore {
  return new DiskStore();
}
