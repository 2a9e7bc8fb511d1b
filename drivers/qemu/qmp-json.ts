/**
 * QMP's JSON, both ways. QEMU speaks 64-bit integers; those that a double cannot hold arrive and leave as bigint, so
 * that no size or speed is ever rounded.
 */

/** Any value on a QMP connection; an integer beyond 2^53 is a bigint. */
export type QmpValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly QmpValue[]
  | { readonly [member: string]: QmpValue };
/** An object on a QMP connection. */
export type QmpObject = { readonly [member: string]: QmpValue };

/** One command as a dialect encodes it; the client adds the id. */
export interface QmpCall {
  readonly execute: string;
  readonly arguments?: QmpObject;
}

/** The members of the language that the standard library's types do not know yet. */
interface RawJson {
  rawJSON(text: string): unknown;
}

type SourceReviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown;

const INTEGER = /^-?\d+$/;
/** Only a text with a run of so many digits can hold an integer that a double cannot. */
const LARGE_DIGITS = 16;
const MAYBE_LARGE = /\d{16}/;

/** Whether such a run is in a text. It covers one of every 16 characters, so that the others need no look. */
function mayHoldLarge(text: string): boolean {
  for (let at = LARGE_DIGITS - 1; at < text.length; at += LARGE_DIGITS) {
    const code = text.charCodeAt(at);
    if (code < 0x30 || code > 0x39) continue;
    if (MAYBE_LARGE.test(text.slice(at - LARGE_DIGITS + 1, at + LARGE_DIGITS))) return true;
  }
  return false;
}

const exactIntegers: SourceReviver = (_key, value, { source }) => {
  const inexact = typeof value === 'number' && !Number.isSafeInteger(value);
  return inexact && source !== undefined && INTEGER.test(source) ? BigInt(source) : value;
};

/** Parses one JSON text. Throws SyntaxError. */
export function parseQmp(text: string): QmpValue {
  return mayHoldLarge(text) ? JSON.parse(text, exactIntegers as never) : JSON.parse(text);
}

/** Writes one JSON text. */
export function stringifyQmp(value: QmpValue): string {
  try {
    return JSON.stringify(value);
  } catch {
    // JSON refuses bigints, and only them among our values. They are rare, and looking for one costs more than trying.
    return stringifyExact(value);
  }
}

function stringifyExact(value: QmpValue): string {
  const { rawJSON } = JSON as unknown as RawJson;
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'bigint' ? rawJSON(String(member)) : member,
  );
}

/** Whether a value is an object (not null, not an array). */
export function isQmpObject(value: QmpValue | undefined): value is QmpObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An object with one member, or with none if there is no value for it: for members that are left out by default. */
export function member(name: string, value: QmpValue | undefined): QmpObject {
  return value === undefined ? {} : { [name]: value };
}
