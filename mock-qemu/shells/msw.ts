/**
 * Puts simulated QEMUs behind socket paths inside this process: an application that calls `net.connect('/run/x/qmp.sock')`
 * reaches one with no change. Built on msw's network API, so it can stand next to other sources of a test.
 */
import type { Socket } from 'node:net';
import { SocketInterceptor } from '@mswjs/interceptors/net';
import { defineNetwork, NetworkFrame, NetworkSource } from 'msw/experimental';
import type { Duplex } from '../../src/qmp/duplex.ts';

/** Whoever answers at a path: a {@link BootedQemu}, or anything else that hands out connections. */
export interface QmpServer {
  connect(): Duplex;
}

/** What the interceptor says about one connection an application makes. */
interface Connection {
  /** The far end: what is written here, the application reads. */
  readonly socket: Socket;
  readonly path: string;
  /** Takes the connection over; without it nothing is ever connected. */
  readonly claim: () => void;
  /** Connects for real. */
  readonly passthrough: () => void;
}

/** Joins a socket's far end to a connection of a simulated QEMU until either ends. */
function join(socket: Socket, duplex: Duplex): void {
  socket.on('data', (bytes: Uint8Array) => duplex.write(bytes));
  socket.on('end', () => duplex.close());
  socket.on('close', () => duplex.close());
  socket.on('error', () => duplex.close());
  // A copy: the interceptor passes on the whole memory that the bytes are part of.
  duplex.onData((bytes) => void socket.write(new Uint8Array(bytes)));
  duplex.onClose(() => void socket.end());
}

/** One connection to a path that is served here. */
class QmpFrame extends NetworkFrame<'qmp', Connection, Record<never, never>> {
  readonly #server: QmpServer;

  constructor(connection: Connection, server: QmpServer) {
    super('qmp', connection);
    this.#server = server;
  }

  /** msw's handlers are about HTTP and WebSocket; a QMP connection has none. */
  getHandlers(): [] {
    return [];
  }

  async resolve(): Promise<boolean> {
    join(this.data.socket, this.#server.connect());
    this.data.claim();
    return true;
  }

  passthrough(): void {
    this.data.passthrough();
  }

  errorWith(reason?: unknown): void {
    this.data.socket.destroy(reason instanceof Error ? reason : undefined);
  }

  async getUnhandledMessage(): Promise<string> {
    return `connection to ${this.data.path}`;
  }
}

/**
 * A source of msw's `defineNetwork`. Connections to other paths, and to hosts, are made for real.
 * @example defineNetwork({ sources: [new QmpSource({ '/run/vm/qmp.sock': qemu })] })
 */
export class QmpSource extends NetworkSource<QmpFrame> {
  readonly #servers: ReadonlyMap<string, QmpServer>;
  readonly #interceptor = new SocketInterceptor();

  constructor(servers: Readonly<Record<string, QmpServer>>) {
    super();
    this.#servers = new Map(Object.entries(servers));
  }

  enable(): void {
    this.#interceptor.apply();
    this.#interceptor.on('connection', async ({ socket, connectionOptions, controller }) => {
      const path = connectionOptions.path ?? '';
      const server = this.#servers.get(path);
      if (!server) {
        controller.passthrough();
        return;
      }
      const connection: Connection = {
        socket,
        path,
        claim: () => controller.claim(),
        passthrough: () => void controller.passthrough(),
      };
      await this.queue(new QmpFrame(connection, server));
    });
  }

  override disable(): void {
    super.disable();
    this.#interceptor.dispose();
  }
}

/** The network of one test; `disable` puts `net` back as it was. */
export interface QmpNetwork {
  enable(): void;
  disable(): void;
}

/** Simulated QEMUs at socket paths, and nothing else changed. */
export function interceptQmp(servers: Readonly<Record<string, QmpServer>>): QmpNetwork {
  const network = defineNetwork({ sources: [new QmpSource(servers)] });
  return { enable: () => void network.enable(), disable: () => void network.disable() };
}
