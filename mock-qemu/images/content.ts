/** Reading an image's chain from its files alone, as qemu-img would after every process is gone. */
import { ABSENT, type BlobTable, type Span } from '../core/extents.ts';
import { backingPath, type ImageFile, type Run } from '../core/images.ts';

/** The files of a chain, the given one first. */
function chainOf(path: string, open: (path: string) => ImageFile): ImageFile[] {
  const chain: ImageFile[] = [];
  const seen = new Set<string>();
  for (let next: string | undefined = path; next !== undefined; ) {
    if (seen.has(next)) break;
    seen.add(next);
    const file = open(next);
    chain.push(file);
    const name: string | undefined = file.header.backingName;
    next = name === undefined ? undefined : backingPath(next, name);
  }
  return chain;
}

function spanOf(chain: readonly ImageFile[], depth: number, offset: number, limit: number): Span {
  const layer = chain[depth];
  if (layer === undefined || offset >= layer.virtualSizeBytes) return { end: limit, tag: 0 };
  const span = layer.extents.at(offset, Math.min(limit, layer.virtualSizeBytes));
  return span.tag === ABSENT ? spanOf(chain, depth + 1, offset, span.end) : span;
}

/** What the images below a file hold; there is one. */
export function spanBelow(
  file: ImageFile,
  open: (path: string) => ImageFile,
  offset: number,
  limit: number,
): Span {
  const { backingName } = file.header;
  if (backingName === undefined) return { end: limit, tag: 0 };
  return spanOf(chainOf(backingPath(file.path, backingName), open), 0, offset, limit);
}

/** Collects equal neighbours into runs. */
class RunWriter {
  readonly runs: Run[] = [];
  add(offsetBytes: number, lengthBytes: number, byte: number): void {
    const last = this.runs.at(-1);
    if (last !== undefined && last.byte === byte) {
      this.runs[this.runs.length - 1] = { ...last, lengthBytes: last.lengthBytes + lengthBytes };
    } else {
      this.runs.push({ offsetBytes, lengthBytes, byte });
    }
  }
}

/** What a guest would read from the chain that begins at `path`. */
export function chainContents(path: string, open: (path: string) => ImageFile, blobs: BlobTable): Run[] {
  const chain = chainOf(path, open);
  const sizeBytes = chain[0]?.virtualSizeBytes ?? 0;
  const writer = new RunWriter();
  for (let offset = 0; offset < sizeBytes; ) {
    const span = spanOf(chain, 0, offset, sizeBytes);
    if (span.tag < 256) writer.add(offset, span.end - offset, span.tag);
    else for (let at = offset; at < span.end; at++) writer.add(at, 1, blobs.byteAt(span.tag, at));
    offset = span.end;
  }
  return writer.runs;
}

/** A 64-bit fingerprint of runs, in hexadecimal, after the size they add up to. */
export function digestRuns(runs: readonly Run[]): string {
  let high = 0x9dc5811c;
  let low = 0x01000193;
  const mix = (word: number) => {
    high = Math.imul(high ^ word, 0x85ebca6b);
    low = Math.imul(low ^ (word + 0x7f4a7c15), 0xc2b2ae35);
    high ^= low >>> 15;
    low ^= high >>> 13;
  };
  let sizeBytes = 0;
  for (const run of runs) {
    mix(run.lengthBytes % 0x1_0000_0000);
    mix(Math.floor(run.lengthBytes / 0x1_0000_0000));
    mix(run.byte);
    sizeBytes += run.lengthBytes;
  }
  const hex = (word: number) => (word >>> 0).toString(16).padStart(8, '0');
  return `${sizeBytes}:${hex(high)}${hex(low)}`;
}
