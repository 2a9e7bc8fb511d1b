/** Processes over a unix socket: how soon they greet, and how fast they answer. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Measure, percentile } from '../figure.ts';

const STARTS = 10;
const WARM_UP = 500;
const ROUND_TRIPS = 3000;
const BATCHES = 10;
const MICROSECONDS = 1000;

/** A program that takes QEMU's arguments. */
type Program = readonly [file: string, ...argv: string[]];

const mockQemu: Program = [
  process.execPath,
  fileURLToPath(new URL('../../dist/mock-qemu/shells/cli.js', import.meta.url)),
];

/** A running emulator and a connection to it. */
class Served {
  readonly greetingMs: number;
  readonly #child: ChildProcess;
  readonly #socket: Socket;
  readonly #directory: string;

  private constructor(child: ChildProcess, socket: Socket, directory: string, greetingMs: number) {
    this.#child = child;
    this.#socket = socket;
    this.#directory = directory;
    this.greetingMs = greetingMs;
  }

  static async start([file, ...argv]: Program): Promise<Served> {
    const directory = mkdtempSync(join(tmpdir(), 'mockvirt-bench-'));
    const path = join(directory, 'qmp');
    const monitor = ['-qmp', `unix:${path},server=on,wait=off`];
    const started = performance.now();
    const child = spawn(file, [...argv, '-machine', 'none', '-nodefaults', '-display', 'none', ...monitor], {
      stdio: 'ignore',
    });
    const socket = await reach(path);
    await line(socket);
    return new Served(child, socket, directory, performance.now() - started);
  }

  async negotiate(): Promise<void> {
    await this.roundTripMs('{"execute":"qmp_capabilities"}');
  }

  async roundTripMs(request = '{"execute":"query-status"}'): Promise<number> {
    const started = performance.now();
    this.#socket.write(request);
    await line(this.#socket);
    return performance.now() - started;
  }

  async stop(): Promise<void> {
    this.#socket.destroy();
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** A connection, as soon as there is someone to connect to. */
async function reach(path: string): Promise<Socket> {
  for (;;) {
    const socket = connect(path);
    const reached = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    if (reached) return socket;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Waits for the end of the next line. */
function line(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const onData = (bytes: Buffer) => {
      if (!bytes.includes('\n')) return;
      socket.off('data', onData);
      resolve();
    };
    socket.on('data', onData);
  });
}

async function greetingMs(program: Program): Promise<number> {
  const served = await Served.start(program);
  await served.stop();
  return served.greetingMs;
}

/** Programs in turns, so that what else the machine does hits all alike; the samples of each. */
async function inTurns<T>(
  parts: readonly T[],
  rounds: number,
  sample: (part: T) => Promise<readonly number[]>,
): Promise<number[][]> {
  const samples = parts.map((): number[] => []);
  for (let round = 0; round < rounds; round++)
    for (const [index, part] of parts.entries()) samples[index]?.push(...(await sample(part)));
  return samples;
}

async function roundTrips(served: Served, count: number): Promise<number[]> {
  const samples: number[] = [];
  for (let number = 0; number < count; number++) samples.push((await served.roundTripMs()) * MICROSECONDS);
  return samples;
}

const programs = (emulator: string | undefined): Program[] =>
  emulator === undefined ? [mockQemu] : [mockQemu, [emulator]];

/** How long it takes from spawn(2) to the greeting. */
export const greeting: Measure = async ({ emulator }) => {
  const [simulated = [], real] = await inTurns(programs(emulator), STARTS, async (program) => [
    await greetingMs(program),
  ]);
  return [
    {
      id: 'greeting-ms',
      title: 'from spawn to greeting, median',
      unit: 'ms',
      simulated: percentile(simulated, 0.5),
      ...(real && { real: percentile(real, 0.5) }),
      note: 'the start of Node itself included',
    },
  ];
};

/** How long query-status takes over a unix socket. */
export const roundTrip: Measure = async ({ emulator }) => {
  const served: Served[] = [];
  try {
    for (const program of programs(emulator)) served.push(await Served.start(program));
    for (const each of served) {
      await each.negotiate();
      await roundTrips(each, WARM_UP);
    }
    const perBatch = ROUND_TRIPS / BATCHES;
    const [simulated = [], real] = await inTurns(served, BATCHES, (each) => roundTrips(each, perBatch));
    return (
      [
        ['p50', 0.5],
        ['p99', 0.99],
      ] as const
    ).map(([name, share]) => {
      const value = percentile(simulated, share);
      const compared = real && percentile(real, share);
      return {
        id: `round-trip-${name}-us`,
        title: `QMP round trip over a unix socket, ${name}`,
        unit: 'µs',
        simulated: value,
        ...(compared !== undefined && { real: compared }),
        ...(compared !== undefined &&
          name === 'p50' && { goal: { text: '<= real', met: value <= compared } }),
      };
    });
  } finally {
    await Promise.all(served.map((each) => each.stop()));
  }
};
