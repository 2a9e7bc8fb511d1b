import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { JsonStream, MAX_NESTING, type StreamItem } from '../../../../mock-qemu/qmp/json-stream.ts';
import { JsonFloat, plainJson } from '../../../../mock-qemu/qmp/json-value.ts';
import { formatDouble, writeJson } from '../../../../mock-qemu/qmp/json-write.ts';

const bytesOf = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

function readAll(...chunks: Uint8Array[]): StreamItem[] {
  const stream = new JsonStream();
  const items: StreamItem[] = [];
  for (const chunk of chunks) {
    stream.feed(chunk);
    for (let item = stream.next(); item; item = stream.next()) items.push(item);
  }
  return items;
}

/** Texts of the errors and, for values, their plain JSON. */
const outcomes = (text: string) =>
  readAll(bytesOf(text)).map((item) => ('error' in item ? item.error : plainJson(item.value)));

describe('values', () => {
  test.each<[string, unknown]>([
    ['{"a":[1,-2,true,null,"x"]}', { a: [1, -2, true, null, 'x'] }],
    ["{'a':'it\\'s \"so\"'}", { a: 'it\'s "so"' }],
    ['"\\u0000\\u00e9\\ud83d\\ude00\\n" ', '\0é😀\n'],
    ['"\xc0\x80" ', '\0'],
    ['"\xf0\x9f\x98\x80" ', '😀'],
    ['-0 ', 0],
    ['9007199254740993 ', 9007199254740993n],
    ['18446744073709551615 ', 18446744073709551615n],
    ['{"__proto__":1}', Object.fromEntries([['__proto__', 1]])],
  ])('%s', (text, value) => {
    expect(outcomes(text)).toEqual([value]);
  });

  test('integers beyond 64 bits and anything with a point or exponent are floats', () => {
    for (const text of ['18446744073709551616 ', '-9223372036854775809 ', '1.0 ', '1e3 ']) {
      expect(readAll(bytesOf(text))).toEqual([{ value: new JsonFloat(Number(text)) }]);
    }
  });

  test('a bare scalar is complete only at a delimiter', () => {
    expect(outcomes('5')).toEqual([]);
    expect(outcomes('5\n6 7]')).toEqual([5, 6, 7, 'JSON parse error, expecting value']);
  });

  test('survive any split', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.array(fc.nat({ max: 40 })), (value, cuts) => {
        const bytes = new TextEncoder().encode(`${JSON.stringify(value)}\n`);
        const chunks: Uint8Array[] = [];
        let at = 0;
        for (const cut of cuts) {
          chunks.push(bytes.subarray(at, at + cut));
          at += cut;
        }
        chunks.push(bytes.subarray(at));
        const noncharacter = /[\uFDD0-\uFDEF\uFFFE\uFFFF]|[\uD83F-\uDBFF][\uDFFE\uDFFF]|\\ud[89a-f]/u;
        fc.pre(!noncharacter.test(JSON.stringify(value)));
        expect(readAll(...chunks)).toEqual(readAll(bytes));
        const [item] = readAll(bytes);
        const read = item && 'value' in item ? plainJson(item.value) : item;
        // Integers that a double holds, but not safely, come as bigints.
        const asNumber = (_: string, part: unknown) => (typeof part === 'bigint' ? Number(part) : part);
        expect(JSON.stringify(read, asNumber)).toEqual(JSON.stringify(value));
      }),
    );
  });
});

describe('errors', () => {
  test.each([
    ['tru ', ["invalid keyword 'tru'"]],
    ['{"a" 1}', ['missing : in object pair']],
    ['{1:2}', ['key is not a string in object']],
    ['{"a":1 "b":2}', ['expected separator in dict']],
    ['[1 2]', ['expected separator in list']],
    ['{"a":1,"a":2}', ['duplicate key']],
    ['["\\x"]', ['invalid escape sequence in string']],
    ['["\\ud800"]', ['\\ud800 is not a valid Unicode character']],
    ['["\\uffff"]', ['\\uffff is not a valid Unicode character']],
    ['["\\u12"]', ['\\u12" is not a valid Unicode character']],
    ['["\xed\xa0\x80"]', ['invalid UTF-8 sequence in string']],
    ['[1,]', ['expecting value']],
    ['{"a":@}', ["stray '@'", 'expecting value']],
    ['{]}', ['expecting value', 'expecting value']],
    ['01 ', ["stray '01'"]],
    ['"abc\x01"\n', ["stray '\"abc\x01'"]],
    ['\xff', ["stray '\uFFFD'"]],
    ['@\x00abc', ["stray '@'", "stray ''"]],
  ])('%j', (text, errors) => {
    expect(outcomes(text)).toEqual(errors.map((error) => `JSON parse error, ${error}`));
  });

  test('0xFF drops a half-typed command and what follows is read afresh', () => {
    expect(outcomes('{"execute":"quit", "id":\xff\n{"execute":"stop"}')).toEqual([
      "JSON parse error, stray '\uFFFD'",
      { execute: 'stop' },
    ]);
  });

  test('nesting: the limit is accepted, one more is refused and its closers are errors of their own', () => {
    const fits = outcomes('['.repeat(MAX_NESTING) + ']'.repeat(MAX_NESTING));
    expect(fits).toHaveLength(1);
    expect(fits[0]).not.toBe('JSON nesting depth limit exceeded');
    const deeper = outcomes('['.repeat(MAX_NESTING + 1) + ']'.repeat(MAX_NESTING + 1));
    expect(deeper[0]).toBe('JSON nesting depth limit exceeded');
    expect(deeper).toHaveLength(MAX_NESTING + 2);
  });

  test('a message of too many tokens is refused', () => {
    const tooMany = `[${'1,'.repeat(1024 * 1024)}1,1`;
    expect(readAll(new TextEncoder().encode(tooMany))[0]).toEqual({
      error: 'JSON token count limit exceeded',
    });
  });

  test('a token beyond 64 MiB is refused without being kept', () => {
    const stream = new JsonStream();
    stream.feed(bytesOf('"'));
    const chunk = new Uint8Array(1024 * 1024).fill(0x61);
    const items: StreamItem[] = [];
    for (let count = 0; count < 65; count++) {
      stream.feed(chunk);
      for (let item = stream.next(); item; item = stream.next()) items.push(item);
    }
    expect(items).toEqual([{ error: 'JSON token size limit exceeded' }]);
  });
});

test('100,000 generated streams: no crash, no hang, usable after each', { timeout: 60_000 }, () => {
  const fragments = [
    ...['{', '}', '[', ']', ':', ',', '"a"', "'b'", '"id"', '1', '-0', '1.5', '1e5', 'true', 'null', 'fals'],
    ...[
      ' ',
      '\n',
      '\\',
      '"',
      "'",
      '\x00',
      '\xff',
      '\xc3\xa9',
      '\xc0\x80',
      '\xed\xa0\x80',
      '\\ud800',
      '%',
      '1.',
    ],
  ];
  let state = 42;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const stream = new JsonStream();
  for (let count = 0; count < 100_000; count++) {
    let text = '';
    for (let left = random(12); left >= 0; left--) {
      text +=
        random(8) === 0 ? String.fromCharCode(random(256)) : (fragments[random(fragments.length)] ?? '');
    }
    stream.feed(bytesOf(text));
    while (stream.next());
    // QEMU's own way back: 0xFF ends whatever was open.
    stream.feed(bytesOf('\xff\n{"ok":1}'));
    let last: StreamItem | undefined;
    for (let item = stream.next(); item; item = stream.next()) last = item;
    const usable = last && 'value' in last && last.value instanceof Map && last.value.get('ok') === 1;
    if (!usable) expect(last, JSON.stringify(text)).toEqual({ value: new Map([['ok', 1]]) });
  }
});

describe('writing', () => {
  test('is ASCII, with upper-case escapes', () => {
    expect(writeJson({ a: 'é"\\\u0001\u007f😀/', b: [1, 2n ** 63n, null], c: {} })).toBe(
      '{"a": "\\u00E9\\"\\\\\\u0001\\u007F\\uD83D\\uDE00/", "b": [1, 9223372036854775808, null], "c": {}}',
    );
  });

  test.each<[number, string]>([
    [1, '1'],
    [-0, '-0'],
    [0.1, '0.10000000000000001'],
    [1e21, '1e+21'],
    [1.5e300, '1.5000000000000001e+300'],
    [1e-5, '1.0000000000000001e-05'],
    [123456789.123, '123456789.123'],
    [Number.POSITIVE_INFINITY, 'inf'],
  ])('%d as %s', (value, text) => {
    expect(formatDouble(value)).toBe(text);
  });
});
