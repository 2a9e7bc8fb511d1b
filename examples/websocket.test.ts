/** A WebSocket URL answered by a simulated QEMU through msw's own `ws.link`; the same code works in a browser. */
import { answerQmp, createWorld } from 'mockvirt/browser';
import { ws } from 'msw';
import { setupServer } from 'msw/node';
import { expect, test } from 'vitest';

const URL = 'ws://proxy.example/vm/qmp';

test('a page that speaks QMP over a WebSocket meets a QEMU', async () => {
  const world = createWorld({ seed: 1 });
  const qemu = world.boot({ profile: 'qemu-7.2', argv: ['-S'] });
  const server = setupServer(ws.link(URL).addEventListener('connection', answerQmp(qemu)));
  server.listen();
  try {
    const socket = new WebSocket(URL);
    const status = new Promise((resolve) => {
      let text = '';
      socket.addEventListener('message', ({ data }) => {
        text += data;
        const found = /"status": "([\w-]+)"/.exec(text)?.[1];
        if (found !== undefined) resolve(found);
      });
    });
    socket.addEventListener('open', () => {
      socket.send('{"execute":"qmp_capabilities"}');
      socket.send('{"execute":"query-status"}');
    });
    expect(await status).toBe('prelaunch');
    socket.close();
  } finally {
    server.close();
    world.close();
  }
});
