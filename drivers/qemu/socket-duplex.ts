/** A unix socket as a {@link Duplex}. */
import { connect, type Socket } from 'node:net';
import type { Duplex } from '../../src/qmp/duplex.ts';

/** Connects to a unix socket. Rejects with the system's error. */
export function connectSocket(path: string): Promise<Duplex> {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const socket = connect(path);
  socket.once('error', reject);
  socket.once('connect', () => {
    socket.off('error', reject);
    resolve(socketDuplex(socket));
  });
  return promise;
}

function socketDuplex(socket: Socket): Duplex {
  let cause: Error | undefined;
  let closed = false;
  let onClose: ((cause?: Error) => void) | undefined;
  socket.on('error', (error) => {
    cause = error;
  });
  socket.once('close', () => {
    closed = true;
    onClose?.(cause);
  });
  return {
    write(bytes) {
      if (!socket.destroyed && socket.writable) socket.write(bytes);
    },
    onData(listener) {
      socket.on('data', listener);
    },
    onClose(listener) {
      onClose = listener;
      if (closed) listener(cause);
    },
    close() {
      socket.destroy();
    },
  };
}
