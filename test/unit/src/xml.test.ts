import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { domainFromXml, domainToXml } from '../../../src/conf/domain.ts';
import { formatXml, parseXml, type XmlElement, type XmlNode } from '../../../src/conf/xml.ts';
import { VirtError } from '../../../src/errors.ts';

const NAME = fc.stringMatching(/^[a-z][a-z0-9-]{0,6}$/);
/** XML cannot carry most control characters, and a lone surrogate is no text. */
const TEXT = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 8 })
  .filter((text) => !/[\p{Cc}]/u.test(text));
const ATTRIBUTES = fc.dictionary(NAME, TEXT, { maxKeys: 3, noNullPrototype: true });
const tree: fc.Arbitrary<XmlElement> = fc.letrec<{ element: XmlElement }>((tie) => ({
  element: fc.record({
    name: NAME,
    attributes: ATTRIBUTES,
    children: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constant<XmlNode[]>([]),
      fc.array<XmlNode>(tie('element'), { maxLength: 3 }),
      TEXT.filter((text) => text.trim() === text).map((text): XmlNode[] => [text]),
    ),
  }),
})).element;

const refused = (text: string): VirtError => {
  try {
    domainFromXml(text);
  } catch (error) {
    if (error instanceof VirtError) return error;
    throw error;
  }
  throw new Error('was accepted');
};

describe('XML', () => {
  test('any tree survives being written and read', () => {
    fc.assert(
      fc.property(tree, (root) => {
        expect(parseXml(formatXml(root), 'x')).toEqual(root);
      }),
    );
  });

  test('whatever is not XML is refused with a line, and nothing else is thrown', () => {
    const noise = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'<>/=&;\'" ab![]-?') }));
    fc.assert(
      fc.property(noise, (text) => {
        try {
          parseXml(text, 'domain_definition');
        } catch (error) {
          expect(error).toBeInstanceOf(VirtError);
          expect((error as VirtError).message).toMatch(/^\(domain_definition\):\d+: ./);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ['two roots', '<a/><b/>'],
    ['text after the root', '<a/>x'],
    ['an entity of its own', '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'],
    ['absurd depth', `${'<a>'.repeat(5000)}${'</a>'.repeat(5000)}`],
    ['two mistakes in one text', '<a<</>'],
    ['nothing', ' \n '],
  ])('%s is refused', (_what, text) => {
    expect(refused(text).code).toBe(35);
  });
});

describe('a domain', () => {
  const parts = {
    name: '<name>a</name>',
    memory: "<memory unit='MiB'>1</memory>",
    disk: "<target dev='vda'/>",
  };
  const domain = (change: Partial<typeof parts> = {}, extra = ''): string => {
    const { name, memory, disk } = { ...parts, ...change };
    return `<domain type='qemu'>${name}${memory}${extra}<devices><disk type='file'><source file='/a'/>${disk}</disk></devices></domain>`;
  };

  test('keeps what it does not understand', () => {
    const strange = "<x:y xmlns:x='urn:z' b='1'>t<c/>u</x:y>";
    const definition = domainFromXml(domain({ disk: "<target dev='vda'/><iotune><z/></iotune>" }, strange));
    const again = domainFromXml(domainToXml(definition));
    expect(domainToXml(again)).toBe(domainToXml(definition));
    expect(domainToXml(again)).toContain('<iotune>');
    expect(domainToXml(again)).toContain(strange);
  });

  test.each([
    ['another root', '<network/>', 27, /expecting root element of 'domain', not 'network'/],
    ['no name', domain({ name: '' }), 21, /missing name information/],
    ['a name that is a path', domain({ name: '<name>a/b</name>' }), 27, /cannot contain/],
    ['no memory', domain({ memory: '' }), 27, /memory/],
    ['a strange unit', domain({ memory: "<memory unit='parsec'>1</memory>" }), 27, /parsec/],
    ['a disk without target', domain({ disk: '' }), 27, /target/],
    [
      'two disks of one name',
      domain({}).replace('</devices>', "<disk><source file='/b'/><target dev='vda'/></disk></devices>"),
      27,
      /'vda' duplicated/,
    ],
    [
      'a storage type that is not driven',
      domain({}).replace("type='file'", "type='network'"),
      67,
      /'network' is not supported/,
    ],
    ['a malformed uuid', domain({}, '<uuid>zzz</uuid>'), 27, /uuid/],
  ])('with %s is refused', (_what, xml, code, message) => {
    const error = refused(xml);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });
});
