/** `open`: from a URI to a connection with a driver and a backend behind it. */
import { mkdirSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { createQemuDriver } from '../drivers/qemu/driver.ts';
import { createProcessHost } from '../drivers/qemu/launch.ts';
import { sweepOrphans } from '../drivers/qemu/survivors.ts';
import { DEFAULT_PROFILE, profileNamed, profiles, withoutBugs } from '../mock-qemu/profiles/index.ts';
import { type BootedQemu, createWorld, type World } from '../mock-qemu/shells/world.ts';
import {
  type Connection,
  type ConnectionOptions,
  ErrorCode,
  ErrorDomain,
  type HypervisorDriver,
  MemoryState,
  openConnection,
  recoverConnection,
  VirtError,
} from '../src/index.ts';
import { openFileState } from './file-state.ts';
import { createMockHost } from './mock-host.ts';

/** Makes a driver from the parameters of a URI, which have been checked against the scheme's list. */
export type DriverFactory = (parameters: URLSearchParams) => HypervisorDriver;

/** How `open` may be extended. */
export interface OpenOptions {
  /** Drivers of your own by URI scheme (`xen` for `xen:///embed`); they come before the ready-made ones. */
  readonly drivers?: Readonly<Record<string, DriverFactory>>;
}

/** What a scheme's connection is made of. */
type Backend = Pick<ConnectionOptions, 'driver' | 'state' | 'saveDirectory'>;

interface Scheme {
  readonly parameters: readonly string[];
  readonly make: (parameters: URLSearchParams) => Backend;
}

const PAUSE = 'pause-around-pivot';

const SCHEMES: Readonly<Record<string, Scheme>> = {
  mock: { parameters: ['profile', 'without-bug', 'seed', 'world', PAUSE], make: mockDriver },
  qemu: { parameters: ['root', 'emulator', 'image-emulator', PAUSE], make: realDriver },
};

/**
 * Opens a connection (libvirt: virConnectOpen).
 *
 * - `mock:///embed?profile=qemu-7.2&seed=1`: simulated QEMUs in this process, in virtual time; each
 *   `without-bug=NAME` turns off one of the profile's known bugs
 * - `qemu:///embed?root=DIR&emulator=PATH`: real QEMUs, their sockets below DIR; `image-emulator=PATH` handles images
 *   where the emulator is too old for that
 *
 * What a real connection runs is written down below DIR and outlives it if its process dies: the next one that is opened
 * there goes on with it. The same holds, as long as this process lives, for simulated connections to one
 * `world=NAME`. `pause-around-pivot=yes` is {@link ConnectionOptions.pauseGuestAroundPivot}.
 *
 * @throws VirtError NO_CONNECT for an unknown scheme, INVALID_ARG for an unknown path or parameter
 */
export async function open(uri: string, options: OpenOptions = {}): Promise<Connection> {
  const url = parseUri(uri);
  const name = url.protocol.slice(0, -1);
  const own = options.drivers?.[name];
  if (own) return openConnection({ uri, driver: own(url.searchParams) });
  const scheme = SCHEMES[name];
  if (!scheme)
    throw new VirtError(ErrorCode.NO_CONNECT, `${uri}; use one of ${readyMade()}`, {
      domain: ErrorDomain.NONE,
    });
  if (url.hostname !== '' || url.pathname !== '/embed') {
    throw invalid(
      `${uri} is not served here: the only path is ${name}:///embed, which runs its domains in this process`,
    );
  }
  const unknown = [...url.searchParams.keys()].find((parameter) => !scheme.parameters.includes(parameter));
  if (unknown)
    throw invalid(`unknown parameter '${unknown}' in ${uri}; valid ones are ${scheme.parameters.join(', ')}`);
  const pause = url.searchParams.get(PAUSE) ?? 'no';
  if (pause !== 'yes' && pause !== 'no') throw invalid(`${PAUSE} must be yes or no, not '${pause}'`);
  return recoverConnection({
    uri,
    ...scheme.make(url.searchParams),
    pauseGuestAroundPivot: pause === 'yes',
  });
}

/**
 * {@link open} for those who only look (libvirt: virConnectOpenReadOnly): each call that changes anything is refused
 * OPERATION_DENIED. To close it leaves what runs as {@link Connection.disconnect} does. Whoever holds a connection
 * already has its {@link Connection.openReadOnly}.
 */
export async function openReadOnly(uri: string, options: OpenOptions = {}): Promise<Connection> {
  return (await open(uri, options)).openReadOnly({ isOnly: true });
}

const invalid = (detail: string): VirtError =>
  new VirtError(ErrorCode.INVALID_ARG, detail, { domain: ErrorDomain.NONE });

const readyMade = (): string =>
  Object.keys(SCHEMES)
    .map((name) => `${name}:///embed`)
    .join(', ');

function parseUri(uri: string): URL {
  const url = URL.canParse(uri) ? new URL(uri) : undefined;
  if (!url) throw invalid(`'${uri}' is not a URI; use one of ${readyMade()}`);
  return url;
}

/** What outlives the connections to one world. */
interface Site {
  readonly world: World;
  readonly state: MemoryState;
  readonly survivors: Map<string, BootedQemu>;
}

const sites = new Map<string, Site>();

function siteOf(name: string | null, seed: number): Site {
  const site = (name === null ? undefined : sites.get(name)) ?? {
    world: createWorld({ seed }),
    state: new MemoryState(),
    survivors: new Map(),
  };
  if (name !== null) sites.set(name, site);
  return site;
}

function mockDriver(parameters: URLSearchParams): Backend {
  const seed = parameters.get('seed') ?? '0';
  if (!/^\d{1,15}$/.test(seed)) throw invalid(`seed must be a whole number below 10^15, not '${seed}'`);
  const profile = parameters.get('profile') ?? DEFAULT_PROFILE;
  const valid = profiles.map(({ name }) => name);
  if (!valid.includes(profile))
    throw invalid(`unknown profile '${profile}'; valid ones are ${valid.join(', ')}`);
  const bugs = parameters.getAll('without-bug');
  checkBugs(profile, bugs);
  const name = parameters.get('world');
  const { world, state, survivors } = siteOf(name, Number(seed));
  const driver = createQemuDriver({ host: createMockHost(world, profile, bugs, survivors) });
  return name === null ? { driver } : { driver, state: state.open() };
}

function checkBugs(profile: string, bugs: readonly string[]): void {
  try {
    withoutBugs(profileNamed(profile), bugs);
  } catch (cause) {
    throw invalid((cause as Error).message);
  }
}

function realDriver(parameters: URLSearchParams): Backend {
  const root = parameters.get('root');
  if (!root || !isAbsolute(root)) {
    throw invalid('qemu:///embed needs root=DIR, an absolute directory for its sockets');
  }
  makeRoot(root);
  const emulator = parameters.get('emulator') ?? undefined;
  const imageEmulator = parameters.get('image-emulator') ?? undefined;
  const state = openFileState(join(root, 'state'));
  const saveDirectory = join(root, 'save');
  makeRoot(saveDirectory);
  // Nobody else is here while the lock is held: what an owner that was killed left behind can go.
  sweepOrphans(root);
  const driver = createQemuDriver({ host: createProcessHost({ runtimeDir: root, emulator, imageEmulator }) });
  return { driver, state, saveDirectory };
}

/**
 * Makes the last directory of the path only: node's recursive mkdir never returns where a file system says ENOENT for
 * a parent that is there, as /proc does.
 */
function makeRoot(root: string): void {
  try {
    mkdirSync(root, { mode: 0o700 });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    throw new VirtError(ErrorCode.SYSTEM_ERROR, `cannot create root directory ${root}: ${message}`, {
      cause,
    });
  }
}
