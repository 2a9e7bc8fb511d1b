/**
 * Kills real processes at random instants of a pivot while a guest writes, and asks a new connection what happened:
 * `node scripts/kill-pivots.ts [RUNS] [SEED] [yes|no: pause]`. The guest's writes go through a monitor of its own, so
 * they go on when the management process is dead; it writes only while the CPUs run.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
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
import fc from 'fast-check';
import { QmpClient } from '../drivers/qemu/qmp-client.ts';
import { isQmpObject } from '../drivers/qemu/qmp-json.ts';
import { connectSocket } from '../drivers/qemu/socket-duplex.ts';
import { wallClock } from '../src/util/timers.ts';

const [runs = '200', seed = '1', pause = 'no'] = process.argv.slice(2);
const QEMU = 'qemu-system-x86_64';
const MANAGER = join(import.meta.dirname, '../test/recovery/real/manager.ts');
const VICTIMS = ['management', 'qemu', 'both'] as const;
const MAX_DELAY_MS = 40;
const SLOT_BYTES = 4096;
const SLOTS = 2048;

/** A QEMU with one more monitor; images are handled without a guest, and that one has no use for it. */
function wrapper(root: string): string {
  const path = join(root, 'emulator');
  writeFileSync(
    path,
    `#!/bin/sh\ncase "$*" in *guest=vm*) exec ${QEMU} "$@" -qmp unix:${root}/guest,server=on,wait=off;; *) exec ${QEMU} "$@";; esac\n`,
  );
  chmodSync(path, 0o700);
  return path;
}

function manager(what: string, root: string): { child: ChildProcess; facts: AsyncIterator<string> } {
  const child = spawn(process.execPath, [MANAGER, what, root, join(root, 'emulator'), pause], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout ?? process.stdin });
  return { child, facts: lines[Symbol.asyncIterator]() };
}

/** Writes and flushes until its machine is gone or it is stopped. */
class Guest {
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

  isIn(path: string): boolean {
    const raw = `${path}.raw`;
    execFileSync('qemu-img', ['convert', '-U', '-O', 'raw', path, raw]);
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

interface Tally {
  [kind: string]: number;
}

async function once(victim: (typeof VICTIMS)[number], delayMs: number, tally: Tally): Promise<string[]> {
  const root = mkdtempSync(join(tmpdir(), 'mockvirt-kill-'));
  const wrong: string[] = [];
  try {
    wrapper(root);
    const first = manager('pivot', root);
    await first.facts.next();
    const pid = pidOf(root);
    const guest = new Guest();
    const writing = guest.run(root);
    while (guest.byteOf.size < 5) await new Promise((resolve) => setTimeout(resolve, 1));
    first.child.stdin?.write('go\n');
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    if (victim !== 'management') kill(pid);
    if (victim !== 'qemu') first.child.kill('SIGKILL');
    else setTimeout(() => first.child.kill('SIGKILL'), 100);
    await new Promise((resolve) => first.child.once('exit', resolve));
    if (victim !== 'management') await writing;
    const promised = guest.byteOf.size;
    const second = manager('look', root);
    setTimeout(() => guest.stop(), 20);
    const found = JSON.parse((await second.facts.next()).value ?? '{}');
    if (second.child.exitCode === null) await new Promise((resolve) => second.child.once('exit', resolve));
    guest.stop();
    await writing;
    const [outcome] = found.outcomes ?? [];
    const name = found.alive ? `alive on ${found.active?.split('/').at(-1)}` : (outcome?.outcome ?? 'told');
    tally[name] = (tally[name] ?? 0) + 1;
    const source = join(root, 'source.qcow2');
    const copy = join(root, 'copy.qcow2');
    const holds = (path: string) => existsSync(path) && guest.isIn(path);
    if (found.alive && found.state !== 1) wrong.push('the guest was left paused');
    if (found.alive && !holds(found.active)) wrong.push(`${found.active} lacks a flushed write`);
    if (!found.alive && outcome?.outcome === 'failed' && !holds(source))
      wrong.push('the source lacks a flushed write');
    if (!found.alive && (outcome?.outcome ?? 'completed') === 'completed' && !holds(copy))
      wrong.push('the copy lacks a flushed write');
    if (outcome?.outcome === 'unknown' && !holds(source) && !holds(copy))
      wrong.push('neither image holds it all');
    if (outcome?.outcome === 'unknown' && pause === 'yes') wrong.push('unknown although paused');
    if (promised === 0) wrong.push('the guest never wrote');
    kill(found.alive ? undefined : pid);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
  return wrong;
}

const instants = fc.sample(fc.tuple(fc.constantFrom(...VICTIMS), fc.integer({ min: 0, max: MAX_DELAY_MS })), {
  numRuns: Number(runs),
  seed: Number(seed),
});
const tally: Tally = {};
let failures = 0;
for (const [victim, delayMs] of instants) {
  const wrong = await once(victim, delayMs, tally);
  if (wrong.length === 0) continue;
  failures += 1;
  process.stdout.write(`${victim} after ${delayMs} ms: ${wrong.join('; ')}\n`);
}
process.stdout.write(
  `${runs} kills, seed ${seed}, pause ${pause}: ${failures} wrong; ${JSON.stringify(tally)}\n`,
);
process.exitCode = failures === 0 ? 0 : 1;
