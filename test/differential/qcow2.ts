/** Reads what an image file itself holds, without the files below it: the judge of final bytes. */
import { readFileSync } from 'node:fs';
import { constants, inflateRawSync } from 'node:zlib';

/** One stretch of a layer: `byte` is what it reads as, 'mixed' is content that is not one byte, 'absent' a hole. */
export interface LayerRun {
  readonly start: number;
  readonly end: number;
  readonly content: number | string;
}

/** One file's own layer and what its header says. */
export interface Layer {
  readonly format: 'qcow2' | 'raw';
  readonly sizeBytes: number;
  readonly backing: string | undefined;
  readonly backingFormat: string | undefined;
  readonly runs: readonly LayerRun[];
}

const MAGIC = 0x514649fb;
const BLOCK_BYTES = 512;
const CHUNK_BYTES = 65536;
const OFFSET_MASK = 0x00fffffffffffe00n;
const ZERO_FLAG = 1n;
const COMPRESSED_FLAG = 1n << 62n;
const BACKING_FORMAT_EXTENSION = 0xe2792aca;

/** Collects equal neighbours into one run. */
export class RunList {
  readonly runs: LayerRun[] = [];
  add(start: number, end: number, content: number | string): void {
    const last = this.runs.at(-1);
    if (start >= end) return;
    if (last !== undefined && last.end === start && last.content === content) {
      this.runs[this.runs.length - 1] = { ...last, end };
    } else this.runs.push({ start, end, content });
  }
}

// Comparing with a shifted view of itself tells in native code whether all bytes are equal.
const isUniform = (bytes: Buffer): boolean => bytes.subarray(1).equals(bytes.subarray(0, -1));

function addBytes(list: RunList, bytes: Buffer, start: number): void {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    const chunk = bytes.subarray(at, at + CHUNK_BYTES);
    if (isUniform(chunk)) list.add(start + at, start + at + chunk.length, chunk[0] ?? 0);
    else addBlocks(list, chunk, start + at);
  }
}

function addBlocks(list: RunList, bytes: Buffer, start: number): void {
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const block = bytes.subarray(at, at + BLOCK_BYTES);
    const content = isUniform(block) ? (block[0] ?? 0) : `mixed:${block.toString('hex')}`;
    list.add(start + at, start + at + block.length, content);
  }
}

/** A file's layer as it lies on the host. */
export function readLayer(path: string): Layer {
  const file = readFileSync(path);
  if (file.length < 104 || file.readUInt32BE(0) !== MAGIC) {
    const list = new RunList();
    addBytes(list, file, 0);
    return {
      format: 'raw',
      sizeBytes: file.length,
      backing: undefined,
      backingFormat: undefined,
      runs: list.runs,
    };
  }
  return readQcow2(file);
}

function readQcow2(file: Buffer): Layer {
  const backingOffset = Number(file.readBigUInt64BE(8));
  const backingLength = file.readUInt32BE(16);
  const clusterBytes = 1 << file.readUInt32BE(20);
  const sizeBytes = Number(file.readBigUInt64BE(24));
  const l1Offset = Number(file.readBigUInt64BE(40));
  const entriesPerTable = clusterBytes / 8;
  const list = new RunList();
  for (let start = 0; start < sizeBytes; start += clusterBytes) {
    const index = start / clusterBytes;
    const end = Math.min(start + clusterBytes, sizeBytes);
    const tableOffset = masked(file, l1Offset + 8 * Math.floor(index / entriesPerTable));
    const entry = tableOffset === 0 ? 0n : file.readBigUInt64BE(tableOffset + 8 * (index % entriesPerTable));
    if ((entry & COMPRESSED_FLAG) !== 0n)
      addBytes(list, inflated(file, entry, clusterBytes).subarray(0, end - start), start);
    else if ((entry & ZERO_FLAG) !== 0n) list.add(start, end, 0);
    else if ((entry & OFFSET_MASK) === 0n) list.add(start, end, 'absent');
    else addBytes(list, dataAt(file, Number(entry & OFFSET_MASK), end - start), start);
  }
  const backing = file.toString('utf8', backingOffset, backingOffset + backingLength);
  return {
    format: 'qcow2',
    sizeBytes,
    backing: backingOffset === 0 ? undefined : backing,
    backingFormat: extensionText(file, BACKING_FORMAT_EXTENSION),
    runs: list.runs,
  };
}

function inflated(file: Buffer, entry: bigint, clusterBytes: number): Buffer {
  const offsetBits = BigInt(62 - (Math.log2(clusterBytes) - 8));
  const offset = Number(entry & ((1n << offsetBits) - 1n));
  const sectors = Number((entry & (COMPRESSED_FLAG - 1n)) >> offsetBits) + 1;
  const data = file.subarray(offset, offset - (offset % BLOCK_BYTES) + sectors * BLOCK_BYTES);
  return inflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH });
}

const masked = (file: Buffer, offset: number): number => Number(file.readBigUInt64BE(offset) & OFFSET_MASK);

// The last cluster of a file may lie beyond its end: what was never written there is zero.
function dataAt(file: Buffer, offset: number, length: number): Buffer {
  const data = Buffer.alloc(length);
  file.copy(data, 0, offset, Math.min(file.length, offset + length));
  return data;
}

function extensionText(file: Buffer, wanted: number): string | undefined {
  for (let at = file.readUInt32BE(100); at + 8 <= file.length; ) {
    const type = file.readUInt32BE(at);
    const length = file.readUInt32BE(at + 4);
    if (type === 0) return undefined;
    if (type === wanted) return file.toString('utf8', at + 8, at + 8 + length);
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return undefined;
}

/** A layer as one text. */
export function layerText(layer: Layer): string {
  const { format, sizeBytes, backing, backingFormat, runs } = layer;
  const header = `${format} ${sizeBytes} backing=${backing ?? '-'} (${backing === undefined ? '-' : (backingFormat ?? '-')})`;
  const stretches = runs
    .filter(({ content }) => content !== (format === 'raw' ? 0 : 'absent'))
    .map(({ start, end, content }) => `${start}-${end}:${content}`);
  return `${header} ${stretches.join(' ')}`;
}
