/** Monitors of a simulated QEMU process: each serves one client at a time, as a QEMU character device does. */
import { rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import type { Endpoint } from './options.ts';

/** What a listener tells the machine. */
export interface ListenerEvents {
  connected(connection: number): void;
  received(connection: number, bytes: Uint8Array): void;
  disconnected(connection: number): void;
  /** A client has taken all that it was sent. */
  drained(): void;
}

/** One client's end, as the machine sees it. */
interface Client {
  write(bytes: Uint8Array): void;
  end(): void;
  /** What it sends is to come, or to wait in the kernel. */
  hold(held: boolean): void;
  /** Bytes that it has not taken yet. */
  untakenBytes(): number;
}

/** A client that has sent so much ahead, or takes so little of what it is sent, is not heard for a while. */
const MAX_UNREAD_BYTES = 256 * 1024;
const MAX_UNTAKEN_BYTES = 4 * 1024 * 1024;

/** All monitors of one process. */
export class Listeners {
  readonly #events: ListenerEvents;
  readonly #clients = new Map<number, Client>();
  readonly #servers: Server[] = [];
  readonly #paths: string[] = [];
  #connections = 0;
  #usesStdio = false;

  constructor(events: ListenerEvents) {
    this.#events = events;
  }

  /** Begins to listen; rejects with the system's error. */
  async open(endpoint: Endpoint): Promise<void> {
    if (endpoint.type === 'stdio') {
      this.#openStdio();
      return;
    }
    const server = new Turnstile((socket, done) => this.#admit(socket, done)).server;
    // Like QEMU: a socket that an earlier process left behind is in nobody's way.
    if (endpoint.type === 'unix') rmSync(endpoint.path, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(endpoint.type === 'unix' ? { path: endpoint.path } : { fd: endpoint.fd }, resolve);
    });
    this.#servers.push(server);
    if (endpoint.type === 'unix') this.#paths.push(endpoint.path);
  }

  /** Sends bytes to a client that is still there. */
  write(connection: number, bytes: Uint8Array): void {
    this.#clients.get(connection)?.write(bytes);
  }

  /**
   * Hears only those clients that do not run ahead, so that none can fill the memory.
   * @param unreadBytes how much of a connection waits to be read
   */
  regulate(unreadBytes: (connection: number) => number): void {
    for (const [connection, client] of this.#clients)
      client.hold(unreadBytes(connection) > MAX_UNREAD_BYTES || client.untakenBytes() > MAX_UNTAKEN_BYTES);
  }

  /** Ends a connection once everything has been sent. */
  end(connection: number): void {
    this.#clients.get(connection)?.end();
    this.#clients.delete(connection);
  }

  /** Stops listening and removes the sockets. */
  close(): void {
    for (const server of this.#servers) server.close();
    for (const path of this.#paths) rmSync(path, { force: true });
    if (this.#usesStdio) process.stdin.destroy();
  }

  #admit(socket: Socket, done: () => void): void {
    const connection = this.#register({
      write: (bytes) => socket.write(bytes),
      end: () => socket.end(),
      ...flowOf(socket, socket),
    });
    socket.on('drain', () => this.#events.drained());
    socket.on('data', (bytes) => {
      if (this.#clients.has(connection)) this.#events.received(connection, bytes);
    });
    // A reset is an end like any other.
    socket.on('error', () => undefined);
    socket.once('close', () => {
      if (this.#clients.delete(connection)) this.#events.disconnected(connection);
      done();
    });
    socket.resume();
  }

  #openStdio(): void {
    this.#usesStdio = true;
    const connection = this.#register({
      write: (bytes) => process.stdout.write(bytes),
      end: () => undefined,
      ...flowOf(process.stdin, process.stdout),
    });
    process.stdout.on('drain', () => this.#events.drained());
    // The end of stdin does not end QEMU.
    process.stdin.on('data', (bytes) => this.#events.received(connection, bytes));
  }

  #register(client: Client): number {
    const connection = ++this.#connections;
    this.#clients.set(connection, client);
    this.#events.connected(connection);
    return connection;
  }
}

/** How a client is held back, and how much it holds back itself. */
function flowOf(input: Readable, output: Writable): Pick<Client, 'hold' | 'untakenBytes'> {
  return {
    hold(held) {
      if (held !== input.isPaused()) input[held ? 'pause' : 'resume']();
    },
    untakenBytes: () => output.writableLength,
  };
}

/** Lets one client in at a time; the others are connected but hear nothing until it is their turn. */
class Turnstile {
  readonly server: Server;
  readonly #waiting: Socket[] = [];
  readonly #admit: (socket: Socket, done: () => void) => void;
  #busy = false;

  constructor(admit: (socket: Socket, done: () => void) => void) {
    this.#admit = admit;
    this.server = createServer({ pauseOnConnect: true }, (socket) => {
      this.#waiting.push(socket);
      this.#next();
    });
  }

  #next(): void {
    if (this.#busy) return;
    const socket = this.#waiting.shift();
    if (!socket) return;
    this.#busy = true;
    this.#admit(socket, () => {
      this.#busy = false;
      this.#next();
    });
  }
}
