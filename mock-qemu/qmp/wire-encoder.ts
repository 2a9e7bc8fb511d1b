/** Bytes of many short messages: they share their memory, as a buffer each costs more than its content. */

const POOL_BYTES = 16 * 1024;
/** A UTF-16 unit takes at most so many bytes. */
const BYTES_PER_UNIT = 3;
const LARGEST_POOLED_BYTES = POOL_BYTES / 4;

/** Encodes texts as UTF-8 and copies bytes. The bytes that it gives are never written again. */
export class WireEncoder {
  readonly #encoder = new TextEncoder();
  #pool = new Uint8Array(0);
  #used = 0;

  /** The bytes of a text. */
  encode(text: string): Uint8Array {
    const mostBytes = text.length * BYTES_PER_UNIT;
    if (mostBytes > LARGEST_POOLED_BYTES) return this.#encoder.encode(text);
    const room = this.#room(mostBytes);
    return this.#taken(room, this.#encoder.encodeInto(text, room).written);
  }

  /** The same bytes, in memory of their own. */
  copy(bytes: Uint8Array): Uint8Array {
    if (bytes.length > LARGEST_POOLED_BYTES) return new Uint8Array(bytes);
    const room = this.#room(bytes.length);
    room.set(bytes);
    return this.#taken(room, bytes.length);
  }

  /** What is left of the pool, at least so many bytes. */
  #room(bytes: number): Uint8Array {
    if (this.#pool.length - this.#used < bytes) {
      this.#pool = new Uint8Array(POOL_BYTES);
      this.#used = 0;
    }
    return this.#pool.subarray(this.#used);
  }

  #taken(room: Uint8Array, bytes: number): Uint8Array {
    this.#used += bytes;
    return room.subarray(0, bytes);
  }
}
