/** Text to bytes for many short messages: they share their memory, as a buffer each costs more than its content. */

const POOL_BYTES = 16 * 1024;
/** A UTF-16 unit takes at most so many bytes. */
const BYTES_PER_UNIT = 3;
const LARGEST_POOLED_BYTES = POOL_BYTES / 4;

/** Encodes texts as UTF-8. The bytes that it gives are never written again. */
export class WireEncoder {
  readonly #encoder = new TextEncoder();
  #pool = new Uint8Array(0);
  #used = 0;

  /** The bytes of a text. */
  encode(text: string): Uint8Array {
    const mostBytes = text.length * BYTES_PER_UNIT;
    if (mostBytes > LARGEST_POOLED_BYTES) return this.#encoder.encode(text);
    if (this.#pool.length - this.#used < mostBytes) {
      this.#pool = new Uint8Array(POOL_BYTES);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += this.#encoder.encodeInto(text, this.#pool.subarray(start)).written;
    return this.#pool.subarray(start, this.#used);
  }
}
