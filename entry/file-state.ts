/** State in a directory: one file for each domain, replaced whole, and a lock that dies with its process. */
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { startOf } from '../drivers/qemu/survivors.ts';
import { ErrorCode, ErrorDomain, type StateStore, VirtError } from '../src/index.ts';

const SUFFIX = '.json';
const KEY = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** The lock of a process that died is taken over; somebody else may be doing the same. */
const LOCK_ATTEMPTS = 5;

/**
 * Opens the state in a directory, which is made if it is not there (its parent has to be).
 * @throws VirtError OPERATION_INVALID while a living process holds it, SYSTEM_ERROR
 */
export function openFileState(directory: string): StateStore {
  attempt(`cannot create state directory ${directory}`, () => makeDirectory(directory));
  const lock = join(directory, 'lock');
  attempt(`cannot lock state directory ${directory}`, () => takeLock(directory, lock));
  let held = true;
  const pathOf = (key: string): string => join(directory, `${key}${SUFFIX}`);
  return {
    load: () => attempt(`cannot read state directory ${directory}`, () => load(directory)),
    write: (key, text) =>
      attempt(`cannot write state file ${pathOf(key)}`, () => replaceFile(directory, pathOf(key), text)),
    remove: (key) =>
      attempt(`cannot remove state file ${pathOf(key)}`, () => {
        rmSync(pathOf(key), { force: true });
        syncDirectory(directory);
      }),
    close() {
      if (held) rmSync(lock, { force: true });
      held = false;
    },
  };
}

function load(directory: string) {
  const keys = readdirSync(directory)
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => name.slice(0, -SUFFIX.length))
    .filter((key) => KEY.test(key));
  return keys.sort().map((key) => {
    const place = join(directory, `${key}${SUFFIX}`);
    return { key, place, text: readFileSync(place, 'utf8') };
  });
}

/** Writes beside it, makes that safe, and puts it in its place in one step. */
function replaceFile(directory: string, path: string, text: string): void {
  const beside = `${path}.new`;
  const file = openSync(beside, 'w', 0o600);
  try {
    const bytes = Buffer.from(text);
    for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(beside, path);
  syncDirectory(directory);
}

function syncDirectory(directory: string): void {
  const handle = openSync(directory, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** The lock names its holder by number and start, for numbers are used again. */
function takeLock(directory: string, lock: string): void {
  const own = `${process.pid} ${startOf(process.pid) ?? ''}\n`;
  const mine = join(directory, `lock.${process.pid}`);
  replaceFile(directory, mine, own);
  try {
    for (let tries = 0; tries < LOCK_ATTEMPTS; tries++) {
      if (linked(mine, lock)) return;
      const holder = contentOf(lock);
      if (holder !== undefined && isAlive(holder)) throw refused(directory, holder);
      if (holder !== undefined) breakLock(lock, `${mine}.stale`, holder);
    }
    throw refused(directory, contentOf(lock) ?? 'another process');
  } finally {
    rmSync(mine, { force: true });
  }
}

/** Moves a dead process's lock away; if another one was quicker, what was moved is theirs and goes back. */
function breakLock(lock: string, aside: string, dead: string): void {
  try {
    renameSync(lock, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  if (contentOf(aside) !== dead) linked(aside, lock);
  rmSync(aside, { force: true });
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function isAlive(holder: string): boolean {
  const [pid = '', started = ''] = holder.trim().split(' ');
  return /^\d+$/.test(pid) && startOf(Number(pid)) === started;
}

function refused(directory: string, holder: string): VirtError {
  return new VirtError(
    ErrorCode.OPERATION_INVALID,
    `state directory ${directory} is in use by process ${holder.trim().split(' ')[0]}`,
    {
      domain: ErrorDomain.NONE,
      hint: 'Use the connection of that process, end it, or choose another root directory.',
    },
  );
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

function attempt<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof VirtError) throw cause;
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new VirtError(ErrorCode.SYSTEM_ERROR, `${what}: ${message}`, { domain: ErrorDomain.NONE, cause });
  }
}
