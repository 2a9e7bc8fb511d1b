import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { createQemuDriver } from '../../../../drivers/qemu/driver.ts';
import { createProcessHost, type ProcessHostOptions } from '../../../../drivers/qemu/launch.ts';
import { ErrorCode } from '../../../../src/errors.ts';

/** Listens where `-qmp` says, like an emulator, and does with connections what `handle` says. */
const listener = (handle: string) => `#!${process.execPath}
const { createServer } = require('node:net');
const path = process.argv[process.argv.indexOf('-qmp') + 1].slice('unix:'.length).split(',')[0];
createServer((socket) => { ${handle} }).listen(path);
`;

const SPEC = { name: 'x', uuid: '11111111-2222-4333-8444-555555555555', memoryBytes: 1, disks: [] };

/** A host in a fresh directory; when the test has finished, nothing of it may be left. */
function createHost(options: ProcessHostOptions = {}) {
  const root = mkdtempSync(join(tmpdir(), 'mv-'));
  const runtimeDir = join(root, 'run');
  mkdirSync(runtimeDir);
  const host = createProcessHost({ runtimeDir, ...options });
  onTestFinished(async () => {
    await host.close();
    expect(host.pids.size).toBe(0);
    expect(readdirSync(runtimeDir)).toEqual([]);
    rmSync(root, { recursive: true });
  });
  const script = (text: string): string => {
    const path = join(root, 'emulator');
    writeFileSync(path, text);
    chmodSync(path, 0o755);
    return path;
  };
  return { host, root, runtimeDir, script };
}

/** Whether a process is there and not just waiting to be reaped by its parent. */
const isAlive = (pid: number) => existsSync(`/proc/${pid}/exe`);

test('a binary that is missing is named, with the command that installs one', async () => {
  const { host } = createHost();
  await expect(host.launch('/no/such/qemu', [])).rejects.toMatchObject({
    code: ErrorCode.SYSTEM_ERROR,
    errno: 2,
    message: expect.stringMatching(
      /^Cannot check QEMU binary \/no\/such\/qemu: No such file or directory; .*apt-get install qemu-system-x86/,
    ),
  });
  expect(host.pids.size).toBe(0);
});

test('a file that is not executable', async () => {
  const { host, script } = createHost();
  const path = script('');
  chmodSync(path, 0o644);
  await expect(host.launch(path, [])).rejects.toMatchObject({
    code: ErrorCode.SYSTEM_ERROR,
    errno: 13,
    message: expect.stringContaining(`QEMU binary ${path} is not executable: Permission denied`),
  });
});

test('a program that ends at once is quoted', async () => {
  const { host, script } = createHost();
  const path = script('#!/bin/sh\necho "I am no emulator" >&2\nexit 3\n');
  await expect(host.launch(path, [])).rejects.toMatchObject({
    code: ErrorCode.INTERNAL_ERROR,
    message: expect.stringContaining(`${path} ended (exit status 3: I am no emulator)`),
  });
});

test('a program that never opens a monitor is ended, with all that it started', async () => {
  const { host, script, root } = createHost({ startTimeoutMs: 200, graceMs: 50 });
  const note = join(root, 'pid');
  const path = script(`#!/bin/sh\ntrap '' TERM\nsleep 1000 &\necho $! > ${note}\necho waiting\nwait\nwait\n`);
  await expect(host.launch(path, [])).rejects.toMatchObject({
    code: ErrorCode.INTERNAL_ERROR,
    message: expect.stringContaining('opened no monitor within 200 ms: waiting'),
  });
  expect(isAlive(Number(readFileSync(note, 'utf8')))).toBe(false);
});

test('a monitor that speaks something else, or hangs up, stops the start', async () => {
  for (const [handle, text] of [
    ["socket.write('HTTP/1.1 200 OK\\n')", 'not JSON (HTTP/1.1 200 OK'],
    [
      "console.log('gone'); socket.end(); process.exit(1)",
      'qemu unexpectedly closed the monitor: exit status 1: gone',
    ],
  ] as const) {
    const { host, script } = createHost();
    const driver = createQemuDriver({ host, defaultEmulator: script(listener(handle)) });
    await expect(driver.start(SPEC)).rejects.toMatchObject({
      code: ErrorCode.INTERNAL_ERROR,
      message: expect.stringContaining(text),
    });
    expect(host.pids.size).toBe(0);
    await driver.close();
  }
});

test('a runtime directory that is too long for a socket is refused before anything is started', async () => {
  const { root } = createHost();
  const host = createProcessHost({ runtimeDir: join(root, 'x'.repeat(100)) });
  await expect(host.launch('/bin/true', [])).rejects.toMatchObject({
    code: ErrorCode.INVALID_ARG,
    message: expect.stringContaining('choose a shorter runtime directory'),
  });
});

test('a runtime directory that is not there', async () => {
  const { root } = createHost();
  const host = createProcessHost({ runtimeDir: join(root, 'none') });
  await expect(host.launch('/bin/true', [])).rejects.toMatchObject({
    code: ErrorCode.SYSTEM_ERROR,
    errno: 2,
  });
});

test('a later connection is a new one', async () => {
  const { host, script } = createHost();
  const emulator = await host.launch(script(listener("socket.write('hello')")), ['a', 'b']);
  for (const _ of [1, 2]) {
    const duplex = await emulator.connect();
    const { promise, resolve } = Promise.withResolvers<string>();
    const closed = Promise.withResolvers<void>();
    duplex.onData((bytes) => resolve(new TextDecoder().decode(bytes)));
    duplex.onClose(() => closed.resolve());
    expect(await promise).toBe('hello');
    duplex.close();
    await closed.promise;
    duplex.write(new Uint8Array([1]));
  }
  await emulator.terminate();
  expect(await emulator.exited).toEqual({ code: null, signal: 'SIGTERM' });
  await expect(emulator.connect()).rejects.toMatchObject({ code: ErrorCode.SYSTEM_ERROR });
});

test.each([
  ['exits', 'process.exit(0)'],
  ['is told to end', "process.kill(process.pid, 'SIGTERM')"],
])('nothing outlives a node process that %s', async (_what, end) => {
  const { runtimeDir, script } = createHost();
  const emulator = script(listener(''));
  const module = new URL('../../../../drivers/qemu/launch.ts', import.meta.url);
  const program = `
    const { createProcessHost } = await import('${module}');
    const host = createProcessHost({ runtimeDir: ${JSON.stringify(runtimeDir)} });
    await host.launch(${JSON.stringify(emulator)}, []);
    console.log([...host.pids][0]);
    ${end};
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program]);
  let output = '';
  child.stdout.on('data', (text) => {
    output += text;
  });
  await once(child, 'close');
  expect(Number(output)).toBeGreaterThan(1);
  // The signal was sent before the node process ended; the kernel may carry it out a moment later.
  await expect.poll(() => isAlive(Number(output)), { timeout: 10_000 }).toBe(false);
  expect(readdirSync(runtimeDir)).toEqual([]);
});
