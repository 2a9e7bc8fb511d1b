/** A command's refusal in the words of each generation. */
import type { JsonObject, QmpErrorBody } from '../../src/qmp/messages.ts';
import type { CommandError, Grounds } from '../core/errors.ts';
import type { ErrorStyle } from '../profiles/profile.ts';

interface Wording {
  readonly class: string;
  readonly desc: string;
}

type Words = Readonly<Record<Grounds['kind'], Wording>>;

const generic = (desc: string): Wording => ({ class: 'GenericError', desc });

/** Few classes, no `data`; `{x}` stands for the grounds' member x. */
const GENERIC: Words = {
  'device-not-found': { class: 'DeviceNotFound', desc: "Device '{device}' not found" },
  'no-medium': generic("Device '{device}' has no medium"),
  'in-use': generic("Device '{device}' is in use"),
  'not-removable': generic("Device '{device}' is not removable"),
  'not-encrypted': generic("Device '{device}' is not encrypted"),
  'not-active': { class: 'DeviceNotActive', desc: "No active block job on device '{device}'" },
  'not-ready': generic("The active block job for device '{device}' cannot be completed"),
  'job-paused': generic("The block job for device '{device}' is currently paused"),
  'base-not-found': generic("Base '{base}' not found"),
  'open-failed': generic("Could not open '{filename}'"),
  'invalid-format': generic("Invalid block format '{name}'"),
  'invalid-parameter': generic("Invalid parameter '{name}'"),
  'fd-not-found': generic("File descriptor named '{name}' not found"),
  'not-supported': generic('Not supported'),
};

const rich = (kind: Grounds['kind'], errorClass: string): Wording => ({
  class: errorClass,
  desc: GENERIC[kind].desc,
});

/** A class for every kind of error, and its members as `data`. */
const RICH: Words = {
  'device-not-found': rich('device-not-found', 'DeviceNotFound'),
  'no-medium': rich('no-medium', 'DeviceHasNoMedium'),
  'in-use': rich('in-use', 'DeviceInUse'),
  'not-removable': rich('not-removable', 'DeviceNotRemovable'),
  'not-encrypted': rich('not-encrypted', 'DeviceNotEncrypted'),
  'not-active': {
    class: 'DeviceNotActive',
    desc: "Device '{device}' has not been activated by the guest",
  },
  'not-ready': rich('not-ready', 'BlockJobNotReady'),
  'job-paused': rich('job-paused', 'BlockJobPaused'),
  'base-not-found': rich('base-not-found', 'BaseNotFound'),
  'open-failed': rich('open-failed', 'OpenFileFailed'),
  'invalid-format': rich('invalid-format', 'InvalidBlockFormat'),
  'invalid-parameter': rich('invalid-parameter', 'InvalidParameter'),
  'fd-not-found': rich('fd-not-found', 'FdNotFound'),
  'not-supported': rich('not-supported', 'NotSupported'),
};

/** What a generation with a class per error says where it has none. */
const UNDEFINED: Wording = { class: 'UndefinedError', desc: 'An undefined error has occurred' };

function fill(text: string, members: Readonly<Record<string, string>>): string {
  return text.replace(/\{(\w+)\}/g, (_, name: string) => members[name] ?? '');
}

/** A lookup's text between 2.7 and 5.2, without quotes. */
const bare = (text: string): string =>
  text.replace(/device='(.*)' nor node-name='(.*)'$/, 'device=$1 nor node_name=$2');

function wordingOf(style: ErrorStyle, { message, errorClass, grounds }: CommandError): Wording {
  const modern = { class: errorClass, desc: message };
  if (style.wording === 'rich') return grounds ? RICH[grounds.kind] : UNDEFINED;
  if (!grounds) return modern;
  if (grounds.kind === 'device-not-found' && style.lookup === 'bare') return generic(bare(message));
  return style.lookup === 'device-not-found' ? GENERIC[grounds.kind] : modern;
}

/** The error as this generation gives it. */
export function refusalBody(style: ErrorStyle, error: CommandError): QmpErrorBody {
  const wording = wordingOf(style, error);
  const { kind: _, ...members } = error.grounds ?? { kind: undefined };
  const body = { class: wording.class, desc: fill(wording.desc, members) };
  return style.data ? { ...body, data: members as JsonObject } : body;
}
