/**
 * The short way for what clients nearly always send: one ordinary object that came whole. Whatever is unusual is left
 * to the lexer, which alone knows what QEMU makes of it.
 */
import { stringText } from './json-text.ts';
import type { WireValue } from './json-value.ts';

/** A value, and where in the bytes it ends. */
export interface WholeValue {
  readonly value: WireValue;
  readonly endBytes: number;
}

const MAX_BYTES = 64 * 1024;
const MAX_DEPTH = 32;
const ASCII = new TextDecoder();
const BLANKS = new Set([' ', '\t', '\r', '\n']);
// Any other number is left to the lexer: floats, and integers that a double may not hold.
const SHORT_INTEGER = /(?:-?[1-9]\d{0,14}|0)(?![\d.eE])/y;
const KEYWORDS: readonly (readonly [text: string, value: WireValue])[] = [
  ['true', true],
  ['false', false],
  ['null', null],
];

/** Reads the object at the beginning of `bytes`; undefined if it is unusual in any way, or none. */
export function readWhole(bytes: Uint8Array): WholeValue | undefined {
  if (bytes.length > MAX_BYTES) return undefined;
  const reader = new Reader(bytes, ASCII.decode(bytes));
  if (reader.peek() !== '{') return undefined;
  const value = reader.value(0);
  return value === undefined ? undefined : { value, endBytes: reader.at };
}

/**
 * A position in a text; every method gives undefined where the short way ends. That is at the first character beyond
 * ASCII too, so that a character's place is that of its byte.
 */
class Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #text: string;

  constructor(bytes: Uint8Array, text: string) {
    this.#bytes = bytes;
    this.#text = text;
  }

  /** The next character that is no blank; it is not passed. */
  peek(): string {
    while (BLANKS.has(this.#text[this.at] ?? '')) this.at++;
    return this.#text[this.at] ?? '';
  }

  value(depth: number): WireValue | undefined {
    switch (this.peek()) {
      case '{':
        return depth < MAX_DEPTH ? this.#object(depth + 1) : undefined;
      case '[':
        return depth < MAX_DEPTH ? this.#array(depth + 1) : undefined;
      case '"':
        return this.#string();
      default:
        return this.#integer() ?? this.#keyword();
    }
  }

  #passes(character: string): boolean {
    if (this.peek() !== character) return false;
    this.at++;
    return true;
  }

  #object(depth: number): WireValue | undefined {
    const members = new Map<string, WireValue>();
    this.at++;
    if (this.#passes('}')) return members;
    do {
      const name = this.peek() === '"' ? this.#string() : undefined;
      if (name === undefined || members.has(name) || !this.#passes(':')) return undefined;
      const value = this.value(depth);
      if (value === undefined) return undefined;
      members.set(name, value);
    } while (this.#passes(','));
    return this.#passes('}') ? members : undefined;
  }

  #array(depth: number): WireValue | undefined {
    const items: WireValue[] = [];
    this.at++;
    if (this.#passes(']')) return items;
    do {
      const item = this.value(depth);
      if (item === undefined) return undefined;
      items.push(item);
    } while (this.#passes(','));
    return this.#passes(']') ? items : undefined;
  }

  #string(): string | undefined {
    const start = this.at;
    let end = start + 1;
    let isPlain = true;
    for (let code = this.#text.charCodeAt(end); code !== 0x22; code = this.#text.charCodeAt(end)) {
      // NaN beyond the end fails this too.
      if (!(code >= 0x20 && code < 0x80)) return undefined;
      if (code === 0x5c) isPlain = false;
      end += code === 0x5c ? 2 : 1;
    }
    this.at = end + 1;
    if (isPlain) return this.#text.slice(start + 1, end);
    const unescaped = stringText(this.#bytes.subarray(start, this.at));
    return 'error' in unescaped ? undefined : unescaped.text;
  }

  #integer(): number | undefined {
    SHORT_INTEGER.lastIndex = this.at;
    const digits = SHORT_INTEGER.exec(this.#text)?.[0];
    if (digits === undefined) return undefined;
    this.at += digits.length;
    return Number(digits);
  }

  #keyword(): WireValue | undefined {
    const found = KEYWORDS.find(([text]) => this.#text.startsWith(text, this.at));
    // A longer word is another one.
    if (!found || /[a-z]/.test(this.#text[this.at + found[0].length] ?? '')) return undefined;
    this.at += found[0].length;
    return found[1];
  }
}
