/** What is published, in an empty folder of somebody else's: installed from its tarball, type-checked and run. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const versions = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).devDependencies;
let project = '';

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { cwd: project, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'mockvirt-package-'));
  cpSync(join(ROOT, 'test/third-party'), project, { recursive: true });
  const packed = execFileSync(
    'npm',
    ['pack', '--ignore-scripts', '--silent', '--pack-destination', project],
    {
      cwd: ROOT,
      encoding: 'utf8',
    },
  ).trim();
  const others = ['vitest', 'typescript', '@types/node'].map((name) => `${name}@${versions[name]}`);
  // One install for all, from npm's cache where that has it: only what nobody here has needed yet is fetched.
  const quietly = ['--prefer-offline', '--no-audit', '--no-fund', '--silent'];
  run('npm', 'install', ...quietly, join(project, packed), ...others);
  // The examples as they were published; they import the package by its name.
  cpSync(join(project, 'node_modules/mockvirt/examples'), join(project, 'examples'), { recursive: true });
}, 180_000);

afterAll(() => rmSync(project, { recursive: true, force: true }), 120_000);

test('its types hold in a strict project, and those of the examples', () => {
  expect(run('npx', 'tsc', '-p', '.')).toBe('');
  expect(run('npx', 'tsc', '-p', 'examples/browser')).toBe('');
});

test('the suite runs on a driver of one’s own, without a test runner', () => {
  const out = run(
    process.execPath,
    'run.ts',
    '--contract',
    'api/',
    '--seed',
    '1',
    '--runs',
    '2',
    '--report',
    'report',
  );
  expect(out).toMatch(/\d+ passed, 0 failed/);
  expect(existsSync(join(project, 'report/index.html'))).toBe(true);
});

test('and as tests of vitest, with the fixtures and arbitraries; the examples are tests as well', () => {
  const out = run('npx', 'vitest', 'run');
  expect(out).toMatch(/Test Files .*4 passed/);
  expect(out).toMatch(/Tests .*\d+ passed/);
});

/** Servers that this project starts itself, as a user of the package would. */
const SERVERS = [
  ['mock-qemu', ['node_modules/.bin/mock-qemu']],
  ['a real QEMU', ['qemu-system-x86_64']],
] as const;

/** What neither has: newer commands, and what takes a process of a case's own. */
const BEYOND_A_SOCKET = ['qmpActive', 'qmpDisks', 'qmpEndable', 'qmpJobChange', 'qmpNbd'];

test.each(SERVERS)('the qmp/ contracts run on %s behind a socket', async (_, program) => {
  const socket = join(project, `${program[0].split('/').at(-1)}.sock`);
  const argv = ['-machine', 'none', '-nodefaults', '-display', 'none'];
  const server = spawn(program[0], [...argv, '-qmp', `unix:${socket},server=on,wait=off`], {
    cwd: project,
    stdio: 'ignore',
  });
  const ended = once(server, 'exit');
  try {
    while (!existsSync(socket)) {
      expect(server.exitCode).toBeNull();
      await pause(20);
    }
    const families = ['qmp/sequence/', 'qmp/error/', 'qmp/graph/', 'qmp/command/'];
    const chosen = families.flatMap((family) => ['--contract', family]);
    const out = run('npx', 'mockvirt', 'conformance', '--target', `qmp=${socket}`, ...chosen);
    expect(out).toMatch(/\n\d{3} passed, 0 failed, /);
    const skipped = [...out.matchAll(/^skipped \d+ on qmp: needs (.*), which /gm)];
    const lacking = skipped.flatMap(([, needs = '']) => needs.split(', '));
    expect([...new Set(lacking)].sort()).toEqual(BEYOND_A_SOCKET);
  } finally {
    server.kill();
    await ended;
  }
});

test('both commands are there', () => {
  expect(
    run('npx', 'mockvirt', 'conformance', '--target', 'sim', '--contract', 'api/speed-units', '--runs', '2'),
  ).toContain('1 passed, 0 failed');
  expect(run('npx', 'mock-qemu', '--version')).toContain('Simulated by mockvirt');
});
