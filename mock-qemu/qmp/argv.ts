/** QEMU's command line, as far as it concerns a simulated machine. */
import type { JsonObject } from '../../src/qmp/messages.ts';

/** What was asked for, in the order in which it was asked. */
export type LaunchStep =
  | {
      readonly type: 'object' | 'blockdev' | 'drive' | 'device';
      readonly source: string;
      readonly options: JsonObject;
    }
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'uuid'; readonly uuid: string }
  | { readonly type: 'chardev'; readonly label: string; readonly filename: string }
  | { readonly type: 'paused' }
  /** The machine waits for a state that is still to be named. */
  | { readonly type: 'incoming' }
  /** The machine goes on from an internal snapshot. */
  | { readonly type: 'loadvm'; readonly name: string }
  | { readonly type: 'machine'; readonly board: string }
  /** What becomes of the machine when its guest ends, restarts or panics. */
  | { readonly type: 'action'; readonly options: JsonObject };

/** The steps, or what QEMU prints in refusal. */
export type ParsedArgv = { readonly steps: readonly LaunchStep[] } | { readonly complaint: string };

const BARE = new Set([
  '-nodefaults',
  '-no-user-config',
  '-nographic',
  '-nodefconfig',
  '-no-kvm',
  '-daemonize',
  '-no-acpi',
]);

/** Words without a value that mean something. */
const FLAGS: Readonly<Record<string, LaunchStep>> = {
  '-S': { type: 'paused' },
  '-no-shutdown': { type: 'action', options: { shutdown: 'pause' } },
  '-no-reboot': { type: 'action', options: { reboot: 'shutdown' } },
};

const IGNORED = new Set([
  '-m',
  '-accel',
  '-cpu',
  '-smp',
  '-display',
  '-mon',
  '-overcommit',
  '-rtc',
  '-boot',
  '-bios',
  '-msg',
  '-sandbox',
  '-pidfile',
  '-audiodev',
  '-netdev',
  '-global',
  '-vga',
  '-serial',
  '-monitor',
  '-parallel',
]);

/** `a=1,b.c=2` as nested options; the first bare word is `implied`'s value; `,,` is a comma. */
export function parseKeyValues(text: string, implied?: string): JsonObject {
  const options: Record<string, unknown> = {};
  const items = text.split(/(?<!,),(?!,)/).map((item) => item.replaceAll(',,', ','));
  items.forEach((item, index) => {
    const equals = item.indexOf('=');
    const bare = equals < 0;
    const key = bare ? (index === 0 && implied !== undefined ? implied : item) : item.slice(0, equals);
    const value = bare ? (index === 0 && implied !== undefined ? item : 'on') : item.slice(equals + 1);
    let into = options;
    const path = key.split('.');
    for (const part of path.slice(0, -1)) {
      into[part] ??= {};
      into = into[part] as Record<string, unknown>;
    }
    into[path.at(-1) ?? ''] = value;
  });
  return options as JsonObject;
}

function parseOptions(text: string, implied?: string): JsonObject | undefined {
  if (!text.startsWith('{')) return parseKeyValues(text, implied);
  try {
    return JSON.parse(text) as JsonObject;
  } catch {
    return undefined;
  }
}

type Reader = (value: string) => LaunchStep | undefined;

const withOptions =
  (type: 'object' | 'blockdev' | 'drive' | 'device', implied?: string): Reader =>
  (source) => {
    const options = parseOptions(source, implied);
    return options && { type, source, options };
  };

const monitor = (value: string): LaunchStep => ({
  type: 'chardev',
  label: 'compat_monitor0',
  filename: value.replace(/,wait=(?:on|off)/, ''),
});

const machine: Reader = (value) => ({
  type: 'machine',
  board: String(parseKeyValues(value, 'type').type ?? ''),
});

const WITH_VALUE: Readonly<Record<string, Reader>> = {
  '-object': withOptions('object', 'qom-type'),
  '-blockdev': withOptions('blockdev', 'driver'),
  '-drive': withOptions('drive'),
  '-device': withOptions('device', 'driver'),
  '-name': (value) => {
    const { guest } = parseKeyValues(value, 'guest');
    return { type: 'name', name: String(guest ?? '') };
  },
  '-machine': machine,
  '-M': machine,
  '-action': (value) => ({ type: 'action', options: parseKeyValues(value) }),
  '-loadvm': (name) => ({ type: 'loadvm', name }),
  // Other sources than those that are named later are not simulated.
  '-incoming': (value) => (value === 'defer' ? { type: 'incoming' } : undefined),
  '-uuid': (uuid) => ({ type: 'uuid', uuid }),
  '-qmp': monitor,
  '-qmp-pretty': monitor,
  '-chardev': (value) => {
    const { id, path, backend } = parseKeyValues(value, 'backend');
    const filename = backend === 'socket' ? `unix:${String(path ?? '')},server=on` : String(backend ?? '');
    return { type: 'chardev', label: String(id ?? ''), filename };
  },
};

/** Reads a command line without the program's name; `unknown`: options that this QEMU does not have. */
export function parseArgv(
  argv: readonly string[],
  program: string,
  unknown: readonly string[] = [],
): ParsedArgv {
  const steps: LaunchStep[] = [];
  for (let index = 0; index < argv.length; index++) {
    const word = (argv[index] ?? '').replace(/^--/, '-');
    if (unknown.includes(word)) return { complaint: `${program}: ${argv[index]}: invalid option\n` };
    if (BARE.has(word)) continue;
    const flag = FLAGS[word];
    if (flag) steps.push(flag);
    else {
      const reader = WITH_VALUE[word];
      if (!reader && !IGNORED.has(word)) return { complaint: `${program}: ${argv[index]}: invalid option\n` };
      const value = argv[++index];
      if (value === undefined) return { complaint: `${program}: ${word}: requires an argument\n` };
      const step = reader?.(value);
      if (step) steps.push(step);
      else if (reader)
        return { complaint: `${program}: ${word} ${value}: JSON parse error, expecting value\n` };
    }
  }
  return { steps };
}
