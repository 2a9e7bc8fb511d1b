/** What happened in a world, as text that is equal for equal runs. */

/** Entries beyond this are forgotten, oldest first, so that a job that errs forever does not eat the memory. */
const MAX_ENTRIES = 200_000;

interface Entry {
  readonly atNs: number;
  readonly machine: number;
  readonly what: string;
  readonly bytes?: Uint8Array;
}

/** Collects entries; the text is made when it is asked for. */
export class Trace {
  #entries: Entry[] = [];
  #forgotten = 0;

  /** `what` is one word or sign; `bytes` are those that went over the wire. */
  add(atNs: number, machine: number, what: string, bytes?: Uint8Array): void {
    if (this.#entries.length >= MAX_ENTRIES) {
      this.#entries = this.#entries.slice(MAX_ENTRIES / 2);
      this.#forgotten += MAX_ENTRIES / 2;
    }
    this.#entries.push(bytes ? { atNs, machine, what, bytes } : { atNs, machine, what });
  }

  /** One line for each entry: virtual nanoseconds, machine, what. */
  text(): string {
    const decoder = new TextDecoder();
    const lines = this.#entries.map(({ atNs, machine, what, bytes }) => {
      const head = `${atNs} ${machine} ${what}`;
      return bytes ? `${head} ${decoder.decode(bytes).trimEnd()}` : head;
    });
    if (this.#forgotten > 0) lines.unshift(`(${this.#forgotten} earlier entries forgotten)`);
    return lines.join('\n');
  }
}
