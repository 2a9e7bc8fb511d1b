/** The errors of the host's system calls that a simulated QEMU can meet: number and the text of strerror(3). */
export const ERRNO = {
  EPERM: { number: 1, text: 'Operation not permitted' },
  ENOENT: { number: 2, text: 'No such file or directory' },
  EIO: { number: 5, text: 'Input/output error' },
  EAGAIN: { number: 11, text: 'Resource temporarily unavailable' },
  ENOMEM: { number: 12, text: 'Cannot allocate memory' },
  EACCES: { number: 13, text: 'Permission denied' },
  EBUSY: { number: 16, text: 'Device or resource busy' },
  EEXIST: { number: 17, text: 'File exists' },
  ENOTDIR: { number: 20, text: 'Not a directory' },
  EISDIR: { number: 21, text: 'Is a directory' },
  EINVAL: { number: 22, text: 'Invalid argument' },
  EFBIG: { number: 27, text: 'File too large' },
  ENOSPC: { number: 28, text: 'No space left on device' },
  EROFS: { number: 30, text: 'Read-only file system' },
  ENOTSUP: { number: 95, text: 'Operation not supported' },
  ETIMEDOUT: { number: 110, text: 'Connection timed out' },
  EDQUOT: { number: 122, text: 'Disk quota exceeded' },
  ENOMEDIUM: { number: 123, text: 'No medium found' },
  ECANCELED: { number: 125, text: 'Operation canceled' },
} as const;

/** The symbolic name of a system error. */
export type Errno = keyof typeof ERRNO;

/** What strerror(3) says. */
export const strerror = (code: Errno): string => ERRNO[code].text;

/** A file operation of the host failed. `code` as in Node's system errors. */
export class HostError extends Error {
  override name = 'HostError';
  readonly code: Errno;
  readonly path: string;
  constructor(code: Errno, path: string) {
    super(`${code}: ${strerror(code)}, '${path}'`);
    this.code = code;
    this.path = path;
  }
}
