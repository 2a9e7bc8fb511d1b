/** Errors that the protocol itself gives, in the words of each generation. */
import type { JsonObject, QmpErrorBody } from '../../src/qmp/messages.ts';
import type { ErrorStyle } from '../profiles/profile.ts';

/** What can be wrong with a request before its command runs; the members fill the texts below. */
export type ProtocolFault =
  | { readonly kind: 'json'; readonly text: string }
  | { readonly kind: 'not-an-object' }
  | { readonly kind: 'lacks-execute' }
  | { readonly kind: 'member-type'; readonly name: string; readonly expected: string }
  | { readonly kind: 'member-unexpected'; readonly name: string }
  | { readonly kind: 'member-clash'; readonly name: string; readonly other: string }
  | { readonly kind: 'command-not-found'; readonly name: string }
  | { readonly kind: 'no-oob'; readonly name: string }
  | { readonly kind: 'missing'; readonly name: string }
  | { readonly kind: 'type'; readonly name: string; readonly expected: string }
  | { readonly kind: 'range'; readonly name: string; readonly expected: string }
  | { readonly kind: 'enum'; readonly name: string; readonly value: string }
  | { readonly kind: 'unexpected'; readonly name: string };

/** Class and text of one fault; `{x}` stands for the fault's member x. */
interface Wording {
  readonly class: string;
  readonly desc: string;
  /** Names of the fault's members that go into `data`, where the generation has it. */
  readonly data?: readonly string[];
}

type Table = Readonly<Record<ProtocolFault['kind'], Wording>>;

const generic = (desc: string): Wording => ({ class: 'GenericError', desc });

const QAPI: Table = {
  json: generic('{text}'),
  'not-an-object': generic('QMP input must be a JSON object'),
  'lacks-execute': generic("QMP input lacks member 'execute'"),
  'member-type': generic("QMP input member '{name}' must be {expected}"),
  'member-unexpected': generic("QMP input member '{name}' is unexpected"),
  'member-clash': generic("QMP input member '{name}' clashes with '{other}'"),
  'command-not-found': { class: 'CommandNotFound', desc: 'The command {name} has not been found' },
  'no-oob': generic('The command {name} does not support OOB'),
  missing: generic("Parameter '{name}' is missing"),
  type: generic("Invalid parameter type for '{name}', expected: {expected}"),
  range: generic("Parameter '{name}' expects {expected}"),
  enum: generic("Parameter '{name}' does not accept value '{value}'"),
  unexpected: generic("Parameter '{name}' is unexpected"),
};

const GENERIC: Table = {
  ...QAPI,
  'not-an-object': generic("Expected 'object' in QMP input"),
  'lacks-execute': generic("Expected 'execute' in QMP input"),
  'member-type': generic("QMP input object member '{name}' expects '{expected}'"),
  'member-unexpected': generic("QMP input object member '{name}' is unexpected"),
  enum: generic("Invalid parameter '{value}'"),
  unexpected: generic("Invalid parameter '{name}'"),
};

const rich = (kind: keyof Table, errorClass: string, ...data: string[]): Wording => ({
  ...GENERIC[kind],
  class: errorClass,
  data,
});

const RICH: Table = {
  ...GENERIC,
  json: { class: 'JSONParsing', desc: 'Invalid JSON syntax', data: [] },
  'not-an-object': rich('not-an-object', 'QMPBadInputObject', 'expected'),
  'lacks-execute': rich('lacks-execute', 'QMPBadInputObject', 'expected'),
  'member-type': rich('member-type', 'QMPBadInputObjectMember', 'member', 'expected'),
  'member-unexpected': rich('member-unexpected', 'QMPExtraInputObjectMember', 'member'),
  'command-not-found': rich('command-not-found', 'CommandNotFound', 'name'),
  missing: rich('missing', 'MissingParameter', 'name'),
  type: {
    class: 'InvalidParameterType',
    desc: 'Invalid parameter type, expected: {expected}',
    data: ['name', 'expected'],
  },
  enum: rich('enum', 'InvalidParameter', 'value'),
  unexpected: rich('unexpected', 'InvalidParameter', 'name'),
};

const TABLES = { qapi: QAPI, generic: GENERIC, rich: RICH } as const satisfies Record<
  ErrorStyle['wording'],
  Table
>;

/** What `data` holds beside the fault's own members. */
const IMPLIED: Partial<Record<ProtocolFault['kind'], Readonly<Record<string, string>>>> = {
  'not-an-object': { expected: 'object' },
  'lacks-execute': { expected: 'execute' },
};

/** The words that a member of a request is expected to be, with article where the generation has one. */
const ARTICLES: Readonly<Record<string, string>> = { string: 'a string', object: 'an object' };

function filledFrom(fault: ProtocolFault, wording: ErrorStyle['wording']): Record<string, string> {
  const { kind, ...members } = fault;
  const filled: Record<string, string> = { ...members, ...IMPLIED[kind] };
  if (filled.name !== undefined) filled.member = filled.name;
  if (kind === 'member-type' && wording === 'qapi') {
    filled.expected = ARTICLES[filled.expected ?? ''] ?? filled.expected ?? '';
  }
  return filled;
}

/** The error as this generation gives it. */
export function protocolError(style: ErrorStyle, fault: ProtocolFault): QmpErrorBody {
  if (fault.kind === 'json' && style.json === 'plain') {
    return protocolError({ ...style, json: 'detailed' }, { kind: 'json', text: 'Invalid JSON syntax' });
  }
  const oldEnum = fault.kind === 'enum' && style.enumValue === 'value';
  const wording = (oldEnum && style.wording === 'qapi' ? GENERIC : TABLES[style.wording])[fault.kind];
  const filled = filledFrom(fault, style.wording);
  const desc = wording.desc.replace(/\{(\w+)\}/g, (_, name: string) => filled[name] ?? '');
  if (!style.data) return { class: wording.class, desc };
  const members = (wording.data ?? []).map((name) => [name, filled[name] ?? ''] as const);
  const data: JsonObject = Object.fromEntries(members);
  return { class: wording.class, desc, data };
}
