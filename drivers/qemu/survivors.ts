/** Emulators that outlive the process that launched them: how they are found again, and what they are then. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { ErrorCode, VirtError } from '../../src/errors.ts';
import type { Duplex } from '../../src/qmp/duplex.ts';
import type { Timers } from '../../src/util/timers.ts';
import { systemError, systemErrorCode } from './errors.ts';
import type { Emulator, EmulatorExit } from './host.ts';
import { isQmpObject, parseQmp, type QmpValue, stringifyQmp } from './qmp-json.ts';
import { connectSocket } from './socket-duplex.ts';

const POLL_MS = 5;
const OUTPUT_CHARACTERS = 16 * 1024;

/** What a process is found by. A number alone may be somebody else's by now. */
export interface ProcessHandle {
  readonly pid: number;
  /** When it started, in the kernel's ticks since boot. */
  readonly started: string;
  /** Where its socket and its output are. */
  readonly directory: string;
}

/** The monitor's socket. */
export function socketIn(directory: string): string {
  return join(directory, 'qmp');
}

/** Where the output goes of an emulator that nobody may be there to listen to. */
export function outputIn(directory: string): string {
  return join(directory, 'output');
}

/** Where an emulator that has to end with this process says so, for whoever finds it should it not. */
function ownedIn(directory: string): string {
  return join(directory, 'owned');
}

/** Notes that an emulator belongs to this process. */
export function noteOwned(pid: number, directory: string): void {
  const emulator = formatHandle({ pid, started: startOf(pid) ?? '', directory });
  const owner = formatHandle({ pid: process.pid, started: startOf(process.pid) ?? '', directory });
  writeFileSync(ownedIn(directory), `${emulator}\n${owner}\n`, { mode: 0o600 });
}

/**
 * Ends emulators below a directory whose owner was killed before it could end them, and removes what is left of them.
 */
export function sweepOrphans(parent: string): void {
  for (const name of readdirSync(parent)) {
    const directory = join(parent, name);
    if (!name.startsWith('mockvirt-') || !existsSync(ownedIn(directory))) continue;
    const [emulator, owner] = readFileSync(ownedIn(directory), 'utf8').split('\n', 2).map(tryHandle);
    if (!emulator || !owner || startOf(owner.pid) === owner.started) continue;
    killIfThere(emulator);
    rmSync(directory, { recursive: true, force: true });
  }
}

function tryHandle(text: string): ProcessHandle | undefined {
  try {
    return parseHandle(text);
  } catch {
    return undefined;
  }
}

/** SIGKILL to an emulator, by its handle, if it is there. */
export function killHandle(text: string): void {
  killIfThere(parseHandle(text));
}

// A number that another process has got by now is not the emulator's.
function killIfThere({ pid, started }: ProcessHandle): void {
  if (startOf(pid) === started) killGroup(pid, 'SIGKILL');
}

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    // Emulators lead process groups of their own.
    process.kill(-pid, signal);
  } catch (error) {
    if (systemErrorCode(error) !== 'ESRCH') throw error;
  }
}

/** When a process started; undefined if it has ended, reaped or not. */
export function startOf(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The name in parentheses may hold anything; the state is the first field behind it, the start the twentieth.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

/** The text of a handle. */
export function formatHandle({ pid, started, directory }: ProcessHandle): string {
  return stringifyQmp({ pid, started, directory });
}

function parseHandle(text: string): ProcessHandle {
  let handle: QmpValue | undefined;
  try {
    handle = parseQmp(text);
  } catch {
    handle = undefined;
  }
  if (isQmpObject(handle)) {
    const { pid, started, directory } = handle;
    const isPid = typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 1;
    if (isPid && typeof started === 'string' && typeof directory === 'string')
      return { pid, started, directory };
  }
  throw new VirtError(ErrorCode.INTERNAL_ERROR, `'${text.slice(0, 80)}' is not the handle of an emulator`);
}

/** The last of what an emulator wrote to its file. */
export function outputOf(directory: string): string {
  try {
    return readFileSync(outputIn(directory), 'utf8').slice(-OUTPUT_CHARACTERS);
  } catch {
    return '';
  }
}

/**
 * Finds an emulator that an earlier process launched; undefined if it has ended.
 * @param graceMs how long SIGTERM is given before SIGKILL
 */
export function adoptProcess(text: string, timers: Timers, graceMs: number): Emulator | undefined {
  const handle = parseHandle(text);
  if (startOf(handle.pid) === handle.started) return new AdoptedProcess(handle, timers, graceMs);
  rmSync(socketIn(handle.directory), { force: true });
  rmSync(outputIn(handle.directory), { force: true });
  return undefined;
}

/** A process that is no child of this one: the system tells nobody but its parent how it ended. */
class AdoptedProcess implements Emulator {
  readonly exited: Promise<EmulatorExit>;
  readonly #handle: ProcessHandle;
  readonly #timers: Timers;
  readonly #graceMs: number;
  readonly #exited = Promise.withResolvers<EmulatorExit>();
  #terminating: Promise<void> | undefined;

  constructor(handle: ProcessHandle, timers: Timers, graceMs: number) {
    this.#handle = handle;
    this.#timers = timers;
    this.#graceMs = graceMs;
    this.exited = this.#exited.promise;
  }

  async connect(): Promise<Duplex> {
    try {
      return await connectSocket(socketIn(this.#handle.directory));
    } catch (cause) {
      throw systemError(`Failed to connect to the monitor of process ${this.#handle.pid}`, cause);
    }
  }

  output(): string {
    return outputOf(this.#handle.directory);
  }

  terminate(): Promise<void> {
    this.#terminating ??= this.#terminate();
    return this.#terminating;
  }

  leave(): void {
    // Nothing of it is this process's.
  }

  async #terminate(): Promise<void> {
    this.#kill('SIGTERM');
    const deadline = this.#timers.now() + this.#graceMs;
    let killed = false;
    while (this.#isThere()) {
      if (!killed && this.#timers.now() >= deadline) {
        this.#kill('SIGKILL');
        killed = true;
      }
      // A timer of node's own: those of the port do not keep a process alive that only waits for this.
      await setTimeout(POLL_MS);
    }
    rmSync(this.#handle.directory, { recursive: true, force: true });
    this.#exited.resolve({ code: null, signal: null });
  }

  #isThere(): boolean {
    return startOf(this.#handle.pid) === this.#handle.started;
  }

  #kill(signal: NodeJS.Signals): void {
    if (this.#isThere()) killGroup(this.#handle.pid, signal);
  }
}
