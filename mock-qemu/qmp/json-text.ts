/** Text inside JSON tokens: QEMU's modified UTF-8, its escapes, and how it shows bytes that are neither. */

/** What a string token holds, or why it is none. */
export type TextResult = { readonly text: string } | { readonly error: string };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const REPLACEMENT = '\uFFFD';
const SIMPLE_ESCAPES: ReadonlyMap<number, string> = new Map(
  Object.entries({
    '"': '"',
    "'": "'",
    '\\': '\\',
    '/': '/',
    b: '\b',
    f: '\f',
    n: '\n',
    r: '\r',
    t: '\t',
  }).map(([letter, text]) => [letter.charCodeAt(0), text]),
);

/** Code points that no string may hold: surrogates, noncharacters, beyond Unicode. */
function isForbidden(codePoint: number): boolean {
  if (codePoint > 0x10ffff || (codePoint >= 0xd800 && codePoint <= 0xdfff)) return true;
  return (codePoint >= 0xfdd0 && codePoint <= 0xfdef) || (codePoint & 0xfffe) === 0xfffe;
}

/** Sequence lengths by leading byte: [first, last, length, bits of the leading byte, smallest code point]. */
const LEADING = [
  [0x00, 0x7f, 1, 0x7f, 0],
  [0xc0, 0xdf, 2, 0x1f, 0x80],
  [0xe0, 0xef, 3, 0x0f, 0x800],
  [0xf0, 0xf7, 4, 0x07, 0x10000],
  [0xf8, 0xfb, 5, 0x03, 0x200000],
  [0xfc, 0xfd, 6, 0x01, 0x4000000],
] as const;

/** One code point at `at`: its value, negative if it is not one, and where the next begins. */
function decodeAt(bytes: Uint8Array, at: number): { readonly codePoint: number; readonly next: number } {
  const first = bytes[at] ?? 0;
  const row = LEADING.find(([low, high]) => first >= low && first <= high);
  if (!row) return { codePoint: -1, next: at + 1 };
  const [, , length, mask, smallest] = row;
  let codePoint = first & mask;
  let next = at + 1;
  while (next < at + length) {
    const byte = bytes[next] ?? 0;
    if ((byte & 0xc0) !== 0x80) return { codePoint: -1, next };
    codePoint = (codePoint << 6) | (byte & 0x3f);
    next++;
  }
  // The one overlong form that is valid: NUL as two bytes.
  const overlong = codePoint < smallest && !(codePoint === 0 && length === 2);
  return { codePoint: overlong || isForbidden(codePoint) ? -1 : codePoint, next };
}

/** Bytes as an error text shows them: up to the first NUL, each broken sequence as U+FFFD. */
export function shownText(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length && bytes[at] !== 0; ) {
    const { codePoint, next } = decodeAt(bytes, at);
    text += codePoint < 0 ? REPLACEMENT : String.fromCodePoint(codePoint);
    at = next;
  }
  return text;
}

const ASCII = new TextDecoder();
const SHORT_BYTES = 32;

/** ASCII bytes as a string. */
export function asciiText(bytes: Uint8Array): string {
  if (bytes.length > SHORT_BYTES) return ASCII.decode(bytes);
  // Most tokens are short, and for those calling a decoder costs more than decoding.
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

function isPlain(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === BACKSLASH || byte >= 0x80) return false;
  }
  return true;
}

/** The text of a string token, quotes included in `token`. */
export function stringText(token: Uint8Array): TextResult {
  const end = token.length - 1;
  if (isPlain(token, 1, end)) return { text: asciiText(token.subarray(1, end)) };
  const parts: string[] = [];
  for (let at = 1; at < end; ) {
    if (token[at] === BACKSLASH) {
      const unescaped = unescapeAt(token, at);
      if ('error' in unescaped) return unescaped;
      parts.push(unescaped.text);
      at = unescaped.next;
    } else {
      const { codePoint, next } = decodeAt(token, at);
      if (codePoint < 0) return { error: 'invalid UTF-8 sequence in string' };
      parts.push(String.fromCodePoint(codePoint));
      at = next;
    }
  }
  return { text: parts.join('') };
}

type Escape = { readonly text: string; readonly next: number } | { readonly error: string };

function unescapeAt(token: Uint8Array, at: number): Escape {
  const letter = token[at + 1] ?? QUOTE;
  const simple = SIMPLE_ESCAPES.get(letter);
  if (simple !== undefined) return { text: simple, next: at + 2 };
  if (letter !== 0x75) return { error: 'invalid escape sequence in string' };
  const { codePoint, next } = escapedCodePoint(token, at);
  if (codePoint < 0 || isForbidden(codePoint)) {
    const shown = shownText(token.subarray(at, next));
    return { error: `${shown} is not a valid Unicode character` };
  }
  return { text: String.fromCodePoint(codePoint), next };
}

/** The code point of `\uXXXX`, or of a surrogate pair of such. */
function escapedCodePoint(
  token: Uint8Array,
  at: number,
): { readonly codePoint: number; readonly next: number } {
  const lead = hex4(token, at + 2);
  const next = at + 6;
  if (lead < 0xd800 || lead > 0xdbff || token[next] !== BACKSLASH || token[next + 1] !== 0x75) {
    return { codePoint: lead, next };
  }
  const trail = hex4(token, next + 2);
  if (trail < 0xdc00 || trail > 0xdfff) return { codePoint: -1, next };
  return { codePoint: 0x10000 + ((lead & 0x3ff) << 10) + (trail & 0x3ff), next: next + 6 };
}

function hex4(bytes: Uint8Array, at: number): number {
  const digits = asciiText(bytes.subarray(at, at + 4));
  return /^[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits, 16) : -1;
}
