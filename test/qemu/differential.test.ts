import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const CLI = new URL('../differential/cli.ts', import.meta.url).pathname;
const QEMU = '/usr/bin/qemu-system-x86_64';

let report: string;
beforeAll(() => {
  report = mkdtempSync(join(tmpdir(), 'differential-report-'));
});
afterAll(() => rmSync(report, { recursive: true, force: true }));

const run = (words: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...words], (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });

const words = (profile: string, scripts: number, directory = 'report'): string[] => [
  ...['--qemu', QEMU, '--profile', profile, '--scripts', `${scripts}`, '--seed', '11'],
  ...['--report', directory, '--features', 'none'],
];

describe('npm run differential', () => {
  test('exits with 0 when nothing differs, and leaves a report', async () => {
    const { code, stdout } = await run(words('qemu-7.2', 4, report));
    expect(stdout).toMatch(/^0 diverging outside the ledger$/m);
    expect(code).toBe(0);
    const { scripts, diverging } = JSON.parse(readFileSync(join(report, 'qemu-7.2-11.json'), 'utf8'));
    expect({ scripts, diverging }).toEqual({ scripts: 4, diverging: 0 });
  }, 120_000);

  test('exits with 1 when the simulation is not of this version, and tells the smallest script', async () => {
    const { code, stdout } = await run(words('qemu-10.0', 3, report));
    expect(code).toBe(1);
    expect(stdout).toMatch(/^## script \d+, \d+ of this kind$/m);
    expect(stdout).toMatch(/^- .*\n\+ /m);
    expect(stdout).toContain('-qmp stdio');
  }, 120_000);

  test.each([
    [['--bogus', '1'], /^differential: unknown option '--bogus': valid are --qemu, .*--minutes\n$/],
    [['--qemu'], /^differential: --qemu needs a value\n$/],
    [[], /^differential: --profile is missing: needed are --qemu, .*--report\n$/],
    [words('qemu-9', 1), /^differential: unknown profile 'qemu-9': valid are .*qemu-7\.2.*\n$/],
    [words('qemu-7.2', 0), /^differential: --scripts '0': not a whole number from 1\n$/],
    [
      [...words('qemu-7.2', 1), '--workers', 'x'],
      /^differential: --workers 'x': not a whole number from 1\n$/,
    ],
    [
      [...words('qemu-7.2', 1).slice(2), '--qemu', '/nowhere'],
      /^differential: --qemu '\/nowhere': no such program\n$/,
    ],
  ])('exits with 2 and one line at %j', async (bad, line) => {
    const { code, stdout, stderr } = await run(bad);
    expect(stderr).toMatch(line);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });
});
