/** JSON as QEMU writes it: ASCII only, a space after each colon and comma. Member order is the caller's. */
import type { Json, JsonObject } from '../../src/qmp/messages.ts';
import { isWireArray, isWireObject, JsonFloat, type WireObject, type WireValue } from './json-value.ts';

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

// Everything outside printable ASCII, and what JSON itself wants escaped. DEL is escaped too.
const NEEDS_ESCAPE = /[^ !#-[\]-~]/;
const NEEDS_ESCAPE_ALL = /[^ !#-[\]-~]/g;

function escaped(unit: string): string {
  return SHORT_ESCAPES[unit] ?? `\\u${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
}

function quoted(text: string): string {
  return NEEDS_ESCAPE.test(text)
    ? `"${text.toWellFormed().replace(NEEDS_ESCAPE_ALL, escaped)}"`
    : `"${text}"`;
}

/** More member names than all replies and events have; users may choose names too. */
const MAX_HEADS = 4096;
const heads = new Map<string, string>();

/** What stands before a member's value. They are a few hundred, written over and over. */
function headOf(name: string): string {
  const known = heads.get(name);
  if (known !== undefined) return known;
  const head = `${quoted(name)}: `;
  if (heads.size < MAX_HEADS) heads.set(name, head);
  return head;
}

const SIGNIFICANT_DIGITS = 17;

/** The 17 significant digits of a positive number. Where two are equally near, C takes the even one, JavaScript the larger. */
function significantDigits(value: number): { readonly digits: string; readonly exponent: number } {
  const [rounded = '', exponent] = value.toExponential(SIGNIFICANT_DIGITS - 1).split('e');
  const [precise = ''] = value.toExponential(100).split('e');
  const isTie = /^50*$/.test(precise.slice(SIGNIFICANT_DIGITS + 1));
  const isOdd = Number(rounded.at(-1)) % 2 === 1;
  const digits = isTie && isOdd ? precise.slice(0, SIGNIFICANT_DIGITS + 1) : rounded;
  return { digits: digits.replace('.', ''), exponent: Number(exponent) };
}

/** C's `%.17g`: no trailing zeros, an exponent from 1e17 on and below 1e-4. */
export function formatDouble(value: number): string {
  if (value < 0 || Object.is(value, -0)) return `-${formatDouble(-value)}`;
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : 'inf';
  if (value === 0) return '0';
  const { digits, exponent } = significantDigits(value);
  if (exponent < -4 || exponent >= SIGNIFICANT_DIGITS) {
    const mantissa = withoutTrailingZeros(`${digits[0]}.${digits.slice(1)}`);
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  if (exponent < 0) return withoutTrailingZeros(`0.${'0'.repeat(-exponent - 1)}${digits}`);
  return withoutTrailingZeros(`${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`);
}

function withoutTrailingZeros(digits: string): string {
  return digits.includes('.') ? digits.replace(/\.?0+$/, '') : digits;
}

/** Text of a value; members that are undefined are left out. */
export function writeJson(value: Json | WireValue): string {
  switch (typeof value) {
    case 'string':
      return quoted(value);
    case 'number':
      return Number.isSafeInteger(value) ? String(value) : formatDouble(value);
    case 'object':
      return value === null ? 'null' : writeComposite(value);
    default:
      return String(value);
  }
}

function writeComposite(value: object): string {
  // Nearly everything is what the simulation itself says, in plain objects.
  if (Object.getPrototypeOf(value) === Object.prototype) return writeObject(value as JsonObject);
  if (value instanceof JsonFloat) return formatDouble(value.value);
  const wire = value as WireValue;
  if (isWireArray(wire)) return `[${wire.map(writeJson).join(', ')}]`;
  return isWireObject(wire) ? writeWireObject(wire) : writeObject(value as JsonObject);
}

function writeWireObject(value: WireObject): string {
  let text = '';
  for (const [name, member] of value)
    text += `${text === '' ? '' : ', '}${quoted(name)}: ${writeJson(member)}`;
  return `{${text}}`;
}

function writeObject(value: JsonObject): string {
  let text = '{';
  let separator = '';
  for (const name of Object.keys(value)) {
    const member = value[name];
    if (member === undefined) continue;
    text += separator + headOf(name) + writeJson(member);
    separator = ', ';
  }
  return `${text}}`;
}
