/**
 * JSON as it came over the wire. QEMU tells integers from floats (`1.0` is no integer), so a parsed value does too.
 */
import type { Json } from '../../src/qmp/messages.ts';

/** A number that was written as a float, or an integer beyond 64 bits. */
export class JsonFloat {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** An object as parsed: no member name is special. */
export type WireObject = ReadonlyMap<string, WireValue>;

/** A parsed value: integers are a number where that is exact, else a bigint; arrays are arrays, objects maps. */
export type WireValue =
  | null
  | boolean
  | string
  | number
  | bigint
  | JsonFloat
  | readonly WireValue[]
  | WireObject;

/** Whether a parsed value is an object. */
export function isWireObject(value: WireValue): value is WireObject {
  return value instanceof Map;
}

/** Whether a parsed value is an array. */
export function isWireArray(value: WireValue): value is readonly WireValue[] {
  return Array.isArray(value);
}

/** The value without the marks of the wire, as commands take it. */
export function plainJson(value: WireValue): Json {
  if (value instanceof JsonFloat) return value.value;
  if (isWireArray(value)) return value.map(plainJson);
  if (isWireObject(value)) {
    // fromEntries defines members, so that a member named __proto__ stays one.
    return Object.fromEntries([...value].map(([name, member]) => [name, plainJson(member)]));
  }
  return value;
}
