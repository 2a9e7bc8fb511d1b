/** The driver's file operations on the real file system. */
import { open, rm, stat, writeFile } from 'node:fs/promises';
import { systemErrorCode } from './errors.ts';
import type { HostFiles } from './host.ts';

const OWNER_ONLY = 0o600;
const NOTHING_THERE: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR']);

/** {@link HostFiles} over node:fs. */
export const nodeFiles: HostFiles = {
  async stat(path) {
    try {
      const found = await stat(path);
      return { kind: found.isBlockDevice() ? 'block' : 'file', sizeBytes: found.size };
    } catch (error) {
      if (NOTHING_THERE.has(systemErrorCode(error))) return undefined;
      throw error;
    }
  },
  async createEmpty(path) {
    const handle = await open(path, 'wx', OWNER_ONLY);
    await handle.close();
  },
  remove: (path) => rm(path, { force: true }),
  writeText: (path, text) => writeFile(path, text, { mode: OWNER_ONLY }),
  async readStart(path, bytes) {
    const handle = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(bytes), 0, bytes, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  },
};
