/**
 * Which of several wrong members QEMU names: it looks at them in the order of its hash tables. That order is no
 * contract, but where it decides an error text it is simulated, so that texts can be compared exactly.
 */
import { inDictionaryOrder } from '../core/dictionary.ts';

const SMALLEST_SHIFT = 3;
/** GLib's primes by table size 2^n. */
const PRIMES = [1, 2, 3, 7, 13, 31, 61, 127, 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521] as const;
const REMOVED = Symbol('removed');

/** GLib's string hash; 0 and 1 mark empty and removed slots. */
function stringHash(name: string): number {
  let hash = 5381;
  for (const byte of new TextEncoder().encode(name))
    hash = (Math.imul(hash, 33) + ((byte << 24) >> 24)) >>> 0;
  return Math.max(hash, 2);
}

/** GLib's hash table of strings as far as its order shows. */
class NameTable {
  #slots: (string | typeof REMOVED | undefined)[] = new Array(2 ** SMALLEST_SHIFT).fill(undefined);
  #shift = SMALLEST_SHIFT;
  #names = 0;
  #occupied = 0;

  insert(name: string): void {
    this.#slots[this.#slotOf(name)] = name;
    this.#names++;
    this.#occupied++;
    this.#resizeIfNeeded();
  }

  remove(name: string): void {
    this.#slots[this.#slotOf(name)] = REMOVED;
    this.#names--;
    this.#resizeIfNeeded();
  }

  first(): string | undefined {
    return this.#slots.find((slot): slot is string => typeof slot === 'string');
  }

  /** Where the name is, or where it would go. */
  #slotOf(name: string): number {
    const prime = PRIMES[Math.min(this.#shift, PRIMES.length - 1)] ?? 1;
    let index = (Math.imul(stringHash(name), 11) >>> 0) % prime;
    for (let step = 1; this.#slots[index] !== undefined && this.#slots[index] !== name; step++) {
      index = (index + step) & (this.#slots.length - 1);
    }
    return index;
  }

  #resizeIfNeeded(): void {
    const size = this.#slots.length;
    const sparse = size > Math.max(this.#names * 4, 2 ** SMALLEST_SHIFT);
    const full = size <= this.#occupied + Math.floor(this.#occupied / 16);
    if (!sparse && !full) return;
    const names = this.#slots.filter((slot): slot is string => typeof slot === 'string');
    const wanted = Math.floor(this.#names * 1.333);
    this.#shift = Math.max(SMALLEST_SHIFT, wanted === 0 ? 0 : Math.floor(Math.log2(wanted)) + 1);
    this.#slots = new Array(2 ** this.#shift).fill(undefined);
    this.#occupied = this.#names;
    for (const name of names) this.#slots[this.#slotOf(name)] = name;
  }
}

/** Which unknown member of an object QEMU names; `known` are those it has visited, in that order. */
export function firstUnknown(names: Iterable<string>, known: readonly string[]): string | undefined {
  const table = new NameTable();
  const given = inDictionaryOrder(names);
  for (const name of given) table.insert(name);
  for (const name of known) if (given.includes(name)) table.remove(name);
  return table.first();
}
