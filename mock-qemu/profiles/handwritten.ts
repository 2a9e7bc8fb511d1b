/** Introspection for generations that cannot describe themselves, from a compact notation. */
import type { Introspection, SchemaEntity, SchemaMember } from './introspection.ts';

/** What a generation accepts and emits. */
export interface HandwrittenQemu {
  readonly greeting: Introspection['greeting'];
  /** Values of each enum. */
  readonly enums: Readonly<Record<string, readonly string[]>>;
  /** Members of each object type, in the notation of {@link commands}. */
  readonly types: Readonly<Record<string, string>>;
  /** Object types whose member `type` selects the type of their member `data`. */
  readonly unions: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Arguments of each command: `device:str speed?:int actions:[Action]`, in schema order. */
  readonly commands: Readonly<Record<string, string>>;
  readonly unchecked: readonly string[];
  readonly events: readonly string[];
}

const NOTHING = 'Empty';

const BUILTINS: readonly SchemaEntity[] = [
  ['str', 'string'],
  ['int', 'int'],
  ['number', 'number'],
  ['bool', 'boolean'],
  ['null', 'null'],
  ['any', 'value'],
].map(([name = '', jsonType = '']) => ({ name, 'meta-type': 'builtin', 'json-type': jsonType }));

/** `name?:type` as a member. */
function memberFrom(text: string): SchemaMember {
  const colon = text.indexOf(':');
  const type = text.slice(colon + 1);
  const name = text.slice(0, colon);
  return name.endsWith('?') ? { name: name.slice(0, -1), type, default: null } : { name, type };
}

function objectFrom(name: string, notation: string): SchemaEntity {
  const members = notation.split(' ').filter((word) => word !== '');
  return { name, 'meta-type': 'object', members: members.map(memberFrom) };
}

function unionFrom(name: string, branches: Readonly<Record<string, string>>): SchemaEntity[] {
  const kinds = Object.keys(branches);
  return [
    { name: `${name}Kind`, 'meta-type': 'enum', members: kinds.map((kind) => ({ name: kind })) },
    {
      name,
      'meta-type': 'object',
      members: [{ name: 'type', type: `${name}Kind` }],
      tag: 'type',
      variants: kinds.map((kind) => ({ case: kind, type: `${name}-${kind}` })),
    },
    ...Object.entries(branches).map(([kind, type]) => objectFrom(`${name}-${kind}`, `data:${type}`)),
  ];
}

/** Every array type that some member has. */
function arraysOf(entities: readonly SchemaEntity[]): SchemaEntity[] {
  const types = entities.flatMap((entity) => (entity['meta-type'] === 'object' ? entity.members : []));
  const arrays = new Set(types.map(({ type }) => type).filter((type) => type.startsWith('[')));
  return [...arrays].map((name) => ({ name, 'meta-type': 'array', 'element-type': name.slice(1, -1) }));
}

/** Builds what a capture would hold. */
export function handwritten(qemu: HandwrittenQemu): Introspection {
  const entities: SchemaEntity[] = [
    ...BUILTINS,
    objectFrom(NOTHING, ''),
    ...Object.entries(qemu.enums).map(
      ([name, values]): SchemaEntity => ({
        name,
        'meta-type': 'enum',
        members: values.map((value) => ({ name: value })),
      }),
    ),
    ...Object.entries(qemu.types).map(([name, notation]) => objectFrom(name, notation)),
    ...Object.entries(qemu.unions).flatMap(([name, branches]) => unionFrom(name, branches)),
    ...Object.entries(qemu.commands).flatMap(([name, notation]): SchemaEntity[] => [
      { name, 'meta-type': 'command', 'arg-type': `${name}-arg`, 'ret-type': NOTHING },
      objectFrom(`${name}-arg`, notation),
    ]),
    ...qemu.events.map((name): SchemaEntity => ({ name, 'meta-type': 'event', 'arg-type': NOTHING })),
  ];
  return {
    greeting: qemu.greeting,
    commands: Object.keys(qemu.commands),
    unchecked: qemu.unchecked,
    events: qemu.events,
    alternates: {},
    integers: {},
    schema: [...entities, ...arraysOf(entities)],
  };
}
