import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The binary under test. */
export const QEMU = process.env.QEMU ?? 'qemu-system-x86_64';

/** A real QEMU without a machine, driven by raw bytes. */
export class RealMonitor {
  readonly #child: ChildProcess;
  readonly #socket: Socket;
  readonly #directory: string;
  #text = '';
  #marks = 0;
  #wake: () => void = () => undefined;

  private constructor(child: ChildProcess, socket: Socket, directory: string) {
    this.#child = child;
    this.#socket = socket;
    this.#directory = directory;
    socket.on('data', (bytes) => {
      this.#text += bytes.toString('latin1');
      this.#wake();
    });
  }

  /** Starts QEMU; with `negotiate` the monitor takes commands. */
  static async start(binary = QEMU): Promise<RealMonitor> {
    const directory = await mkdtemp(join(tmpdir(), 'mockvirt-'));
    const path = join(directory, 'qmp');
    const argv = [
      '-machine',
      'none',
      '-nodefaults',
      '-display',
      'none',
      '-qmp',
      `unix:${path},server=on,wait=off`,
    ];
    const child = spawn(binary, argv, { stdio: 'ignore' });
    const failed = new Promise<never>((_, reject) => {
      child.once('error', reject);
      child.once('exit', () => reject(new Error(`${binary} ended before its monitor was there`)));
    });
    failed.catch(() => undefined);
    const socket = await Promise.race([reach(path), failed]);
    const monitor = new RealMonitor(child, socket, directory);
    await monitor.#line();
    socket.write('{"execute":"qmp_capabilities"}');
    await monitor.#line();
    return monitor;
  }

  /** Sends bytes and returns the lines they were answered with, events left out. */
  async say(bytes: Uint8Array): Promise<string[]> {
    const mark = `mark-${++this.#marks}`;
    this.#socket.write(markedInput(bytes, mark));
    const lines: string[] = [];
    for (;;) {
      const line = await this.#line();
      if (line.includes(`"id": "${mark}"`)) return lines;
      if (!line.startsWith('{"timestamp"')) lines.push(line);
    }
  }

  async stop(): Promise<void> {
    this.#socket.destroy();
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
    await rm(this.#directory, { recursive: true });
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#text.indexOf('\r\n');
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        return line;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** The input, then a byte that ends whatever it left open, then a command whose reply marks the end. */
export function markedInput(bytes: Uint8Array, mark: string): Uint8Array {
  return Buffer.concat([
    bytes,
    Buffer.from([0xff]),
    Buffer.from(`\n{"execute":"query-name","id":"${mark}"}`),
  ]);
}

async function reach(path: string): Promise<Socket> {
  for (;;) {
    const socket = connect(path);
    const reached = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    if (reached) return socket;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
