import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { adoptProcess, formatHandle, startOf, sweepOrphans } from '../../../../drivers/qemu/survivors.ts';
import { wallClock } from '../../../../src/util/timers.ts';

let root = '';

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mockvirt-survivors-'));
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Something that runs on, in a group of its own as emulators do. */
function longRunning() {
  const child = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' });
  const exited = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
  const { pid = 0 } = child;
  return { pid, started: startOf(pid) ?? '', exited };
}

function owned(
  name: string,
  emulator: { pid: number; started: string },
  owner: { pid: number; started: string },
) {
  const directory = join(root, name);
  mkdirSync(directory);
  const lines = [emulator, owner].map((handle) => formatHandle({ ...handle, directory }));
  writeFileSync(join(directory, 'owned'), `${lines.join('\n')}\n`);
  return directory;
}

test('an emulator whose owner was killed is ended, one whose owner lives is not', async () => {
  const orphan = longRunning();
  const child = longRunning();
  const dead = { pid: process.pid, started: '1' };
  const alive = { pid: process.pid, started: startOf(process.pid) ?? '' };
  const left = owned('mockvirt-a', orphan, dead);
  const kept = owned('mockvirt-b', child, alive);
  sweepOrphans(root);
  expect(await orphan.exited).toBe('SIGKILL');
  expect([existsSync(left), existsSync(kept), startOf(child.pid)]).toEqual([false, true, child.started]);
  process.kill(child.pid, 'SIGKILL');
  await child.exited;
});

test('what says nothing of an owner, or nothing that can be read, is left alone', () => {
  mkdirSync(join(root, 'mockvirt-c'));
  writeFileSync(join(root, 'mockvirt-c', 'owned'), 'rubbish\n[1]\n');
  mkdirSync(join(root, 'mockvirt-d'));
  sweepOrphans(root);
  expect([existsSync(join(root, 'mockvirt-c')), existsSync(join(root, 'mockvirt-d'))]).toEqual([true, true]);
});

test('a process is found again by number and start, and ended', async () => {
  const process_ = longRunning();
  const directory = join(root, 'mockvirt-e');
  mkdirSync(directory);
  const handle = formatHandle({ pid: process_.pid, started: process_.started, directory });
  expect(adoptProcess(handle.replace(process_.started, '1'), wallClock, 1000)).toBeUndefined();
  const found = adoptProcess(handle, wallClock, 1000);
  await found?.terminate();
  expect(await process_.exited).toBe('SIGTERM');
  expect(startOf(process_.pid)).toBeUndefined();
  expect(adoptProcess(handle, wallClock, 1000)).toBeUndefined();
});

test.for(['', '{}', '{"pid": 1, "started": "1", "directory": "/"}', '[]'])('%s is no handle', (text) => {
  expect(() => adoptProcess(text, wallClock, 1000)).toThrow(/is not the handle of an emulator/);
});
