/** An application as it is in production: it knows a socket path, and nothing of this package. */
import { connect } from 'node:net';

/** Asks the QEMU behind a monitor socket for its status. */
export function statusOf(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let text = '';
    socket.on('error', reject);
    socket.on('data', (bytes) => {
      text += bytes;
      const status = /"status": "([\w-]+)"/.exec(text)?.[1];
      if (status === undefined) return;
      socket.end();
      resolve(status);
    });
    socket.write('{"execute":"qmp_capabilities"}{"execute":"query-status"}');
  });
}
