/** What is published, in an empty folder of somebody else's: installed from its tarball, type-checked and run. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

test('both commands are there', () => {
  expect(
    run('npx', 'mockvirt', 'conformance', '--target', 'sim', '--contract', 'api/speed-units', '--runs', '2'),
  ).toContain('1 passed, 0 failed');
  expect(run('npx', 'mock-qemu', '--version')).toContain('Simulated by mockvirt');
});
