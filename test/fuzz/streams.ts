/** Byte streams that no client should send, drawn from a seed. */
import type { Random } from '../../mock-qemu/core/random.ts';

/** One stream, in the chunks in which it arrives. */
export interface FuzzStream {
  readonly kind: string;
  readonly chunks: readonly Uint8Array[];
}

/** Nothing in here changes the state of a machine: a real one can be asked the same, stream after stream. */
const REQUESTS = [
  '{"execute":"query-name"}',
  '{"execute":"query-status","id":{"a":[1,-0,2.5,"x",null]}}',
  '{"execute":"query-block-jobs","id":"\xc3\xa9"}',
  '{"execute":"query-jobs","arguments":{}}',
  "{'execute':'query-name','id':'it\\'s'}",
  '{"execute":"nosuch","arguments":{"z":1},"id":9223372036854775807}',
  '{"execute":"blockdev-del","arguments":{"node-name":"nosuch","x":[{}]}}',
  '{"execute":"block-job-set-speed","arguments":{"device":"nosuch","speed":-1}}',
  '{"execute":"query-name","arguments":[1]}',
  '{"exec-oob":"query-name"}',
  '[1,[2,{"k":"\\u0041\\ud83d\\ude00"}],"s"]',
];

const FRAGMENTS = [
  ...['{', '}', '[', ']', ':', ',', '"a"', "'b'", '"execute"', '"id"', '"arguments"', '"query-name"'],
  ...['1', '-0', '1.5', '1e5', '1.', '.5', '+1', '18446744073709551616', 'true', 'null', 'fals', 'A', '%'],
  ...[' ', '\n', '\t', '\\', '"', "'", '\\u00e9', '\\udc00', '\\n', '\x00', '\x1f', '\x7f'],
];

const INVALID_UTF8 = [
  '\xff',
  '\xfe',
  '\xc0\x80',
  '\xed\xa0\x80',
  '\xf4\x90\x80\x80',
  '\xc3',
  '\x80',
  '\xe2\x82',
];

const latin1 = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const pick = <T>(random: Random, items: readonly T[]): T => items[random.below(items.length)] as T;

/** Some things in a row. */
function row(random: Random, most: number, one: () => string): string {
  return Array.from({ length: 1 + random.below(most) }, one).join('');
}

/** A text with a few characters dropped, changed or put in. */
function edited(random: Random, text: string): string {
  let result = text;
  for (let edits = 1 + random.below(3); edits > 0; edits--) {
    const at = random.below(result.length + 1);
    const put = random.chance(0.7) ? String.fromCharCode(random.below(256)) : '';
    result = result.slice(0, at) + put + result.slice(at + random.below(2));
  }
  return result;
}

function truncated(random: Random): string {
  const request = pick(random, REQUESTS);
  return request.slice(0, random.below(request.length));
}

/** Nesting around the limit of 1024, open or closed, sometimes far beyond it. */
function nested(random: Random): string {
  const deep = random.chance(0.05) ? 60_000 : 1000 + random.below(60);
  const depth = random.chance(0.8) ? random.below(40) : deep;
  const [open, close] = pick(random, [
    ['[', ']'],
    ['{"a":', '}'],
  ] as const);
  return open.repeat(depth) + pick(random, ['1', '', '"x"']) + close.repeat(random.below(2) * depth);
}

/** One long token, or very many short ones. */
function huge(random: Random): string {
  const length = random.chance(0.01) ? 1 << 20 : 1 << (6 + random.below(8));
  const shapes = [
    () => `{"execute":"query-name","id":"${'x'.repeat(length)}"}`,
    () => `"${'y'.repeat(length)}`,
    () => `[${'1,'.repeat(length)}1]`,
    () => '1'.repeat(length),
    () => ' '.repeat(length),
  ];
  return pick(random, shapes)();
}

/** Every kind of stream by name, with how often it comes. */
const KINDS: readonly { readonly kind: string; readonly share: number; make(random: Random): string }[] = [
  { kind: 'truncated', share: 3, make: truncated },
  { kind: 'edited', share: 5, make: (random) => edited(random, pick(random, REQUESTS)) },
  { kind: 'fragments', share: 4, make: (random) => row(random, 12, () => pick(random, FRAGMENTS)) },
  { kind: 'nested', share: 1, make: nested },
  { kind: 'huge', share: 1, make: huge },
  {
    kind: 'invalid UTF-8',
    share: 2,
    make: (random) => `{"execute":"query-name","id":"${row(random, 4, () => pick(random, INVALID_UTF8))}"}`,
  },
  { kind: 'glued', share: 3, make: (random) => row(random, 8, () => pick(random, REQUESTS)) },
  {
    kind: 'bytes',
    share: 1,
    make: (random) => row(random, 40, () => String.fromCharCode(random.below(256))),
  },
];
const SHARES = KINDS.flatMap((entry) => Array.from({ length: entry.share }, () => entry));

/** Draws the next stream. */
export function drawStream(random: Random): FuzzStream {
  const { kind, make } = pick(random, SHARES);
  const bytes = latin1(make(random));
  const chunks: Uint8Array[] = [];
  // Mostly in one piece, as it comes from a socket; else cut anywhere, also inside a character.
  const cuts = random.chance(0.5) ? 0 : 1 + random.below(4);
  let from = 0;
  for (let cut = 0; cut < cuts; cut++) {
    const to = from + random.below(bytes.length - from + 1);
    chunks.push(bytes.subarray(from, to));
    from = to;
  }
  chunks.push(bytes.subarray(from));
  return { kind, chunks };
}
