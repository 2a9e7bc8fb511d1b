/** `net.connect` to a socket path, answered inside the test; the application is unchanged. */
import { createWorld } from 'mockvirt/browser';
import { interceptQmp } from 'mockvirt/msw';
import { expect, test } from 'vitest';
import { statusOf } from './application.ts';

test('the application sees a QEMU that waits to be started', async () => {
  const world = createWorld({ seed: 1 });
  const qemu = world.boot({ profile: 'qemu-7.2', argv: ['-S'] });
  const network = interceptQmp({ '/run/vm/qmp.sock': qemu });
  network.enable();
  try {
    expect(await statusOf('/run/vm/qmp.sock')).toBe('prelaunch');
  } finally {
    network.disable();
    world.close();
  }
});
