import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Listeners } from '../../../../mock-qemu/shells/listener.ts';

const MIB = 1024 * 1024;

test('a client that sends ahead is held back, and loses nothing', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'mockvirt-'));
  let [unreadBytes, mostBytes, totalBytes] = [0, 0, 0];
  const listeners: Listeners = new Listeners({
    connected: () => undefined,
    disconnected: () => undefined,
    drained: () => undefined,
    received(_connection, bytes) {
      totalBytes += bytes.length;
      unreadBytes += bytes.length;
      mostBytes = Math.max(mostBytes, unreadBytes);
      listeners.regulate(() => unreadBytes);
    },
  });
  const path = join(directory, 'qmp');
  await listeners.open({ type: 'unix', path });
  const client = connect(path);
  client.end(Buffer.alloc(8 * MIB, ' '));
  while (totalBytes < 8 * MIB) {
    // The machine reads everything now and then; whatever came until then has waited.
    await new Promise((resolve) => setImmediate(resolve));
    unreadBytes = 0;
    listeners.regulate(() => unreadBytes);
  }
  expect(mostBytes).toBeLessThan(MIB / 2);
  client.resume();
  await once(client, 'close');
  listeners.close();
  rmSync(directory, { recursive: true });
});
