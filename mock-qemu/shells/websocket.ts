/**
 * QMP over a WebSocket: each message carries bytes of the stream, as a proxy in front of a QEMU passes them on. For
 * msw's `ws.link`, in Node and in a browser; nothing here needs either.
 */
import type { Duplex } from '../../src/qmp/duplex.ts';

/** Whoever answers: a booted simulated QEMU, or anything else that hands out connections. */
export interface QmpSource {
  connect(): Duplex;
}

/** As much of msw's client connection as is used here. */
export interface WebSocketClient {
  send(data: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: 'close', listener: () => void): void;
}

/**
 * A listener for the connections of a link.
 * @example ws.link('ws://vm/qmp').addEventListener('connection', answerQmp(world.boot({ profile, argv })))
 */
export function answerQmp(source: QmpSource): (event: { readonly client: WebSocketClient }) => void {
  return ({ client }) => {
    const duplex = source.connect();
    const [encoder, decoder] = [new TextEncoder(), new TextDecoder()];
    client.addEventListener('message', ({ data }) => {
      if (typeof data === 'string') duplex.write(encoder.encode(data));
      else if (data instanceof ArrayBuffer) duplex.write(new Uint8Array(data));
      // QMP is text; a proxy that sends anything else is broken.
      else client.close(1003, 'QMP takes text');
    });
    client.addEventListener('close', () => duplex.close());
    duplex.onData((bytes) => client.send(decoder.decode(bytes, { stream: true })));
    duplex.onClose(() => client.close());
  };
}
