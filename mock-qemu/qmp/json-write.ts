/** JSON as QEMU writes it: ASCII only, a space after each colon and comma. Member order is the caller's. */
import type { Json } from '../../src/qmp/messages.ts';
import { isWireArray, isWireObject, JsonFloat, type WireValue } from './json-value.ts';

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
const NEEDS_ESCAPE = /["\\]|[^ -~]/;
const NEEDS_ESCAPE_ALL = /["\\]|[^ -~]/g;

function escaped(unit: string): string {
  return SHORT_ESCAPES[unit] ?? `\\u${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
}

function quoted(text: string): string {
  return NEEDS_ESCAPE.test(text)
    ? `"${text.toWellFormed().replace(NEEDS_ESCAPE_ALL, escaped)}"`
    : `"${text}"`;
}

/** C's `%.17g`: 17 significant digits, no trailing zeros, an exponent from 1e17 on and below 1e-4. */
export function formatDouble(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value < 0 ? '-inf' : 'inf';
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  const [mantissa = '', exponentText = ''] = value.toExponential(16).split('e');
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 17) {
    const sign = exponent < 0 ? '-' : '+';
    return `${withoutTrailingZeros(mantissa)}e${sign}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  return withoutTrailingZeros(value.toFixed(Math.min(100, 16 - exponent)));
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
  if (value instanceof JsonFloat) return formatDouble(value.value);
  const wire = value as WireValue;
  if (isWireArray(wire)) return `[${wire.map(writeJson).join(', ')}]`;
  const members: Iterable<[string, Json | WireValue]> = isWireObject(wire) ? wire : Object.entries(value);
  let text = '';
  for (const [name, member] of members) {
    if (member === undefined) continue;
    text += `${text === '' ? '' : ', '}${quoted(name)}: ${writeJson(member)}`;
  }
  return `{${text}}`;
}
