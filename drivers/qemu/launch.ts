/** Emulators as real processes: QEMU itself, or anything that takes its arguments and speaks its protocol. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ErrorCode, VirtError } from '../../src/errors.ts';
import type { Duplex } from '../../src/qmp/duplex.ts';
import { type Timers, wallClock } from '../../src/util/timers.ts';
import { optionValue } from './arguments.ts';
import { describeEnd, strerror, systemError, systemErrorCode } from './errors.ts';
import type { Emulator, EmulatorExit, Host } from './host.ts';
import { nodeFiles } from './node-files.ts';
import { atProcessEnd } from './reaper.ts';
import { connectSocket } from './socket-duplex.ts';
import { adoptProcess, formatHandle, noteOwned, outputIn, outputOf, socketIn, startOf } from './survivors.ts';

/** How real processes are run. */
export interface ProcessHostOptions {
  /** What is run where nothing else is named; found through PATH. */
  readonly emulator?: string;
  /** An emulator that handles images where the one in use cannot (before QEMU 3.0); none by default. */
  readonly imageEmulator?: string | undefined;
  /** Where each emulator gets a directory of its own for its socket; the system's temporary directory by default. */
  readonly runtimeDir?: string;
  readonly timers?: Timers;
  /** How long a process may take to open its monitor; 30 s by default. */
  readonly startTimeoutMs?: number;
  /** How long SIGTERM is given before SIGKILL; 5 s by default. */
  readonly graceMs?: number;
}

/** A host of real processes. */
export interface ProcessHost extends Host {
  /** The processes that are running now. */
  readonly pids: ReadonlySet<number>;
}

interface Limits {
  readonly startTimeoutMs: number;
  readonly graceMs: number;
}

const DEFAULT_EMULATOR = 'qemu-system-x86_64';
const DEFAULT_START_MS = 30_000;
const DEFAULT_GRACE_MS = 5_000;
const POLL_MS = 5;
/** sun_path of Linux holds 108 bytes, the last of which is the end. */
const SOCKET_PATH_BYTES = 107;
/** What QEMU prints because of `wait=on`: no news to whoever reads its output. */
const WAITING_LINE = /^.*: info: QEMU waiting for connection on: .*\n?/gm;
const OUTPUT_CHARACTERS = 16 * 1024;
const INSTALL = 'install one with `apt-get install qemu-system-x86`, or name another emulator';
/** What connect(2) says before a server listens. */
const NOT_LISTENING: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ECONNREFUSED']);

/** Builds a host that spawns processes and ends them when it is closed, or when this process ends. */
export function createProcessHost(options: ProcessHostOptions = {}): ProcessHost {
  const timers = options.timers ?? wallClock;
  const limits = {
    startTimeoutMs: options.startTimeoutMs ?? DEFAULT_START_MS,
    graceMs: options.graceMs ?? DEFAULT_GRACE_MS,
  };
  const running = new Set<EmulatorProcess>();
  const pids = new Set<number>();
  let closed = false;

  return {
    timers,
    files: nodeFiles,
    ...(options.imageEmulator === undefined ? {} : { imageEmulator: options.imageEmulator }),
    pids,
    async launch(emulator, argv, launched) {
      const binary = emulator ?? options.emulator ?? DEFAULT_EMULATOR;
      const directory = await makeRuntimeDirectory(options.runtimeDir ?? tmpdir());
      if (closed) {
        rmSync(directory, { recursive: true, force: true });
        throw new VirtError(
          ErrorCode.OPERATION_INVALID,
          'the host of emulators is closed: open a new connection',
        );
      }
      const child = await EmulatorProcess.spawn({
        binary,
        argv,
        directory,
        timers,
        limits,
        launched,
        left: () => running.delete(child),
      });
      running.add(child);
      pids.add(child.pid);
      void child.exited.then(() => {
        running.delete(child);
        pids.delete(child.pid);
      });
      await child.waitForMonitor();
      return child;
    },
    attach: async (handle) => adoptProcess(handle, timers, limits.graceMs),
    async close() {
      closed = true;
      await Promise.all([...running].map((child) => child.terminate()));
    },
  };
}

async function makeRuntimeDirectory(parent: string): Promise<string> {
  const socket = socketIn(join(parent, 'mockvirt-XXXXXX'));
  const bytes = Buffer.byteLength(socket);
  if (bytes > SOCKET_PATH_BYTES) {
    throw new VirtError(
      ErrorCode.INVALID_ARG,
      `the socket path ${socket} has ${bytes} bytes and a unix socket's path holds ${SOCKET_PATH_BYTES}: ` +
        'choose a shorter runtime directory',
    );
  }
  try {
    // mkdtemp makes it 0700: whoever reaches the socket owns the machine.
    return await mkdtemp(join(parent, 'mockvirt-'));
  } catch (cause) {
    throw systemError(`cannot create a runtime directory in ${parent}`, cause);
  }
}

/** libvirt's words for a binary that cannot be run. */
function cannotRun(binary: string, cause: unknown): unknown {
  const code = systemErrorCode(cause);
  if (code !== 'ENOENT' && code !== 'EACCES') return systemError(`cannot run QEMU binary ${binary}`, cause);
  const what =
    code === 'ENOENT' ? `Cannot check QEMU binary ${binary}` : `QEMU binary ${binary} is not executable`;
  const error = systemError(what, cause);
  const errno = error instanceof VirtError ? error.errno : undefined;
  const options = errno === undefined ? { cause } : { cause, errno };
  return new VirtError(ErrorCode.SYSTEM_ERROR, `${what}: ${strerror(code)}; ${INSTALL}`, options);
}

/** What a process is started with. */
interface LaunchParts {
  readonly binary: string;
  readonly argv: readonly string[];
  readonly directory: string;
  readonly timers: Timers;
  readonly limits: Limits;
  /** It outlives this process. */
  readonly launched: ((handle: string) => void) | undefined;
  /** It has been left alone. */
  readonly left: () => void;
}

/** One child process with its monitor socket. */
class EmulatorProcess implements Emulator {
  readonly exited: Promise<EmulatorExit>;
  readonly pid: number;
  readonly #binary: string;
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #timers: Timers;
  readonly #limits: Limits;
  #output = '';
  #exit: EmulatorExit | undefined;
  #first: Duplex | undefined;

  readonly #left: () => void;
  /** undefined: it ends with this process. */
  readonly leave: (() => void) | undefined;

  private constructor(
    { binary, directory, timers, limits, launched, left }: LaunchParts,
    child: ChildProcess,
    pid: number,
  ) {
    this.#binary = binary;
    this.#child = child;
    this.pid = pid;
    this.#directory = directory;
    this.#timers = timers;
    this.#limits = limits;
    this.#left = left;
    this.leave = launched && (() => this.#leave());
    const keep = (text: string) => {
      this.#output = (this.#output + text).slice(-OUTPUT_CHARACTERS);
    };
    child.stdout?.setEncoding('utf8').on('data', keep);
    child.stderr?.setEncoding('utf8').on('data', keep);
    const forget = launched
      ? () => undefined
      : atProcessEnd(() => {
          this.#kill('SIGKILL');
          this.#removeDirectory();
        });
    const { promise, resolve } = Promise.withResolvers<EmulatorExit>();
    this.exited = promise;
    // What the process started itself must not outlive it, nor hold its output open.
    child.once('exit', () => this.#kill('SIGKILL'));
    child.once('close', (code, signal) => {
      this.#exit = { code, signal };
      this.#first?.close();
      this.#removeDirectory();
      forget();
      resolve(this.#exit);
    });
  }

  /** Starts a process; rejects, the directory removed, if the system cannot. */
  static async spawn(parts: LaunchParts): Promise<EmulatorProcess> {
    const { binary, argv, directory, launched } = parts;
    // wait=on: a client that comes while the monitor is being set up may lose its first command, or be greeted twice
    // (docs/discoveries/monitor-before-it-is-set-up.md).
    const monitor = ['-qmp', `unix:${optionValue(socketIn(directory))},server=on,wait=on`];
    // What outlives this process must not write into pipes that nobody reads.
    const output = launched ? openSync(outputIn(directory), 'a', 0o600) : 'pipe';
    const child = spawn(binary, [...argv, ...monitor], {
      detached: true,
      stdio: ['ignore', output, output],
      env: { ...process.env, LC_ALL: 'C' },
    });
    if (typeof output === 'number') closeSync(output);
    const { pid } = child;
    if (pid !== undefined) {
      if (launched) launched(formatHandle({ pid, started: startOf(pid) ?? '', directory }));
      else noteOwned(pid, directory);
      return new EmulatorProcess(parts, child, pid);
    }
    const { promise, resolve } = Promise.withResolvers<Error>();
    child.once('error', resolve);
    const cause = await promise;
    rmSync(directory, { recursive: true, force: true });
    throw cannotRun(binary, cause);
  }

  /** Resolves when the monitor takes connections; otherwise nothing of the process is left. */
  async waitForMonitor(): Promise<void> {
    const deadline = this.#timers.now() + this.#limits.startTimeoutMs;
    try {
      while (this.#first === undefined) {
        if (this.#exit !== undefined)
          throw this.#unusable(`ended (${describeEnd(this.#exit, this.output())})`);
        if (this.#timers.now() > deadline) {
          throw this.#unusable(`opened no monitor within ${this.#limits.startTimeoutMs} ms${this.#said()}`);
        }
        this.#first = await this.#tryConnect();
      }
    } catch (error) {
      await this.terminate();
      throw error;
    }
  }

  async connect(): Promise<Duplex> {
    const first = this.#first;
    this.#first = undefined;
    if (first !== undefined) return first;
    try {
      return await connectSocket(socketIn(this.#directory));
    } catch (cause) {
      throw systemError(`Failed to connect to the monitor of ${this.#binary}`, cause);
    }
  }

  output(): string {
    const output = this.leave ? outputOf(this.#directory) : this.#output;
    return output.replaceAll(WAITING_LINE, '');
  }

  #leave(): void {
    this.#child.unref();
    this.#left();
  }

  async terminate(): Promise<void> {
    this.#kill('SIGTERM');
    const cancel = this.#timers.after(this.#limits.graceMs, () => this.#kill('SIGKILL'));
    await this.exited;
    cancel();
  }

  /** One attempt; undefined, after a short while, if nothing listens yet. */
  async #tryConnect(): Promise<Duplex | undefined> {
    try {
      return await connectSocket(socketIn(this.#directory));
    } catch (error) {
      if (!NOT_LISTENING.has(systemErrorCode(error)))
        throw systemError('Failed to connect to the monitor', error);
    }
    const pause = Promise.withResolvers<void>();
    const cancel = this.#timers.after(POLL_MS, () => pause.resolve());
    await Promise.race([pause.promise, this.exited]);
    cancel();
    return undefined;
  }

  #kill(signal: NodeJS.Signals): void {
    if (this.#exit !== undefined) return;
    try {
      process.kill(-this.pid, signal);
    } catch (error) {
      // The group is gone, or not there yet: the child sets it up between fork and exec.
      if (systemErrorCode(error) === 'ESRCH') this.#child.kill(signal);
      else throw error;
    }
  }

  #said(): string {
    const said = this.output().trim();
    return said === '' ? '' : `: ${said}`;
  }

  #unusable(what: string): VirtError {
    return new VirtError(
      ErrorCode.INTERNAL_ERROR,
      `QEMU binary ${this.#binary} ${what}; check that it is a qemu-system emulator`,
    );
  }

  #removeDirectory(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
