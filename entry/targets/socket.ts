/** The target of any QMP server that listens on a unix socket: started by somebody else, and left running. */
import { mkdtemp, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Availability, OpenOptions, Session, Target } from '../../conformance/index.ts';
import { isObject, objectAt, type WireMessage } from '../../conformance/wire.ts';
import type { Emulator, Host } from '../../drivers/qemu/host.ts';
import { nodeFiles } from '../../drivers/qemu/node-files.ts';
import { connectSocket } from '../../drivers/qemu/socket-duplex.ts';
import { ErrorCode, type HypervisorDriver, type Timers, VirtError } from '../../src/index.ts';
import { wallClock } from '../../src/util/timers.ts';
import { belongings, clearServer, createQmpImage, qmpContents } from './qmp-images.ts';
import { openSession, tapped } from './session.ts';
import { SharedStream } from './shared-stream.ts';

const GREETING_MS = 5_000;
const NO_DOMAINS = {
  pull: false,
  commit: false,
  activeCommit: false,
  copy: false,
  synchronousWrites: false,
  readyEvent: false,
  copyTuning: false,
  monotonicProgress: false,
} as const;

/** What is up to the server; the rest is up to who started it, or to there being only a socket. */
const OWN = ['qmp', 'qmpJobChange', 'qmpActive', 'earlyQmp'] as const;

/** Where a server is, and where it and this process can both put images. */
export interface SocketOptions {
  readonly socket: string;
  /** The socket's own directory when left out; each case gets one of its own below it. */
  readonly directory?: string;
}

/** The `qmp/` contracts on the server behind a socket, which has to be one with nothing in it. */
export function socketTarget({ socket, directory }: SocketOptions): Target {
  const path = resolve(socket);
  const parent = resolve(directory ?? dirname(path));
  return {
    id: 'qmp',
    title: `the QMP server at ${path}`,
    runs: 5,
    shrinks: 10,
    isWithoutCanaries: true,
    available: () => availabilityOf(path),
    open: (options) => openSocketSession(path, parent, options),
  };
}

async function openSocketSession(path: string, parent: string, options: OpenOptions): Promise<Session> {
  const directory = await mkdtemp(join(parent, 'mockvirt-'));
  const server = new SocketServer(path);
  const { host, trace } = tapped(server, options);
  return openSession({
    uri: 'qmp:///socket',
    driver: withoutDomains(server.timers),
    directory,
    createImage: (spec) => createQmpImage(server.stream, spec),
    contents: qmpContents,
    qmpHost: host,
    ...(trace ? { trace } : {}),
    async cleanUp() {
      try {
        await withServer(path, clearServer);
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    },
  });
}

/** The server as a host that has nothing to launch: it is there. */
class SocketServer implements Host {
  readonly timers = wallClock;
  readonly files = nodeFiles;
  readonly #path: string;
  readonly #streams: SharedStream[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  /** The connection of the contract that is running. */
  get stream(): SharedStream {
    const stream = this.#streams.at(-1);
    if (!stream) throw new Error('no connection to the QMP server is open');
    return stream;
  }

  async launch(): Promise<Emulator> {
    return {
      connect: async () => {
        const stream = new SharedStream(await connectSocket(this.#path));
        this.#streams.push(stream);
        return stream;
      },
      exited: new Promise(() => {}),
      output: () => '',
      terminate: () => this.close(),
    };
  }

  async close(): Promise<void> {
    for (const stream of this.#streams.splice(0)) stream.close();
  }
}

/** Does something on a negotiated connection of its own. @throws Error if nobody greets */
async function withServer<T>(path: string, work: (stream: SharedStream) => Promise<T>): Promise<T> {
  const stream = new SharedStream(await connectSocket(path));
  const impatience = setTimeout(() => stream.close(), GREETING_MS);
  try {
    await stream.greeting.catch((cause) => {
      throw new Error('it does not greet; another client may hold its one connection', { cause });
    });
    clearTimeout(impatience);
    await stream.execute('qmp_capabilities');
    return await work(stream);
  } finally {
    clearTimeout(impatience);
    stream.close();
  }
}

async function availabilityOf(path: string): Promise<Availability> {
  try {
    return await withServer(path, look);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { ok: false, reason: `the QMP server at ${path} cannot be used: ${why}` };
  }
}

/** What the server is, and what the way it was started allows. */
async function look(stream: SharedStream): Promise<Availability> {
  const { jobs, nodes } = await belongings(stream);
  if (jobs.length + nodes.length > 0)
    throw new Error(
      'it has block nodes or jobs of its own, which a run would end; start one with -machine none -nodefaults',
    );
  const ask = async (command: string): Promise<WireMessage> => {
    const value = await stream.execute(command);
    return isObject(value) ? value : {};
  };
  const { major, minor, micro } = objectAt(await ask('query-version'), 'qemu');
  return {
    ok: true,
    version: `the server (QEMU ${[major, minor, micro].map(String).join('.')})`,
    capabilities: {
      ...NO_DOMAINS,
      qmp: true,
      qmpEndable: false,
      qmpRunning: (await ask('query-status')).status === 'running',
      qmpUnnamed: (await ask('query-name')).name === undefined,
      qmpJobChange: JSON.stringify(await stream.execute('query-commands')).includes('"block-job-change"'),
    },
    own: OWN,
  };
}

/** A socket has no domains; contracts that need some are skipped by the capabilities. */
function withoutDomains(timers: Timers): HypervisorDriver {
  const refuse = async (): Promise<never> => {
    throw new VirtError(ErrorCode.NO_SUPPORT, 'a QMP socket has no domains and no volumes');
  };
  return {
    name: 'qmp',
    timers,
    volumes: { create: refuse, inspect: refuse, stat: refuse, remove: refuse },
    start: refuse,
    close: async () => {},
  };
}
