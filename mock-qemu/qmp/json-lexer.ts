/**
 * QEMU's JSON lexer as a table over bytes. It never looks at more than the byte at hand, so tokens may be split between
 * chunks anywhere, and after an error it finds its way back by itself.
 */

/** No message may hold more token text than this, in bytes; nor may one token. */
export const MAX_TOKEN_BYTES = 64 * 1024 * 1024;

/** Kinds of token. `stray` is text that begins no token; `oversized` is one beyond {@link MAX_TOKEN_BYTES}. */
export const Token = {
  STRAY: 0x40,
  LCURLY: 0x41,
  RCURLY: 0x42,
  LSQUARE: 0x43,
  RSQUARE: 0x44,
  COLON: 0x45,
  COMMA: 0x46,
  INTEGER: 0x47,
  FLOAT: 0x48,
  KEYWORD: 0x49,
  STRING: 0x4a,
  OVERSIZED: 0x4b,
} as const;
/** One of {@link Token}. */
export type Token = (typeof Token)[keyof typeof Token];

const State = {
  START: 0,
  RECOVERY: 1,
  DOUBLE_QUOTED: 2,
  DOUBLE_QUOTED_ESCAPE: 3,
  SINGLE_QUOTED: 4,
  SINGLE_QUOTED_ESCAPE: 5,
  MINUS: 6,
  ZERO: 7,
  DIGITS: 8,
  POINT: 9,
  FRACTION: 10,
  EXPONENT: 11,
  EXPONENT_SIGN: 12,
  EXPONENT_DIGITS: 13,
  KEYWORD: 14,
} as const;
type State = (typeof State)[keyof typeof State];

/** The byte that ends a token belongs to what follows. */
const LOOKAHEAD = 0x80;
const TARGET = 0x7f;

type Rule = readonly [bytes: string | readonly [number, number], target: number];

const ANY = [0, 0xff] as const;
// Inside a string; 0xFE and 0xFF occur in no UTF-8 text, and control characters must be escaped.
const TEXT = [0x20, 0xfd] as const;
const STRUCTURE: readonly Rule[] = [
  ['{', Token.LCURLY],
  ['}', Token.RCURLY],
  ['[', Token.LSQUARE],
  [']', Token.RSQUARE],
  [':', Token.COLON],
  [',', Token.COMMA],
];
const DIGIT = '0123456789';

/** Later rules of a state override earlier ones; a byte without a rule makes the token stray. */
const RULES: Readonly<Record<State, readonly Rule[]>> = {
  [State.START]: [
    [' \t\r\n', State.START],
    ...STRUCTURE,
    ['"', State.DOUBLE_QUOTED],
    ["'", State.SINGLE_QUOTED],
    ['-', State.MINUS],
    ['0', State.ZERO],
    ['123456789', State.DIGITS],
    [[0x61, 0x7a], State.KEYWORD],
  ],
  // Skips what is left of a broken token: up to structure, a control character but tab, or a byte outside UTF-8.
  [State.RECOVERY]: [
    [ANY, State.START | LOOKAHEAD],
    [TEXT, State.RECOVERY],
    ['\t', State.RECOVERY],
    ['{}[]:,', State.START | LOOKAHEAD],
  ],
  [State.DOUBLE_QUOTED]: [
    [TEXT, State.DOUBLE_QUOTED],
    ['\\', State.DOUBLE_QUOTED_ESCAPE],
    ['"', Token.STRING],
  ],
  [State.DOUBLE_QUOTED_ESCAPE]: [[TEXT, State.DOUBLE_QUOTED]],
  [State.SINGLE_QUOTED]: [
    [TEXT, State.SINGLE_QUOTED],
    ['\\', State.SINGLE_QUOTED_ESCAPE],
    ["'", Token.STRING],
  ],
  [State.SINGLE_QUOTED_ESCAPE]: [[TEXT, State.SINGLE_QUOTED]],
  [State.MINUS]: [
    ['0', State.ZERO],
    ['123456789', State.DIGITS],
  ],
  [State.ZERO]: [
    [ANY, Token.INTEGER | LOOKAHEAD],
    [DIGIT, Token.STRAY],
    ['.', State.POINT],
    ['eE', State.EXPONENT],
  ],
  [State.DIGITS]: [
    [ANY, Token.INTEGER | LOOKAHEAD],
    [DIGIT, State.DIGITS],
    ['.', State.POINT],
    ['eE', State.EXPONENT],
  ],
  [State.POINT]: [[DIGIT, State.FRACTION]],
  [State.FRACTION]: [
    [ANY, Token.FLOAT | LOOKAHEAD],
    [DIGIT, State.FRACTION],
    ['eE', State.EXPONENT],
  ],
  [State.EXPONENT]: [
    [DIGIT, State.EXPONENT_DIGITS],
    ['+-', State.EXPONENT_SIGN],
  ],
  [State.EXPONENT_SIGN]: [[DIGIT, State.EXPONENT_DIGITS]],
  [State.EXPONENT_DIGITS]: [
    [ANY, Token.FLOAT | LOOKAHEAD],
    [DIGIT, State.EXPONENT_DIGITS],
  ],
  [State.KEYWORD]: [
    [ANY, Token.KEYWORD | LOOKAHEAD],
    [[0x61, 0x7a], State.KEYWORD],
  ],
};

/** All transitions, 256 to a state. */
const TRANSITIONS = (() => {
  const states = Object.values(State);
  const table = new Uint8Array(states.length * 256).fill(Token.STRAY);
  for (const state of states) {
    for (const [bytes, target] of RULES[state]) {
      if (typeof bytes === 'string')
        for (const char of bytes) table[state * 256 + char.charCodeAt(0)] = target;
      else table.fill(target, state * 256 + bytes[0], state * 256 + bytes[1] + 1);
    }
  }
  return table;
})();

const NOTHING = new Uint8Array(0);

/** Cuts bytes into tokens, one at a time, keeping no more than the token in progress and the chunk it was given. */
export class JsonLexer {
  /** Bytes of the token that {@link next} returned; valid until the next call. */
  text: Uint8Array = NOTHING;
  #chunk: Uint8Array = NOTHING;
  #position = 0;
  #state: number = State.START;
  /** The token in progress as far as earlier chunks held it. */
  #carried: Uint8Array[] = [];
  #carriedBytes = 0;

  /** Whether it stands between tokens. */
  get idle(): boolean {
    return this.#state === State.START;
  }

  /** Gives the lexer its next chunk; the last one must have been used up. */
  feed(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#position = 0;
  }

  /** The next token, or undefined when the chunk is used up. */
  next(): Token | undefined {
    const chunk = this.#chunk;
    let start = this.#position;
    let state = this.#state;
    let position = start;
    while (position < chunk.length) {
      if (state > State.RECOVERY) {
        // Most bytes of a long token leave the state as it is.
        const most = Math.min(chunk.length, start + MAX_TOKEN_BYTES - this.#carriedBytes);
        while (position < most && TRANSITIONS[state * 256 + (chunk[position] ?? 0)] === state) position++;
        if (position === chunk.length) break;
      }
      const step = TRANSITIONS[state * 256 + (chunk[position] ?? 0)] ?? Token.STRAY;
      if ((step & LOOKAHEAD) === 0) position++;
      const target = step & TARGET;
      if (target > State.RECOVERY && target < Token.STRAY) {
        state = target;
        if (this.#carriedBytes + position - start <= MAX_TOKEN_BYTES) continue;
        return this.#finish(Token.OVERSIZED, start, position);
      }
      if (target >= Token.STRAY) return this.#finish(target as Token, start, position);
      state = target;
      start = position;
      this.#drop();
    }
    this.#state = state;
    this.#position = position;
    if (start < position) this.#carry(chunk.slice(start, position));
    this.#chunk = NOTHING;
    this.#position = 0;
    return undefined;
  }

  #finish(token: Token, start: number, position: number): Token {
    const tail = this.#chunk.subarray(start, position);
    if (this.#carriedBytes === 0) {
      this.text = tail;
    } else {
      this.#carry(tail);
      this.text = joined(this.#carried, this.#carriedBytes);
      this.#drop();
    }
    this.#position = position;
    this.#state = token === Token.STRAY ? State.RECOVERY : State.START;
    return token;
  }

  #carry(bytes: Uint8Array): void {
    this.#carriedBytes += bytes.length;
    // A token that comes byte by byte must not cost an array for each byte.
    const last = this.#carried.at(-1);
    if (last && last.length + bytes.length <= 4096)
      this.#carried.splice(-1, 1, joined([last, bytes], last.length + bytes.length));
    else this.#carried.push(bytes);
  }

  #drop(): void {
    if (this.#carriedBytes === 0) return;
    this.#carried = [];
    this.#carriedBytes = 0;
  }
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
