/** Cuts a byte stream into lines, whatever the chunks it comes in. */

const NEWLINE = 0x0a;

/** Collects bytes up to a newline; never keeps more than its limit. */
export class LineSplitter {
  readonly #limitBytes: number;
  #chunks: Uint8Array[] = [];
  #pendingBytes = 0;

  /** `limitBytes`: the longest line, without its end. */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes of a line whose end has not come yet. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /**
   * Takes a chunk and calls back for each line that it completes, without the newline, until the callback answers
   * false; a line is only good until then. Returns false if a line is longer than the limit; lines before it have been handed over by then.
   */
  push(chunk: Uint8Array, onLine: (line: Uint8Array) => boolean): boolean {
    let start = 0;
    while (start < chunk.length) {
      const end = chunk.indexOf(NEWLINE, start);
      if (end === -1) return this.#keep(chunk.subarray(start));
      const line = this.#complete(chunk.subarray(start, end));
      if (line === undefined) return false;
      start = end + 1;
      if (!onLine(line)) return true;
    }
    return true;
  }

  /** The line that `end` ends, or undefined if it is too long. */
  #complete(end: Uint8Array): Uint8Array | undefined {
    // Most lines come in one piece and need no copy.
    if (this.#pendingBytes === 0) return end.length > this.#limitBytes ? undefined : end;
    return this.#keep(end) ? this.#take() : undefined;
  }

  #keep(part: Uint8Array): boolean {
    this.#pendingBytes += part.length;
    if (this.#pendingBytes > this.#limitBytes) return false;
    // A copy: the giver of a chunk may reuse its buffer after the call.
    if (part.length > 0) this.#chunks.push(new Uint8Array(part));
    return true;
  }

  #take(): Uint8Array {
    const line = Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#pendingBytes = 0;
    return line;
  }
}
