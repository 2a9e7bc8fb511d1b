/** The driver's file operations on the real file system. */
import { execFile } from 'node:child_process';
import { open, rm, stat, writeFile } from 'node:fs/promises';
import { systemErrorCode } from './errors.ts';
import type { HostFiles } from './host.ts';

const OWNER_ONLY = 0o600;
const NOTHING_THERE: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR']);

/** qemu-img's options; it alone brings back an internal snapshot that has no memory. */
const SNAPSHOT_OPTION = { create: '-c', apply: '-a', delete: '-d' } as const;

/** {@link HostFiles} over node:fs. */
export const nodeFiles: HostFiles = {
  snapshot: (verb, path, _format, name) =>
    new Promise((resolve, reject) => {
      execFile('qemu-img', ['snapshot', SNAPSHOT_OPTION[verb], name, path], (cause, _stdout, stderr) => {
        if (!cause) return resolve();
        const said = stderr.trim().replace(/^qemu-img: /, '');
        reject(new Error(said === '' ? cause.message : said, { cause }));
      });
    }),
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
