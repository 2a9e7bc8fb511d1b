/** The image store that lives in this process: nothing is left of it at the end. */
import { HostError } from '../core/errno.ts';
import { BlobTable, ExtentMap } from '../core/extents.ts';
import {
  emptyImage,
  type FileStat,
  fileSizeBytes,
  type ImageFile,
  type ImageState,
  type ImageStore,
  NO_HEADER,
  type Run,
  revertTo,
  stateOf,
} from '../core/images.ts';
import { FileLocks } from '../core/rights.ts';
import { chainContents, digestRuns } from './content.ts';

/** Where files may be. */
export interface MemoryStoreOptions {
  /**
   * The directories that exist. Left out, every directory does, except `/nonexistent` and what is below it.
   * The root directory always exists.
   */
  readonly directories?: readonly string[];
  /** Directories in which nothing may be created or removed (EACCES). */
  readonly readOnlyDirectories?: readonly string[];
}

/** One file; an empty raw image at first. */
class MemoryFile implements ImageFile {
  readonly path: string;
  format: ImageFile['format'] = 'raw';
  virtualSizeBytes = 0;
  header = NO_HEADER;
  readonly extents = new ExtentMap();
  readonly snapshots: ImageFile['snapshots'] = [];
  readonly bitmaps: ImageFile['bitmaps'] = [];
  layout: ImageFile['layout'];
  startsWithHole = false;
  capacityBytes: number | undefined;
  readonly locks = new FileLocks();
  /** What is left of it when its host dies. */
  #durable: ImageState | undefined;

  constructor(path: string) {
    this.path = path;
  }

  save(): void {
    this.#durable = stateOf(this);
  }

  losePageCache(survives: () => boolean): void {
    if (!this.#durable) return;
    const { extents, snapshots, bitmaps, ...rest } = this.#durable;
    Object.assign(this, rest);
    this.snapshots.splice(0, Number.POSITIVE_INFINITY, ...snapshots);
    this.bitmaps.splice(0, Number.POSITIVE_INFINITY, ...bitmaps);
    revertTo(this, extents, survives);
  }
}

// A relative name is in the directory where the process was started: one that exists.
const directoryOf = (path: string): string =>
  path.includes('/') ? path.slice(0, Math.max(1, path.lastIndexOf('/'))) : '/';

class MemoryStore implements ImageStore {
  readonly blobs = new BlobTable();
  readonly #files = new Map<string, ImageFile>();
  readonly #directories: ReadonlySet<string> | undefined;
  readonly #readOnly: ReadonlySet<string>;

  constructor(options: MemoryStoreOptions) {
    this.#directories = options.directories && new Set(['/', ...options.directories]);
    this.#readOnly = new Set(options.readOnlyDirectories);
  }

  open(path: string): ImageFile {
    const file = this.#files.get(path);
    if (file === undefined) throw new HostError(this.#isDirectory(path) ? 'EISDIR' : 'ENOENT', path);
    // Nobody writes to it: what it holds has long been on the disk.
    if (file.locks.counts.writers === 0) file.save();
    return file;
  }

  create(path: string): ImageFile {
    const existing = this.#files.get(path);
    if (existing !== undefined) {
      emptyImage(existing);
      return existing;
    }
    this.#checkDirectory(path);
    const file = new MemoryFile(path);
    this.#files.set(path, file);
    return file;
  }

  createEmpty(path: string): void {
    if (this.#files.has(path)) throw new HostError('EEXIST', path);
    this.create(path);
  }

  remove(path: string): void {
    if (!this.#files.has(path)) return;
    this.#checkDirectory(path);
    this.#files.delete(path);
  }

  stat(path: string): FileStat | undefined {
    const file = this.#files.get(path);
    return file && { kind: 'file', sizeBytes: fileSizeBytes(file) };
  }

  exists(path: string): boolean {
    return this.#files.has(path);
  }

  contents(path: string): Run[] {
    return chainContents(path, (each) => this.open(each), this.blobs);
  }

  digest(path: string): string {
    return digestRuns(this.contents(path));
  }

  #isDirectory(path: string): boolean {
    if (this.#directories) return this.#directories.has(path);
    return path === '/' || path.endsWith('/');
  }

  #checkDirectory(path: string): void {
    const directory = directoryOf(path);
    const there = this.#directories?.has(directory) ?? !`${directory}/`.startsWith('/nonexistent/');
    if (!there) throw new HostError('ENOENT', path);
    if (this.#readOnly.has(directory) || path.endsWith('/')) {
      throw new HostError(path.endsWith('/') ? 'EISDIR' : 'EACCES', path);
    }
  }
}

/** An image store in memory, empty at first. */
export function createMemoryStore(options: MemoryStoreOptions = {}): ImageStore {
  return new MemoryStore(options);
}
