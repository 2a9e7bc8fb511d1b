import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { interceptQmp, type QmpNetwork } from '../../../../mock-qemu/shells/msw.ts';
import { createWorld, type World } from '../../../../mock-qemu/shells/world.ts';

const PATH = '/run/nowhere/qmp.sock';
let world: World;
let network: QmpNetwork;

beforeEach(() => {
  world = createWorld({ seed: 1 });
  network = interceptQmp({ [PATH]: world.boot({ profile: 'qemu-7.2', argv: ['-S'] }) });
  network.enable();
});
afterEach(() => {
  network.disable();
  world.close();
});

async function heard(socket: Socket, text: string): Promise<string> {
  let all = '';
  const collect = (bytes: Uint8Array) => {
    all += bytes;
  };
  socket.on('data', collect);
  while (!all.includes(text)) await once(socket, 'data');
  socket.off('data', collect);
  return all;
}

test('an application that connects to a socket path reaches a simulated QEMU', async () => {
  const socket = connect(PATH);
  expect(await heard(socket, '\r\n')).toContain('"QMP"');
  socket.write('{"execute":"qmp_capabilities"}');
  expect(await heard(socket, '\r\n')).toBe('{"return": {}}\r\n');
  const closed = once(socket, 'close');
  socket.write('{"execute":"quit"}');
  expect(await heard(socket, 'return')).toContain('SHUTDOWN');
  socket.end();
  await closed;
});

test('what is written before the connection stands arrives', async () => {
  const socket = connect({ path: PATH });
  socket.write('{"execute":"qmp_capabilities","id":"early"}');
  expect(await heard(socket, 'early')).toContain('"QMP"');
  socket.destroy();
});

test('other paths are reached for real, and errors are the system’s', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'mockvirt-'));
  const server = createServer((socket) => socket.end('real')).listen(join(directory, 'socket'));
  await once(server, 'listening');
  expect(await heard(connect(join(directory, 'socket')), 'real')).toBe('real');
  server.close();
  const refused = connect(join(directory, 'absent'));
  expect((await once(refused, 'error'))[0]).toMatchObject({ code: 'ENOENT' });
  rmSync(directory, { recursive: true });
});

test('disabled, the path is nobody’s again', async () => {
  network.disable();
  const refused = connect(PATH);
  expect((await once(refused, 'error'))[0]).toMatchObject({ code: 'ENOENT' });
  network.enable();
});
