/** What answers in the page: msw's own `setupWorker` and `ws.link`, with a simulated QEMU behind the URL. */
import { answerQmp, createWorld } from 'mockvirt/browser';
import { setupWorker } from 'msw/browser';
import { ws } from 'msw/ws';

export const URL = 'ws://proxy.example/vm/qmp';

/** Starts it; `mockServiceWorker.js`, which `npx msw init` puts there, has to be beside the page. */
export async function startMocks(): Promise<void> {
  const world = createWorld({ seed: 1 });
  const qemu = world.boot({ profile: 'qemu-10.0', argv: ['-machine', 'none'] });
  const worker = setupWorker(ws.link(URL).addEventListener('connection', answerQmp(qemu)));
  await worker.start({ quiet: true });
}
