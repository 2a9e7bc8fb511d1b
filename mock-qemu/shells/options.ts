/** The command line of `mock-qemu`: its own long options, and QEMU's, of which the monitors are the shell's business. */
import { readFileSync } from 'node:fs';
import { type Fault, FaultPlanError, parseFaultPlan } from '../core/faults/plan.ts';
import { DEFAULT_PROFILE, profileNamed, profiles, withoutBugs } from '../profiles/index.ts';
import type { Profile } from '../profiles/profile.ts';
import { parseArgv, parseKeyValues } from '../qmp/argv.ts';

/** Where a QMP monitor is reached. */
export type Endpoint =
  | { readonly type: 'unix'; readonly path: string }
  /** A listening socket that was inherited. */
  | { readonly type: 'fd'; readonly fd: number }
  | { readonly type: 'stdio' };

/** A simulated QEMU process as asked for. */
export interface ServerOptions {
  readonly profile: Profile;
  readonly seed: number;
  /** Virtual seconds per second. */
  readonly speed: number;
  /** Gets one line for each input and output. */
  readonly traceFile?: string;
  readonly faults?: readonly Fault[];
  /** Path of the control socket. */
  readonly controlPath?: string;
  readonly endpoints: readonly Endpoint[];
  readonly pidFile?: string;
  /** QEMU's own arguments. */
  readonly argv: readonly string[];
}

/** What a command line asks for: a machine, a text, or it is wrong. */
export type ParsedCommandLine =
  | { readonly run: ServerOptions }
  | { readonly print: string }
  | { readonly refuse: string; readonly exitCode: number };

/** A command line that cannot be carried out; `exitCode` as the process reports it. */
class CommandLineError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Misuse of mock-qemu itself; QEMU's own errors have exit code 1. */
const misuse = (message: string) => new CommandLineError(`mock-qemu: ${message}\n`, 2);
const qemuError = (message: string) => new CommandLineError(`mock-qemu: ${message}\n`, 1);

/** Reads a fault plan; what is wrong with it is said in one line. */
function readFaults(path: string): Fault[] {
  try {
    return parseFaultPlan(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    if (error instanceof FaultPlanError) throw misuse(`${path}: ${error.message}`);
    throw misuse(`--faults ${path}: ${(error as Error).message}`);
  }
}

interface OwnValues {
  profile: string;
  withoutBugs: string[];
  seed: number;
  speed: number;
  traceFile?: string;
  faults?: readonly Fault[];
  controlPath?: string;
}

/** Own options that take a value. */
const OWN: Readonly<
  Record<string, { readonly help: string; readonly read: (own: OwnValues, value: string) => void }>
> = {
  '--profile': {
    help: 'NAME     which QEMU to be; also MOCK_QEMU_PROFILE',
    read: (own, value) => {
      own.profile = value;
    },
  },
  '--without-bug': {
    help: 'NAME  turn off a known bug of the profile; may be given several times',
    read: (own, value) => {
      own.withoutBugs.push(value);
    },
  },
  '--seed': {
    help: 'N           seed of everything random (default 1)',
    read: (own, value) => {
      if (!/^\d{1,15}$/.test(value)) throw misuse(`--seed ${value}: a whole number is needed`);
      own.seed = Number(value);
    },
  },
  '--speed': {
    help: 'X          virtual seconds per second (default 1)',
    read: (own, value) => {
      const speed = Number(value);
      if (!(speed > 0 && Number.isFinite(speed)))
        throw misuse(`--speed ${value}: a number above 0 is needed`);
      own.speed = speed;
    },
  },
  '--trace': {
    help: 'FILE       write every input and output to FILE',
    read: (own, value) => {
      own.traceFile = value;
    },
  },
  '--faults': {
    help: 'FILE      a fault plan, as docs/fault-points.md describes it',
    read: (own, value) => {
      own.faults = readFaults(value);
    },
  },
  '--control': {
    help: 'unix:PATH  a socket that takes faults and guest load while the machine runs',
    read: (own, value) => {
      if (!value.startsWith('unix:')) throw misuse(`--control ${value}: unix:PATH is needed`);
      own.controlPath = value.slice('unix:'.length);
    },
  },
};

function usage(): string {
  const own = Object.entries(OWN).map(([name, { help }]) => `  ${name} ${help}`);
  return [
    'usage: mock-qemu [own options] [options of qemu-system-x86_64]',
    '',
    'A simulated QEMU that is started and driven like a real one, for example',
    '  mock-qemu -nodefaults -S -qmp unix:/tmp/qmp.sock,server=on,wait=off',
    '',
    'Own options:',
    ...own,
    '  --help, --version',
    '',
    `Profiles: ${profiles.map(({ name }) => name).join(', ')} (default ${DEFAULT_PROFILE})`,
    '',
  ].join('\n');
}

function versionText(profile: Profile): string {
  const { version, package: packageText } = profile.introspection.greeting;
  const suffix = packageText === '' ? '' : ` (${packageText.replace(/^\((.*)\)$/, '$1')})`;
  const number = `${version.major}.${version.minor}.${version.micro}`;
  return `QEMU emulator version ${number}${suffix}\nSimulated by mockvirt, profile ${profile.name}\n`;
}

const PRINTS: Readonly<Record<string, (profile: Profile) => string>> = {
  '--help': usage,
  '-help': usage,
  '-h': usage,
  '--version': versionText,
  '-version': versionText,
};

/** Takes own options out of the arguments. */
function splitOwn(words: readonly string[], own: OwnValues): string[] {
  const rest: string[] = [];
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? '';
    const equals = word.indexOf('=');
    const name = equals < 0 ? word : word.slice(0, equals);
    const option = OWN[name];
    if (!option) {
      rest.push(word);
      continue;
    }
    const value = equals < 0 ? words[++index] : word.slice(equals + 1);
    if (value === undefined) throw misuse(`${name} needs a value`);
    option.read(own, value);
  }
  return rest;
}

function namedProfile(name: string, fixed: readonly string[]): Profile {
  try {
    return withoutBugs(profileNamed(name), fixed);
  } catch (error) {
    throw misuse((error as Error).message);
  }
}

/** The endpoint of a character device; QEMU writes a plain flag as `server=on` or, long ago, `server`. */
function endpointOf(text: string): Endpoint {
  const { backend, path, fd, server } = parseKeyValues(text, 'backend');
  if (backend === 'stdio') return { type: 'stdio' };
  const refusal = `chardev ${text}: only listening unix sockets and stdio are simulated`;
  if (backend !== 'socket' || server !== 'on') throw qemuError(refusal);
  if (typeof path === 'string') return { type: 'unix', path };
  if (typeof fd === 'string' && /^\d+$/.test(fd)) return { type: 'fd', fd: Number(fd) };
  throw qemuError(refusal);
}

/** `-qmp`: the short form of a character device and a monitor on it. */
const shortForm = (text: string) => text.replace(/^unix:/, 'socket,path=');

/** Finds the monitors and what else is the shell's in QEMU's arguments. */
function readMonitors(argv: readonly string[]): { endpoints: Endpoint[]; pidFile?: string } {
  const endpoints: Endpoint[] = [];
  const chardevs = new Map<string, string>();
  let pidFile: string | undefined;
  argv.forEach((raw, index) => {
    const word = raw.replace(/^--/, '-');
    const value = argv[index + 1] ?? '';
    if (word === '-qmp') endpoints.push(endpointOf(shortForm(value)));
    if (word === '-qmp-pretty') throw qemuError('-qmp-pretty is not simulated: use -qmp');
    if (word === '-daemonize') throw qemuError('-daemonize is not simulated: start it in the background');
    if (word === '-chardev') chardevs.set(String(parseKeyValues(value, 'backend').id ?? ''), value);
    if (word === '-pidfile') pidFile = value;
  });
  argv.forEach((raw, index) => {
    if (raw.replace(/^--/, '-') !== '-mon') return;
    const { chardev, mode } = parseKeyValues(argv[index + 1] ?? '', 'chardev');
    if (mode !== 'control') return;
    const text = chardevs.get(String(chardev));
    if (text === undefined) throw qemuError(`-mon: chardev "${String(chardev)}" not found`);
    endpoints.push(endpointOf(text));
  });
  return { endpoints, ...(pidFile !== undefined && { pidFile }) };
}

/** A double dash is how own options look: a word that neither side knows is listed with those that exist. */
function refuseUnknownOwn(argv: readonly string[]): void {
  const parsed = parseArgv(argv, '');
  if (!('complaint' in parsed)) return;
  const unknown = argv.find(
    (word) => word.startsWith('--') && parsed.complaint.includes(` ${word}: invalid`),
  );
  if (unknown === undefined) return;
  const valid = [...Object.keys(OWN), '--help', '--version'].join(', ');
  throw misuse(`unknown option '${unknown}'; own options: ${valid}; all others are QEMU's`);
}

/** Reads a command line, without the names of Node and the program. */
export function parseCommandLine(
  words: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): ParsedCommandLine {
  if (words.length === 0) return { refuse: usage(), exitCode: 2 };
  try {
    const own: OwnValues = {
      profile: environment.MOCK_QEMU_PROFILE ?? DEFAULT_PROFILE,
      withoutBugs: [],
      seed: 1,
      speed: 1,
    };
    const argv = splitOwn(words, own);
    const profile = namedProfile(own.profile, own.withoutBugs);
    const print = argv.map((word) => PRINTS[word]).find((found) => found !== undefined);
    if (print) return { print: print(profile) };
    refuseUnknownOwn(argv);
    const { profile: _name, withoutBugs: _bugs, ...rest } = own;
    return { run: { ...rest, profile, argv, ...readMonitors(argv) } };
  } catch (error) {
    if (error instanceof CommandLineError) return { refuse: error.message, exitCode: error.exitCode };
    throw error;
  }
}
