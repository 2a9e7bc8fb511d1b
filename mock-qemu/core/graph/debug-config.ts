/** blkdebug's rules in a file of their own: groups with `name = "value"` lines, read as QEMU's own reader was seen to read them. */
import type { Data, Value } from '../data.ts';
import { HostError, strerror } from '../errno.ts';
import { refuse } from '../errors.ts';
import { ABSENT } from '../extents.ts';
import type { ImageStore } from '../images.ts';

/** Rules of a file, in its order. */
export interface DebugConfig {
  readonly 'inject-error': readonly Data[];
  readonly 'set-state': readonly Data[];
}

type GroupName = keyof DebugConfig;
type OptionType = 'text' | 'number' | 'switch';

const OPTIONS: Readonly<Record<GroupName, Readonly<Record<string, OptionType>>>> = {
  'inject-error': {
    event: 'text',
    state: 'number',
    iotype: 'text',
    errno: 'number',
    sector: 'number',
    once: 'switch',
    immediately: 'switch',
  },
  'set-state': { event: 'text', state: 'number', new_state: 'number' },
};

const IO_TYPES = new Set(['read', 'write', 'write-zeroes', 'discard', 'flush', 'block-status']);

interface Group {
  readonly name: string;
  readonly id: string | undefined;
  readonly options: Map<string, string>;
}

/**
 * Reads the rules of a file.
 * @param isEvent whether a word names an event
 */
export function readDebugConfig(
  images: ImageStore,
  path: string,
  isEvent: (word: string) => boolean,
): DebugConfig {
  const config: Record<GroupName, Data[]> = { 'inject-error': [], 'set-state': [] };
  const ids = new Set<string>();
  for (const { name, id, options } of groupsOf(textOf(images, path))) {
    if (!isGroupName(name)) return refuse(`There is no option group '${name}'`);
    if (id !== undefined && ids.has(`${name} ${id}`)) refuse(`Duplicate ID '${id}' for ${name}`);
    if (id !== undefined) ids.add(`${name} ${id}`);
    config[name].push(typed(name, options));
  }
  // What the words mean is looked at when all has been read.
  for (const rule of [...config['inject-error'], ...config['set-state']]) checkRule(rule, isEvent);
  return config;
}

const isGroupName = (name: string): name is GroupName => Object.hasOwn(OPTIONS, name);

function textOf(images: ImageStore, path: string): string {
  try {
    if (images.stat(path) === undefined) throw new HostError('ENOENT', path);
    const image = images.open(path);
    const { virtualSizeBytes: bytes, extents } = image;
    let text = '';
    for (let at = 0; at < bytes; ) {
      const { tag, end } = extents.at(at, bytes);
      for (; at < end; at++) text += String.fromCharCode(tag === ABSENT ? 0 : images.blobs.byteAt(tag, at));
    }
    return text;
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    const what = error.code === 'EISDIR' ? 'Cannot read config file' : 'Could not read blkdebug config file';
    return refuse(`${what}: ${strerror(error.code)}`);
  }
}

function* groupsOf(text: string): Generator<Group> {
  let group: Group | undefined;
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [, name, id] =
      /^\[([^\s\]]{1,63}) "([^"]{1,63})"\]/.exec(line) ?? /^\[([^\]]{1,63})\]/.exec(line) ?? [];
    if (name !== undefined) {
      if (group) yield group;
      group = { name, id, options: new Map() };
      continue;
    }
    // A word that nothing follows has an empty value.
    const [, option, value = ''] = /^\s*(\S{1,63})(?:\s*=\s*"([^"]*))?/.exec(line) ?? [];
    if (option === undefined) refuse('parse error');
    if (!group) return refuse('no group defined');
    group.options.set(option, value);
  }
  if (group) yield group;
}

function typed(name: GroupName, options: ReadonlyMap<string, string>): Data {
  const rule: Record<string, Value> = {};
  for (const [option, text] of options) {
    const type = Object.hasOwn(OPTIONS[name], option) ? OPTIONS[name][option] : undefined;
    if (type === undefined) return refuse(`Invalid parameter '${option}'`);
    rule[option] = typedValue(option, text, type);
  }
  return rule;
}

function typedValue(option: string, text: string, type: OptionType): Value {
  if (type === 'text') return text;
  if (type === 'number') {
    const isNumber = /^(?:0x[0-9a-f]+|\d+)$/i.test(text);
    return isNumber ? Number(text) : refuse(`Parameter '${option}' expects a number`);
  }
  if (text !== 'on' && text !== 'off') refuse(`Parameter '${option}' expects 'on' or 'off'`);
  return text === 'on';
}

function checkRule({ event, iotype }: Data, isEvent: (word: string) => boolean): void {
  if (typeof event !== 'string') refuse('Missing event name for rule');
  else if (!isEvent(event)) refuse(`invalid parameter value: ${event}`);
  if (typeof iotype === 'string' && !IO_TYPES.has(iotype)) refuse(`invalid parameter value: ${iotype}`);
}
