/**
 * JSON values out of a stream of bytes, as QEMU's monitor reads them: values may be split and glued anywhere, an error
 * drops what was collected, and what follows is read as new input. Memory is bounded by the limits below.
 *
 * QEMU collects the tokens of a whole message and parses them when the brackets are even. Here values are built as tokens
 * come, and the first error is kept until then: the same outcome without keeping millions of tokens.
 */
import { JsonLexer, MAX_TOKEN_BYTES, Token } from './json-lexer.ts';
import { asciiText, shownText, stringText } from './json-text.ts';
import { JsonFloat, type WireValue } from './json-value.ts';
import { readWhole } from './json-whole.ts';

/** No message may hold more tokens. */
export const MAX_TOKENS = 2 * 1024 * 1024;
/** Braces and brackets may nest this deep. */
export const MAX_NESTING = 1024;

/** A value, or the text of the error (without `JSON parse error, ` where it is about limits). */
export type StreamItem = { readonly value: WireValue } | { readonly error: string };

/** What an open object or array waits for. */
type Frame =
  | {
      readonly kind: 'object';
      readonly members: Map<string, WireValue>;
      key: string;
      stage: 'first' | 'key' | 'colon' | 'value' | 'separator';
    }
  | { readonly kind: 'array'; readonly items: WireValue[]; stage: 'first' | 'value' | 'separator' };

const KEYWORDS: ReadonlyMap<string, WireValue> = new Map<string, WireValue>([
  ['true', true],
  ['false', false],
  ['null', null],
]);

const DEPTH_CHANGE: Partial<Record<Token, readonly [braces: number, brackets: number]>> = {
  [Token.LCURLY]: [1, 0],
  [Token.RCURLY]: [-1, 0],
  [Token.LSQUARE]: [0, 1],
  [Token.RSQUARE]: [0, -1],
};

const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;

/** The value of an integer token. */
function integerValue(text: string): WireValue {
  // 15 digits are exact in a double; -0 is the integer 0.
  if (text.length <= 15) return Number(text) + 0;
  const value = BigInt(text);
  if (value < INT64_MIN || value > UINT64_MAX) return new JsonFloat(Number(text));
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** An incremental reader: {@link feed} chunks, take items with {@link next} until it has none. */
export class JsonStream {
  readonly #lexer = new JsonLexer();
  #chunks: Uint8Array[] = [];
  #unreadBytes = 0;
  #frames: Frame[] = [];
  #root: WireValue | undefined;
  #error: string | undefined;
  #braces = 0;
  #brackets = 0;
  #tokens = 0;
  #tokenBytes = 0;

  /** Adds bytes to what is to be read. The array must not change until it has been read. */
  feed(bytes: Uint8Array): void {
    this.#chunks.push(bytes);
    this.#unreadBytes += bytes.length;
  }

  /** Bytes that {@link next} has not come to yet. */
  get unreadBytes(): number {
    return this.#unreadBytes;
  }

  /** The next value or error, or undefined until more bytes come. */
  next(): StreamItem | undefined {
    for (;;) {
      const token = this.#lexer.next();
      if (token === undefined) {
        const chunk = this.#chunks.shift();
        if (!chunk) return undefined;
        this.#unreadBytes -= chunk.length;
        const whole = this.#tokens === 0 && this.#lexer.idle ? readWhole(chunk) : undefined;
        if (!whole) {
          this.#lexer.feed(chunk);
          continue;
        }
        // Only once for each chunk: one with thousands of messages must not be decoded as often.
        this.#lexer.feed(chunk.subarray(whole.endBytes));
        return { value: whole.value };
      }
      const item = this.#take(token, this.#lexer.text);
      if (item) return item;
    }
  }

  /** Counts one token; an item if it ends the message. */
  #take(token: Token, text: Uint8Array): StreamItem | undefined {
    if (token === Token.STRAY) return this.#end({ error: `JSON parse error, stray '${shownText(text)}'` });
    const change = DEPTH_CHANGE[token];
    if (change) {
      this.#braces += change[0];
      this.#brackets += change[1];
    }
    const limit = this.#limitExceeded(text.length);
    if (limit) return this.#end({ error: `JSON ${limit} limit exceeded` });
    this.#tokens++;
    this.#tokenBytes += text.length;
    this.#error ??= this.#build(token, text);
    const open = this.#braces > 0 || this.#brackets > 0;
    if (open && this.#braces >= 0 && this.#brackets >= 0) return undefined;
    if (this.#error !== undefined) return this.#end({ error: `JSON parse error, ${this.#error}` });
    return this.#end({ value: this.#root ?? null });
  }

  #limitExceeded(bytes: number): string | undefined {
    if (this.#tokenBytes + bytes + 1 > MAX_TOKEN_BYTES) return 'token size';
    if (this.#tokens + 1 > MAX_TOKENS) return 'token count';
    if (this.#braces + this.#brackets > MAX_NESTING) return 'nesting depth';
    return undefined;
  }

  #end(item: StreamItem): StreamItem {
    this.#frames = [];
    this.#root = undefined;
    this.#error = undefined;
    this.#braces = 0;
    this.#brackets = 0;
    this.#tokens = 0;
    this.#tokenBytes = 0;
    return item;
  }

  /** Puts one token into the value that is being built; the text of an error if it does not fit. */
  #build(token: Token, text: Uint8Array): string | undefined {
    const frame = this.#frames.at(-1);
    if (!frame) return this.#beginValue(token, text);
    const closer = frame.kind === 'object' ? Token.RCURLY : Token.RSQUARE;
    switch (frame.stage) {
      case 'first':
        return token === closer ? this.#close(frame) : this.#beginValue(token, text);
      case 'key':
      case 'value':
        return this.#beginValue(token, text);
      case 'colon':
        if (token !== Token.COLON) return 'missing : in object pair';
        frame.stage = 'value';
        return undefined;
      default:
        if (token === closer) return this.#close(frame);
        if (token !== Token.COMMA)
          return `expected separator in ${frame.kind === 'object' ? 'dict' : 'list'}`;
        frame.stage = frame.kind === 'object' ? 'key' : 'value';
        return undefined;
    }
  }

  #beginValue(token: Token, text: Uint8Array): string | undefined {
    switch (token) {
      case Token.LCURLY:
        this.#frames.push({ kind: 'object', members: new Map(), key: '', stage: 'first' });
        return undefined;
      case Token.LSQUARE:
        this.#frames.push({ kind: 'array', items: [], stage: 'first' });
        return undefined;
      case Token.STRING: {
        const result = stringText(text);
        return 'error' in result ? result.error : this.#complete(result.text);
      }
      case Token.INTEGER:
        return this.#complete(integerValue(asciiText(text)));
      case Token.FLOAT:
        return this.#complete(new JsonFloat(Number(asciiText(text))));
      case Token.KEYWORD: {
        const keyword = asciiText(text);
        const value = KEYWORDS.get(keyword);
        return value === undefined ? `invalid keyword '${keyword}'` : this.#complete(value);
      }
      default:
        return 'expecting value';
    }
  }

  #close(frame: Frame): string | undefined {
    this.#frames.pop();
    return this.#complete(frame.kind === 'object' ? frame.members : frame.items);
  }

  /** A value is whole: it goes where the innermost open object or array wants it. */
  #complete(value: WireValue): string | undefined {
    const frame = this.#frames.at(-1);
    if (!frame) {
      this.#root = value;
      return undefined;
    }
    if (frame.kind === 'array') {
      frame.items.push(value);
      frame.stage = 'separator';
      return undefined;
    }
    if (frame.stage === 'value') {
      // QEMU looks for the key only when it has the value too.
      if (frame.members.has(frame.key)) return 'duplicate key';
      frame.members.set(frame.key, value);
      frame.stage = 'separator';
      return undefined;
    }
    if (typeof value !== 'string') return 'key is not a string in object';
    frame.key = value;
    frame.stage = 'colon';
    return undefined;
  }
}
