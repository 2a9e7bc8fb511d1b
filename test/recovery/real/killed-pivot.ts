/** One real pivot, cut off by SIGKILL at some instant while a guest writes, and what a new connection says of it. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { QmpClient } from '../../../drivers/qemu/qmp-client.ts';
import { isQmpObject } from '../../../drivers/qemu/qmp-json.ts';
import { connectSocket } from '../../../drivers/qemu/socket-duplex.ts';
import { wallClock } from '../../../src/util/timers.ts';
import { type Found, judge } from './judge.ts';

const execute = promisify(execFile);
const MANAGER = join(import.meta.dirname, 'manager.ts');
const SLOT_BYTES = 4096;
const SLOTS = 2048;
/** The guest has written so often before the pivot is asked for. */
const FIRST_WRITES = 5;
/** A pivot that lost its QEMU is given this long to be refused. */
const REFUSAL_MS = 100;
/** How long the guest goes on beside the new connection. */
const AFTERLIFE_MS = 20;

export const VICTIMS = ['management', 'qemu', 'both'] as const;
export const KINDS = ['copy', 'active-commit'] as const;
/** What can be broken on purpose, to see it caught. */
export const PLANTS = ['swapped-outcome', 'lost-write', 'paused-guest'] as const;

/** What is done, and who is killed when. */
export interface KillCase {
  readonly kind: (typeof KINDS)[number];
  readonly victim: (typeof VICTIMS)[number];
  /** After the pivot was asked for, in ms. */
  readonly delayMs: number;
  readonly pauses: boolean;
  readonly emulator: string;
  readonly plant?: (typeof PLANTS)[number];
}

/** What came of it. */
export interface KillResult {
  /** `alive on copy`, `completed`, `failed`, `unknown` or `told`. */
  readonly name: string;
  readonly wrong: readonly string[];
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A QEMU with one more monitor; images are handled without a guest, and that one has no use for it. */
function wrapper(root: string, emulator: string): string {
  const path = join(root, 'emulator');
  writeFileSync(
    path,
    `#!/bin/sh\ncase "$*" in *guest=vm*) exec ${emulator} "$@" -qmp unix:${root}/guest,server=on,wait=off;; *) exec ${emulator} "$@";; esac\n`,
  );
  chmodSync(path, 0o700);
  return path;
}

/** A management process and the facts that it has told so far. */
class Manager {
  readonly child: ChildProcess;
  readonly facts: Record<string, unknown>[] = [];
  readonly exited: Promise<unknown>;
  readonly #lines: AsyncIterator<string>;

  constructor(what: string, root: string, pauses: boolean) {
    this.child = spawn(
      process.execPath,
      [MANAGER, what, root, join(root, 'emulator'), pauses ? 'yes' : 'no'],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    this.exited = new Promise((resolve) => this.child.once('close', resolve));
    this.#lines = createInterface({ input: this.child.stdout ?? process.stdin })[Symbol.asyncIterator]();
  }

  /** The next fact; undefined once there is none any more. */
  async next(): Promise<Record<string, unknown> | undefined> {
    const { value } = await this.#lines.next();
    return value === undefined ? undefined : (JSON.parse(value) as Record<string, unknown>);
  }
}

/** Writes and flushes until its machine is gone or it is stopped. */
class Guest {
  /** What was acknowledged, by slot. */
  readonly byteOf = new Map<number, number>();
  #stopped = false;
  #client: QmpClient | undefined;

  async run(root: string): Promise<void> {
    const client = await QmpClient.connect(() => connectSocket(`${root}/guest`), { timers: wallClock });
    this.#client = client;
    const io = (command: string) =>
      client.execute('human-monitor-command', {
        'command-line': `qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "${command}"`,
      });
    try {
      for (let n = 0; !this.#stopped; n++) {
        const status = await client.execute('query-status');
        if (!isQmpObject(status) || status.running !== true) continue;
        const slot = n % SLOTS;
        const byte = (n % 254) + 1;
        const said = [await io(`write -P ${byte} ${slot * SLOT_BYTES} ${SLOT_BYTES}`), await io('flush')];
        if (said.join('').includes('rror')) continue;
        this.byteOf.set(slot, byte);
      }
    } catch {
      // The machine is gone.
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#client?.close();
  }

  /** Whether an image holds everything that was acknowledged. */
  async isIn(path: string): Promise<boolean> {
    if (!existsSync(path)) return false;
    const raw = `${path}.raw`;
    await execute('qemu-img', ['convert', '-U', '-O', 'raw', path, raw]);
    const bytes = readFileSync(raw);
    rmSync(raw);
    return [...this.byteOf].every(([slot, byte]) => bytes[slot * SLOT_BYTES] === byte);
  }
}

function pidOf(root: string): number | undefined {
  const directory = join(root, 'state');
  const name = readdirSync(directory).find((entry) => entry.endsWith('.json'));
  const text = name && readFileSync(join(directory, name), 'utf8');
  return text ? (JSON.parse(JSON.parse(text).run.handle).pid as number) : undefined;
}

function kill(pid: number | undefined): void {
  try {
    if (pid) process.kill(pid, 'SIGKILL');
  } catch {
    // It was quicker.
  }
}

/** Runs the pivot and cuts it off; whether its caller was told that it completed. */
async function cutOff(test: KillCase, first: Manager, pid: number | undefined): Promise<boolean> {
  first.child.stdin?.write('go\n');
  await sleep(test.delayMs);
  if (test.victim !== 'management') kill(pid);
  if (test.victim !== 'qemu') first.child.kill('SIGKILL');
  else setTimeout(() => first.child.kill('SIGKILL'), REFUSAL_MS);
  const answer = await first.next();
  await first.exited;
  return answer?.told === true;
}

const SWAPPED: Readonly<Record<string, string>> = {
  completed: 'failed',
  failed: 'completed',
  unknown: 'failed',
};

/** Breaks what was found, or what was promised. */
function plantIn(found: Found, guest: Guest, plant: KillCase['plant']): Found {
  if (plant === 'lost-write') guest.byteOf.set(SLOTS - 1, 0xff);
  if (plant === 'paused-guest') return { ...found, state: 3 };
  if (plant !== 'swapped-outcome') return found;
  const swap = ({ outcome }: { readonly outcome: string }) => ({ outcome: SWAPPED[outcome] ?? outcome });
  return { ...found, outcomes: (found.outcomes ?? []).map(swap) };
}

/** Runs a case in a directory of its own. */
export async function killPivot(test: KillCase): Promise<KillResult> {
  const root = mkdtempSync(join(tmpdir(), 'mockvirt-kill-'));
  let pid: number | undefined;
  try {
    wrapper(root, test.emulator);
    const first = new Manager(test.kind, root, test.pauses);
    if (!(await first.next())) return { name: 'no start', wrong: ['the domain could not be started'] };
    pid = pidOf(root);
    const guest = new Guest();
    const writing = guest.run(root);
    while (guest.byteOf.size < FIRST_WRITES) await sleep(1);
    const told = await cutOff(test, first, pid);
    if (test.victim !== 'management') await writing;
    const promised = guest.byteOf.size;
    const second = new Manager('look', root, test.pauses);
    setTimeout(() => guest.stop(), AFTERLIFE_MS);
    const seen = ((await second.next()) ?? {}) as unknown as Found;
    await second.exited;
    guest.stop();
    await writing;
    const found = plantIn(seen, guest, test.plant);
    const wrong = await examine(found, guest, { root, pauses: test.pauses, promised, told });
    return { name: nameOf(found), wrong };
  } finally {
    kill(pid);
    rmSync(root, { recursive: true, force: true });
  }
}

function nameOf({ alive, active, outcomes }: Found): string {
  if (alive) return `alive on ${active?.split('/').at(-1)?.replace('.qcow2', '')}`;
  return outcomes?.[0]?.outcome ?? 'told';
}

interface Known {
  readonly root: string;
  readonly pauses: boolean;
  readonly promised: number;
  readonly told: boolean;
}

async function examine(found: Found, guest: Guest, { root, ...known }: Known): Promise<string[]> {
  const source = join(root, 'source.qcow2');
  const destination = join(root, 'destination.qcow2');
  const held = new Map<string, boolean>();
  for (const path of [source, destination]) held.set(path, await guest.isIn(path));
  return judge(found, { holds: (path) => held.get(path) ?? false, source, destination, ...known });
}
