import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { profileNamed } from '../../mock-qemu/profiles/index.ts';
import type { IntegerType, Introspection, SchemaEntity } from '../../mock-qemu/profiles/introspection.ts';
import { Desk } from '../unit/mock-qemu/qmp/drive.ts';
import { markedInput, QEMU, RealMonitor } from './real-monitor.ts';

// Byte for byte: the simulated monitor answers malformed input and wrong arguments as the real one does.

const FRAGMENTS = [
  ...[
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '"a"',
    "'b'",
    '"execute"',
    '"query-name"',
    '"id"',
    '"arguments"',
    '"exec-oob"',
  ],
  ...[
    '1',
    '-0',
    '0',
    '1.5',
    '1e5',
    'true',
    'null',
    'fals',
    ' ',
    '\n',
    '\t',
    '\\',
    '"',
    "'",
    '\x00',
    '\x1f',
    '\x7f',
  ],
  ...[
    '\xff',
    '\xfe',
    '\xc3\xa9',
    '\xc0\x80',
    '\xed\xa0\x80',
    '\xf0\x9f\x98\x80',
    '\xc3',
    '\\u00e9',
    '\\ud800',
  ],
  ...[
    '\\udc00',
    '\\n',
    '9223372036854775808',
    '18446744073709551616',
    '-9223372036854775809',
    '%',
    '/',
    '@',
    '+1',
  ],
  ...['.5', '1.', 'A', 'z', '{"execute":"query-name","id":', '{"execute":"query-name"', '"x":'],
];
const MESSAGES = [
  '{"execute":"query-name","id":{"a":[1,2.5,"x",null]}}',
  '[1,[2,{"k":"\\u0041"}],"s"]',
  '{"execute":"query-name","arguments":{"z":1}}',
  "{'execute':'nosuch','id':'\xc3\xa9'}",
];

const latin1 = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** Arbitrary input: fragments in a row, or a message with a few bytes changed, dropped or put in. */
const anyInput = fc.oneof(
  fc
    .array(fc.constantFrom(...FRAGMENTS), { minLength: 1, maxLength: 12 })
    .map((parts) => latin1(parts.join(''))),
  fc
    .tuple(
      fc.constantFrom(...MESSAGES),
      fc.array(fc.tuple(fc.nat(), fc.nat({ max: 1 }), fc.array(fc.nat({ max: 255 }), { maxLength: 1 })), {
        minLength: 1,
        maxLength: 3,
      }),
    )
    .map(([message, edits]) => {
      const bytes = [...latin1(message)];
      for (const [at, dropped, added] of edits) bytes.splice(at % bytes.length, dropped, ...added);
      return Uint8Array.from(bytes);
    }),
  fc.uint8Array({ minLength: 1, maxLength: 10 }),
  fc
    .double({ noNaN: true, noDefaultInfinity: true })
    .map((id) => latin1(`{"execute":"query-name","id":${id}}`)),
);

// An unknown member is refused only when all else was right, so no command is ever executed.
const POISON = 'x-mockvirt';
const BLOCK_FAMILY = /block|^drive-|^job-|^transaction$|^change-|^eject$|snapshot|query-(block|named|status)/;

/** What a hand that knows the schema but errs now and then would send. */
function anyArguments(draw: fc.GeneratorValue, introspection: Introspection, entity: SchemaEntity): object {
  const entities = new Map(introspection.schema.map((candidate) => [candidate.name, candidate]));
  const chance = (percent: number) => draw(fc.nat, { max: 99 }) < percent;
  const pick = <T>(items: readonly T[]): T => items[draw(fc.nat, { max: items.length - 1 })] as T;
  const integer = (type: IntegerType | undefined) =>
    type === undefined || chance(40)
      ? pick([
          '1',
          '-1',
          '0',
          '4294967296',
          '9223372036854775807',
          '9223372036854775808',
          '-9223372036854775808',
        ])
      : pick(['255', '256', '65536', '2147483648', '18446744073709551615', '18446744073709551616', '1.0']);
  const wrong = () => pick<unknown>([null, true, 7, 'x', [], {}, [{}], { driver: 'raw' }, '1.5']);
  const members = (type: Extract<SchemaEntity, { 'meta-type': 'object' }>, depth: number): object => {
    const result: Record<string, unknown> = {};
    const optional = depth > 4 ? 3 : 30;
    for (const member of type.members) {
      if (chance('default' in member ? 100 - optional : 4)) continue;
      result[member.name] = value(
        member.type,
        depth + 1,
        introspection.integers[`${type.name}.${member.name}`],
      );
    }
    const branch = type.variants?.find((variant) => variant.case === result[type.tag ?? '']);
    const body = branch && entities.get(branch.type);
    if (body?.['meta-type'] === 'object') Object.assign(result, { ...members(body, depth), ...result });
    if (chance(3)) result.unknown = 1;
    return result;
  };
  const value = (name: string, depth: number, width?: IntegerType): unknown => {
    const type = entities.get(name);
    if (!type || chance(depth > 6 ? 60 : 5)) return wrong();
    switch (type['meta-type']) {
      case 'builtin':
        if (type['json-type'] === 'int') return `@int:${integer(width)}`;
        return { string: 'x', boolean: true, number: 1.5, null: null, value: [1] }[type['json-type']];
      case 'enum':
        return chance(10) ? 'bogus' : pick(type.members).name;
      case 'array':
        return Array.from({ length: draw(fc.nat, { max: 2 }) }, () =>
          value(type['element-type'], depth + 1, width),
        );
      case 'alternate':
        return value(pick(type.members).type, depth + 1);
      case 'object':
        return members(type, depth);
      default:
        return wrong();
    }
  };
  const type = entities.get(entity['meta-type'] === 'command' ? entity['arg-type'] : '');
  return type?.['meta-type'] === 'object' ? members(type, 0) : {};
}

// QEMU_10_0 names a second binary, see scripts/install-qemu-10.sh.
const BINARIES: [profile: string, binary: string][] = [['qemu-7.2', QEMU]];
if (process.env.QEMU_10_0) BINARIES.push(['qemu-10.0', process.env.QEMU_10_0]);
const LIMITS = { interruptAfterTimeLimit: 50_000, markInterruptAsFailure: true } as const;

describe.each(BINARIES)('%s', (name, binary) => {
  const profile = profileNamed(name);
  const simulated = new Desk(undefined, profile).negotiated();
  let real: RealMonitor;
  let marks = 0;

  beforeAll(async () => {
    real = await RealMonitor.start(binary);
  });
  afterAll(() => real.stop());

  async function compare(bytes: Uint8Array): Promise<void> {
    const mark = `mark-${++marks}`;
    const lines = simulated.say(markedInput(bytes, mark));
    expect(lines.filter((line) => !line.includes(`"id": "${mark}"`))).toEqual(await real.say(bytes));
  }

  test('malformed input', async () => {
    await fc.assert(fc.asyncProperty(anyInput, compare), { numRuns: 1500, ...LIMITS });
  });

  test('wrong arguments of the block family', async () => {
    const { introspection } = profile;
    const commands = introspection.schema.filter(
      (entity) => entity['meta-type'] === 'command' && BLOCK_FAMILY.test(entity.name),
    );
    const property = fc.asyncProperty(fc.constantFrom(...commands), fc.gen(), async (entity, draw) => {
      const args = { ...anyArguments(draw, introspection, entity), [POISON]: 1 };
      const text = JSON.stringify({ execute: entity.name, arguments: args, id: 1 });
      await compare(latin1(text.replace(/"@int:([^"]+)"/g, '$1')));
    });
    await fc.assert(property, { numRuns: 2000, ...LIMITS });
  });
});
