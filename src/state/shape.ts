/** Readers of data that nobody vouches for: each gives the value in its type, or says where it is not of that shape. */

/** Some part of a text is not what it has to be. */
export class Misshapen extends Error {
  override name = 'Misshapen';
}

/** Reads one value; `at` names its place, e.g. `run.disks[0].target`. @throws Misshapen */
export type Reader<T> = (value: unknown, at: string) => T;

function refuse(at: string, expected: string): never {
  throw new Misshapen(`${at === '' ? 'it' : at} is not ${expected}`);
}

/** A string. */
export const text: Reader<string> = (value, at) =>
  typeof value === 'string' ? value : refuse(at, 'a string');

/** true or false. */
export const flag: Reader<boolean> = (value, at) =>
  typeof value === 'boolean' ? value : refuse(at, 'true or false');

/** A whole number from 0. */
export const count: Reader<number> = (value, at) =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
    ? value
    : refuse(at, 'a whole number from 0');

/** One of some values. */
export function oneOf<const T extends string | number>(...valid: readonly T[]): Reader<T> {
  return (value, at) =>
    valid.find((candidate) => candidate === value) ?? refuse(at, `one of ${valid.join(', ')}`);
}

/** A list. */
export function listOf<T>(read: Reader<T>): Reader<readonly T[]> {
  return (value, at) =>
    Array.isArray(value) ? value.map((entry, index) => read(entry, `${at}[${index}]`)) : refuse(at, 'a list');
}

/** A value that may be left out. */
export function optional<T>(read: Reader<T>): Reader<T | undefined> {
  return (value, at) => (value === undefined ? undefined : read(value, at));
}

/** An object with these members; others are not looked at. */
export function shapeOf<T extends object>(members: { readonly [K in keyof T]-?: Reader<T[K]> }): Reader<T> {
  return (value, at) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return refuse(at, 'an object');
    const result: Partial<T> = {};
    for (const name of Object.keys(members) as (keyof T & string)[]) {
      const member: unknown = Object.hasOwn(value, name)
        ? (value as Record<string, unknown>)[name]
        : undefined;
      const read = members[name](member, at === '' ? name : `${at}.${name}`);
      if (read !== undefined) result[name] = read;
    }
    return result as T;
  };
}
