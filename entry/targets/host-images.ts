/** Images on this machine's disk, made and read with QEMU's own tools. */
import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { ImageSpec, Run } from '../../conformance/index.ts';
import { canonicalRuns } from '../../conformance/index.ts';

const execute = promisify(execFile);

/** The tools that cannot be run, by name. */
export async function missingImageTools(): Promise<string[]> {
  const tools = ['qemu-img', 'qemu-io'];
  const canRun = await Promise.all(
    tools.map((tool) =>
      execute(tool, ['--version']).then(
        () => true,
        () => false,
      ),
    ),
  );
  return tools.filter((_, index) => !canRun[index]);
}

/** Makes an image with its writes: one `qemu-img create`, and one `qemu-io` for all writes together. */
export async function createHostImage({
  path,
  format,
  capacityBytes,
  backing,
  writes,
}: ImageSpec): Promise<void> {
  const below = backing ? ['-b', backing.path, '-F', backing.format] : [];
  await execute('qemu-img', ['create', '-q', '-f', format, ...below, path, String(capacityBytes)]);
  if (writes.length === 0) return;
  const commands = writes.flatMap(({ offsetBytes, lengthBytes, byte }) => [
    '-c',
    `write -q -P ${byte} ${offsetBytes} ${lengthBytes}`,
  ]);
  await execute('qemu-io', ['-f', format, ...commands, path]);
}

/**
 * What a guest would read from an image and its backing files. The image may be open in a QEMU, which must have
 * flushed it.
 */
export async function hostContents(path: string): Promise<Run[]> {
  const flat = `${path}.flat`;
  try {
    await execute('qemu-img', ['convert', '-U', '-O', 'raw', path, flat]);
    return runsOf(await readFile(flat));
  } finally {
    await rm(flat, { force: true });
  }
}

/** The runs of equal bytes; sectors of zeroes, which are most of a disk, are stepped over in one comparison. */
export function runsOf(bytes: Uint8Array): Run[] {
  const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.byteLength / 8));
  const runs: Run[] = [];
  for (let start = 0; start < bytes.length; ) {
    const byte = bytes[start] ?? 0;
    let end = start + 1;
    while (end < bytes.length && end % 8 !== 0 && bytes[end] === byte) end++;
    if (end % 8 === 0) {
      const word = BigInt(byte) * 0x0101010101010101n;
      while (end / 8 < words.length && words[end / 8] === word) end += 8;
    }
    while (end < bytes.length && bytes[end] === byte) end++;
    runs.push({ offsetBytes: start, lengthBytes: end - start, byte });
    start = end;
  }
  return canonicalRuns(runs);
}
