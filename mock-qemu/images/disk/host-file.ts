/** Files of this machine, as byte sources that fail as a host does. */
import { type BigIntStats, closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { ERRNO, type Errno, HostError } from '../../core/errno.ts';

/** Something to read bytes from. */
export interface ByteSource {
  readonly path: string;
  readonly sizeBytes: number;
  /** Up to `lengthBytes` bytes; fewer at the end of the file. They lie in `into`, if there is one. */
  read(offsetBytes: number, lengthBytes: number, into?: Buffer): Buffer;
}

// Two writes within one tick of the host's clock leave the same time behind.
const CLOCK_TICK_MS = 50;

/** Throws what `error` of node:fs means as a HostError about `path`. */
export function asHostError(error: unknown, path: string): never {
  const code = (error as { readonly code?: unknown }).code;
  if (typeof code === 'string' && Object.hasOwn(ERRNO, code)) throw new HostError(code as Errno, path);
  throw error;
}

/** What tells one state of a file from another; undefined if it was written too lately to be sure. */
export function identityOf(stat: BigIntStats): string | undefined {
  if (BigInt(Date.now()) - stat.mtimeMs < CLOCK_TICK_MS) return undefined;
  return [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(':');
}

/** Opens a regular file or a block device for `use`; HostError EISDIR for a directory, EINVAL for anything else. */
export function readHostFile<T>(path: string, use: (source: ByteSource, stat: BigIntStats) => T): T {
  // Before it is opened: a pipe would wait for its other end.
  const kind = statSync(path);
  if (kind.isDirectory()) throw new HostError('EISDIR', path);
  if (!kind.isFile() && !kind.isBlockDevice()) throw new HostError('EINVAL', path);
  const fd = openSync(path, 'r');
  try {
    const stat = fstatSync(fd, { bigint: true });
    const read = (offsetBytes: number, lengthBytes: number, into?: Buffer): Buffer => {
      if (offsetBytes >= stat.size) return Buffer.alloc(0);
      const bytes = into ?? Buffer.alloc(lengthBytes);
      return bytes.subarray(0, readSync(fd, bytes, 0, lengthBytes, offsetBytes));
    };
    return use({ path, sizeBytes: Number(stat.size), read }, stat);
  } finally {
    closeSync(fd);
  }
}
