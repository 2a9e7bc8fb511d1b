/** The control socket of `mock-qemu`: one JSON object a line in, one a line out. */
import { rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { ControlError } from '../core/control.ts';
import type { Data, Value } from '../core/data.ts';

/** Carries out one request; throws a {@link ControlError} for one that is wrong. */
export type ControlHandler = (request: Data) => Value;

/** Lines beyond this are a mistake. */
const MAX_LINE_CHARS = 1 << 20;

/** Answers one line: `{"return": …}` or `{"error": "…"}`. */
export function answerLine(line: string, handle: ControlHandler): string {
  try {
    return JSON.stringify({ return: handle(parse(line)) });
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    return JSON.stringify({ error: error.message });
  }
}

function parse(line: string): Data {
  let request: unknown;
  try {
    request = JSON.parse(line);
  } catch {
    throw new ControlError('a request is one JSON object a line');
  }
  if (typeof request === 'object' && request !== null && !Array.isArray(request)) return request as Data;
  throw new ControlError('a request is one JSON object a line');
}

/** Serves control clients, any number at a time. */
export class ControlSocket {
  readonly #server: Server;
  readonly #path: string;
  readonly #clients = new Set<Socket>();

  constructor(path: string, handle: ControlHandler) {
    this.#path = path;
    this.#server = createServer((socket) => this.#serve(socket, handle));
  }

  /** Begins to listen; rejects with the system's error. */
  open(): Promise<void> {
    rmSync(this.#path, { force: true });
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#path, resolve);
    });
  }

  close(): void {
    for (const client of this.#clients) client.end();
    this.#server.close();
    rmSync(this.#path, { force: true });
  }

  #serve(socket: Socket, handle: ControlHandler): void {
    let rest = '';
    this.#clients.add(socket);
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.trim() !== '') socket.write(`${answerLine(line, handle)}\n`);
      if (rest.length > MAX_LINE_CHARS) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.once('close', () => this.#clients.delete(socket));
  }
}
