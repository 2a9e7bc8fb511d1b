/**
 * Checks a command's arguments against introspection data as QEMU's generated visitors do: members in schema order,
 * the first offender is reported, unknown members only when all known ones are fine.
 */
import type { Json, JsonObject, QmpErrorBody } from '../../src/qmp/messages.ts';
import { assert } from '../../src/util/assert.ts';
import type { IntegerType, Introspection, SchemaEntity, SchemaMember } from '../profiles/introspection.ts';
import type { Profile } from '../profiles/profile.ts';
import { isWireArray, isWireObject, plainJson, type WireObject, type WireValue } from './json-value.ts';
import { firstUnknown } from './member-order.ts';
import { type ProtocolFault, protocolError } from './protocol-errors.ts';

/** Arguments as the command takes them, or what is wrong with them. */
export type CheckedArguments =
  | { readonly ok: true; readonly args: JsonObject }
  | { readonly ok: false; readonly error: QmpErrorBody };

/** Where a value stands; the text is only made for an error. */
interface Place {
  readonly parent: Place | undefined;
  /** undefined for the arguments themselves and for elements. */
  readonly name: string | undefined;
  readonly index?: number;
}

type EntityOf<M extends SchemaEntity['meta-type']> = Extract<SchemaEntity, { 'meta-type': M }>;
type Members = Record<string, Json>;

/** Ends a check at the first offender; never leaves this file. */
class Refusal {
  readonly fault: ProtocolFault;
  constructor(fault: ProtocolFault) {
    this.fault = fault;
  }
}

/** The whole way to a value: `actions[0].data.device`. */
function fullName(place: Place): string {
  const above = place.parent ? fullName(place.parent) : '';
  if (place.index !== undefined) return `${above}[${place.index}]`;
  if (place.name === undefined) return above;
  return above === '' ? place.name : `${above}.${place.name}`;
}

/** What some texts show in place of the whole way: an element has no name. */
const shortName = (place: Place): string => place.name ?? 'null';

/** QEMU's kinds of JSON value. */
type WireKind = 'null' | 'boolean' | 'string' | 'number' | 'array' | 'object';

function wireKind(value: WireValue): WireKind {
  if (value === null) return 'null';
  if (typeof value === 'boolean' || typeof value === 'string') return typeof value as 'boolean' | 'string';
  if (isWireArray(value)) return 'array';
  return isWireObject(value) ? 'object' : 'number';
}

/** Kinds of the types that introspection names in lower case, as error texts name them. */
const BUILTIN_KINDS: Readonly<Record<string, WireKind>> = {
  string: 'string',
  boolean: 'boolean',
  number: 'number',
  int: 'number',
  null: 'null',
};

const LIMITS: Readonly<Record<IntegerType | 'int64', readonly [lowest: bigint, highest: bigint]>> = {
  int8: [-(2n ** 7n), 2n ** 7n - 1n],
  int16: [-(2n ** 15n), 2n ** 15n - 1n],
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint8: [0n, 2n ** 8n - 1n],
  uint16: [0n, 2n ** 16n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
};

/** An integer in the smallest representation that is exact. */
function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Checks arguments of every command of one profile. */
export class ArgumentChecker {
  readonly #profile: Profile;
  readonly #commands: ReadonlySet<string>;
  readonly #unchecked: ReadonlySet<string>;
  #entities: ReadonlyMap<string, SchemaEntity> | undefined;

  constructor(profile: Profile) {
    this.#profile = profile;
    this.#commands = new Set(profile.introspection.commands);
    this.#unchecked = new Set(profile.introspection.unchecked);
  }

  /** Whether the profile has such a command. */
  knows(command: string): boolean {
    return this.#commands.has(command);
  }

  /** Checks the arguments of a command that the profile has. */
  check(command: string, args: WireObject): CheckedArguments {
    if (this.#unchecked.has(command)) return { ok: true, args: plainJson(args) as JsonObject };
    const entity = this.#entity(command);
    assert(entity['meta-type'] === 'command', `${command} is no command of ${this.#profile.name}`);
    const type = this.#object(entity['arg-type']);
    try {
      if (this.#profile.errors.wording !== 'qapi') this.#checkFlat(type, args);
      return { ok: true, args: this.#visitObject(type, args, { parent: undefined, name: undefined }) };
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      return { ok: false, error: protocolError(this.#profile.errors, refusal.fault) };
    }
  }

  /** Whether the command may be sent with `exec-oob`. */
  allowsOob(command: string): boolean {
    const entity = this.#lookup(command);
    return entity?.['meta-type'] === 'command' && entity['allow-oob'] === true;
  }

  get #introspection(): Introspection {
    return this.#profile.introspection;
  }

  #lookup(name: string): SchemaEntity | undefined {
    // The schema is read with the first command, not with the greeting.
    this.#entities ??= new Map(this.#introspection.schema.map((entity) => [entity.name, entity]));
    return this.#entities.get(name);
  }

  #entity(name: string): SchemaEntity {
    const entity = this.#lookup(name);
    assert(entity, `the schema of ${this.#profile.name} lacks ${name}`);
    return entity;
  }

  #object(name: string): EntityOf<'object'> {
    const entity = this.#entity(name);
    assert(entity['meta-type'] === 'object', `${name} is not an object type`);
    return entity;
  }

  /** Before QAPI checked arguments: what is missing first, then each given member in the order it was given. */
  #checkFlat(type: EntityOf<'object'>, args: WireObject): void {
    const missing = type.members.find((member) => !('default' in member) && !args.has(member.name));
    if (missing) throw new Refusal({ kind: 'missing', name: missing.name });
    if (this.#profile.bugs.ignoresUnknownMembers) return;
    for (const [name, value] of args) {
      const member = type.members.find((candidate) => candidate.name === name);
      if (!member) throw new Refusal({ kind: 'unexpected', name });
      this.#visit(member.type, value, { parent: undefined, name }, '');
    }
  }

  /** `integerKey` tells which entry of the captured integer widths holds for an integer in this place. */
  #visit(typeName: string, value: WireValue, place: Place, integerKey: string): Json {
    const type = this.#entity(typeName);
    switch (type['meta-type']) {
      case 'builtin':
        return this.#visitBuiltin(type['json-type'], value, place, integerKey);
      case 'enum':
        return this.#visitEnum(type, value, place);
      case 'array': {
        if (!isWireArray(value)) return mismatch(place, 'array');
        const element = type['element-type'];
        return value.map((item, index) =>
          this.#visit(element, item, { parent: place, name: undefined, index }, integerKey),
        );
      }
      case 'object':
        return isWireObject(value) ? this.#visitObject(type, value, place) : mismatch(place, 'object');
      case 'alternate':
        return this.#visitAlternate(type, value, place);
      default:
        assert(false, `${typeName} is not a type of values`);
    }
  }

  #visitBuiltin(jsonType: string, value: WireValue, place: Place, integerKey: string): Json {
    if (jsonType === 'value') return plainJson(value);
    if (jsonType === 'int') return this.#visitInteger(value, place, integerKey);
    const kind = BUILTIN_KINDS[jsonType];
    assert(kind, `unknown builtin type ${jsonType}`);
    return wireKind(value) === kind ? plainJson(value) : mismatch(place, kind);
  }

  #visitInteger(value: WireValue, place: Place, integerKey: string): number | bigint {
    const type = this.#introspection.integers[integerKey] ?? 'int64';
    const unsigned = type.startsWith('u');
    if (typeof value !== 'number' && typeof value !== 'bigint') {
      if (!unsigned) return mismatch(place, 'integer');
      throw new Refusal({ kind: 'range', name: fullName(place), expected: 'uint64' });
    }
    let integer = BigInt(value);
    if (!unsigned && integer > LIMITS.int64[1]) return mismatch(place, 'integer');
    // Unsigned types take a negative number as the 64 bits it is.
    if (unsigned) integer = BigInt.asUintN(64, integer);
    const [lowest, highest] = LIMITS[type];
    if (integer < lowest || integer > highest) {
      throw new Refusal({ kind: 'range', name: shortName(place), expected: `${type}_t` });
    }
    return exact(integer);
  }

  #visitEnum(type: EntityOf<'enum'>, value: WireValue, place: Place): string {
    if (typeof value !== 'string') return mismatch(place, 'string');
    if (type.members.some((member) => member.name === value)) return value;
    throw new Refusal({ kind: 'enum', name: shortName(place), value });
  }

  #visitObject(type: EntityOf<'object'>, value: WireObject, place: Place): Members {
    const result: Members = {};
    const given = this.#visitMembers(type, value, place, result);
    if (given === value.size || this.#profile.bugs.ignoresUnknownMembers) return result;
    const name = firstUnknown(value.keys(), this.#memberNames(type, result));
    throw new Refusal({ kind: 'unexpected', name: fullName({ parent: place, name }) });
  }

  /** Members of a type, then those of the branch that its discriminator selects; how many of them were given. */
  #visitMembers(type: EntityOf<'object'>, value: WireObject, place: Place, result: Members): number {
    let given = 0;
    for (const member of type.members) if (this.#visitMember(type, member, value, place, result)) given++;
    const branch = this.#branchOf(type, result);
    return branch ? given + this.#visitMembers(branch, value, place, result) : given;
  }

  /** What the discriminator among the given members selects. */
  #branchOf({ tag, variants }: EntityOf<'object'>, members: Members): EntityOf<'object'> | undefined {
    if (tag === undefined) return undefined;
    const selected = variants?.find((variant) => variant.case === members[tag]);
    return selected && this.#object(selected.type);
  }

  /** The names that an object of these members may have, in the order of a visit. */
  #memberNames(type: EntityOf<'object'>, members: Members): string[] {
    const branch = this.#branchOf(type, members);
    const names = type.members.map(({ name }) => name);
    return branch ? [...names, ...this.#memberNames(branch, members)] : names;
  }

  /** Whether the member was given. */
  #visitMember(
    type: EntityOf<'object'>,
    member: SchemaMember,
    value: WireObject,
    place: Place,
    result: Members,
  ): boolean {
    const given = value.get(member.name);
    if (given === undefined && 'default' in member) return false;
    const at = { parent: place, name: member.name };
    if (given === undefined) throw new Refusal({ kind: 'missing', name: fullName(at) });
    result[member.name] = this.#visit(member.type, given, at, `${type.name}.${member.name}`);
    return true;
  }

  #visitAlternate(type: EntityOf<'alternate'>, value: WireValue, place: Place): Json {
    const kind = wireKind(value);
    const selected = type.members.find((member) => this.#kindOf(member.type) === kind);
    if (selected) return this.#visit(selected.type, value, place, type.name);
    const expected = this.#introspection.alternates[type.name] ?? type.name;
    throw new Refusal({ kind: 'type', name: shortName(place), expected });
  }

  /** What kind of value a type takes. */
  #kindOf(typeName: string): WireKind | undefined {
    const type = this.#entity(typeName);
    if (type['meta-type'] === 'builtin') return BUILTIN_KINDS[type['json-type']];
    const kinds: Readonly<Record<string, WireKind>> = { enum: 'string', array: 'array', object: 'object' };
    return kinds[type['meta-type']];
  }
}

const checkers = new WeakMap<Profile, ArgumentChecker>();

/** The checker of a profile: all machines that have it share one. */
export function checkerOf(profile: Profile): ArgumentChecker {
  const known = checkers.get(profile) ?? new ArgumentChecker(profile);
  checkers.set(profile, known);
  return known;
}

function mismatch(place: Place, expected: string): never {
  throw new Refusal({ kind: 'type', name: fullName(place), expected });
}
