/** The file that holds a saved machine: one line that says what it is, the caller's header, QEMU's stream. */
import { ErrorCode, VirtError } from '../../src/errors.ts';
import { systemError } from './errors.ts';
import type { HostFiles } from './host.ts';

const MAGIC = /^mockvirt-saved-state 1 (\d{1,8})\n/;
/** Longer than any magic line. */
const MAGIC_BYTES = 64;

/** What is put before QEMU's stream. */
export function frameHeader(header: string): string {
  return `mockvirt-saved-state 1 ${Buffer.byteLength(header)}\n${header}`;
}

/** A header, and how many bytes it takes with its frame. */
export interface SavedHeader {
  readonly header: string;
  readonly sizeBytes: number;
}

/**
 * Reads what is before QEMU's stream.
 * @throws VirtError SYSTEM_ERROR, or OPERATION_FAILED for another kind of file
 */
export async function readHeader(files: HostFiles, path: string): Promise<SavedHeader> {
  const { readStart } = files;
  if (readStart === undefined) {
    throw new VirtError(ErrorCode.NO_SUPPORT, 'virDomainRestore: this host keeps no saved states');
  }
  const read = (bytes: number) =>
    readStart(path, bytes).catch((cause: unknown) => {
      throw systemError(`Failed to open file '${path}'`, cause);
    });
  const magic = MAGIC.exec((await read(MAGIC_BYTES)).toString('latin1'));
  if (magic === null) throw new VirtError(ErrorCode.OPERATION_FAILED, 'image magic is incorrect');
  const start = magic[0].length;
  const sizeBytes = start + Number(magic[1]);
  return { header: (await read(sizeBytes)).subarray(start).toString('utf8'), sizeBytes };
}
