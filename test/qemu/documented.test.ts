/** The commands of README and docs that need a real QEMU, as they are written there, shortened by options alone. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { commandsOf, textOf } from '../documented.ts';
import { QEMU } from './real-monitor.ts';

const ROOT = join(import.meta.dirname, '../..');
const execute = promisify(execFile);
/** The program behind each name that a page uses. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  mockvirt: [join(ROOT, 'entry/cli.ts')],
  'mock-qemu': [join(ROOT, 'mock-qemu/shells/cli.ts')],
  differential: [join(ROOT, 'test/differential/cli.ts')],
  bench: ['--expose-gc', join(ROOT, 'bench/cli.ts')],
  fuzz: ['--expose-gc', join(ROOT, 'test/fuzz/cli.ts')],
};
const FEW = ['--contract', 'qmp/command/', '--contract', 'api/copy-ready-once', '--runs', '1', '--seed', '1'];
let directory = '';
let qemu = '';

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mockvirt-documented-'));
  qemu = (await execute('sh', ['-c', `command -v ${QEMU}`])).stdout.trim();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const blocksOf = (page: string): string[] =>
  commandsOf(page, textOf(page))
    .filter(({ isBlock }) => isBlock)
    .map(({ line }) => line);

/** The arguments for Node, with what a page leaves to its reader filled in. */
function argvOf(line: string): string[] {
  const words = line
    .replace(/^npm run (\w+) --/, '$1')
    .replace(/^npx /, '')
    .replaceAll(/\/path\/to\/(?:old\/|new\/)?qemu-system-x86_64/g, qemu)
    .replaceAll(/\/tmp\/qmp\.sock/g, join(directory, 'qmp.sock'))
    .replaceAll('mock-qemu/profiles/captured/', `${directory}/`)
    // A version that does not exist yet stands for the one that is here.
    .replaceAll(/(profile |sim=)qemu-11\.0/g, '$1qemu-7.2')
    .split(' ');
  const [program = '', ...rest] = words;
  if (program === 'node') return [join(ROOT, rest[0] ?? ''), ...rest.slice(1)];
  return [...(PROGRAMS[program] ?? []), ...rest];
}

const run = (line: string, ...more: string[]) =>
  execute(process.execPath, [...argvOf(line), ...more], { cwd: directory, maxBuffer: 1 << 26 });

/** Something in QEMU's place, started by a line of README. */
async function started(line: string): Promise<ChildProcess> {
  const server = spawn(process.execPath, argvOf(line), { cwd: directory, stdio: 'ignore' });
  while (!existsSync(join(directory, 'qmp.sock'))) {
    expect(server.exitCode).toBeNull();
    await pause(20);
  }
  return server;
}

test('docs/upgrading-qemu.md: a baseline on one QEMU is the gate for the next, and for a server at a socket', {
  timeout: 300_000,
}, async () => {
  const [baseline = '', gate = '', socket = '', ...rest] = blocksOf('docs/upgrading-qemu.md');
  expect(rest).toEqual([]);
  await run(baseline, ...FEW);
  const kept = JSON.parse(readFileSync(join(directory, 'qemu.json'), 'utf8'));
  const [target = ''] = Object.keys(kept.contracts['qmp/command/add-del']);
  const against = (line: string) => line.replace('qemu-7.2', target);
  expect((await run(against(gate), ...FEW)).stdout).toMatch(/[1-9]\d* passed, 0 failed/);
  expect(existsSync(join(directory, 'report/index.html'))).toBe(true);

  const [npxMockQemu = ''] = blocksOf('README.md').filter((line) => line.startsWith('npx mock-qemu'));
  const server = await started(npxMockQemu.replace(' -S', ''));
  const ended = once(server, 'exit');
  try {
    const { stdout } = await run(against(socket).replace('qmp/ ', 'qmp/command/ '));
    expect(stdout).toMatch(/[1-9]\d* passed, 0 failed/);
  } finally {
    server.kill();
    await ended;
  }
});

test('docs/adding-a-qemu-version.md: a binary is asked, then held against its simulation', {
  timeout: 300_000,
}, async () => {
  const [capture = '', differential = '', conformance = '', ...rest] = blocksOf(
    'docs/adding-a-qemu-version.md',
  );
  expect(rest).toEqual([]);
  await run(capture);
  const captured = JSON.parse(readFileSync(join(directory, 'qemu-11.0.json'), 'utf8'));
  expect(JSON.stringify(captured)).toContain('blockdev-mirror');
  const few = differential.replace('--scripts 2000', '--scripts 2');
  expect((await run(few)).stdout).toContain('2');
  expect((await run(conformance, ...FEW)).stdout).toMatch(/[1-9]\d* passed, 0 failed/);
});

test('docs/figures.md: streams of broken bytes, on the simulation and on a real QEMU', {
  timeout: 120_000,
}, async () => {
  const line = 'npm run fuzz -- --seed 1 --count 50 --qemu';
  expect((await run(line, qemu)).stdout).toContain('50');
});

test('docs/figures.md: a figure is measured beside a real QEMU', { timeout: 120_000 }, async () => {
  // Whether a goal is met is for an idle machine to say; here it is that the figure comes.
  const measured = await run(`npm run bench -- --case hour --qemu ${qemu} --json bench.json`).catch(
    (error: { readonly code: number }) => expect(error.code).toBe(1),
  );
  expect(measured === undefined || measured.stdout !== '').toBe(true);
  expect(existsSync(join(directory, 'bench.json'))).toBe(true);
});
