import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const cli = fileURLToPath(new URL('../../../bench/cli.ts', import.meta.url));
const fuzz = fileURLToPath(new URL('../../fuzz/cli.ts', import.meta.url));
const run = (file: string, ...argv: string[]) =>
  spawnSync(process.execPath, [file, ...argv], { encoding: 'utf8' });

test.each([
  [cli, ['--jsn', 'x'], "bench: unknown option '--jsn'; valid options: --json, --qemu, --case, --help\n"],
  [cli, ['--json'], 'bench: --json needs a value\n'],
  [cli, ['--qemu', '/nonexistent'], 'bench: --qemu /nonexistent: not an emulator that can be run\n'],
  [
    cli,
    ['--case', 'x'],
    "bench: unknown case 'x'; valid cases: pivot, round-trip, greeting, tebibyte, hour, thousand\n",
  ],
  [fuzz, ['--runs', '3'], "fuzz: unknown option '--runs'; valid options: --seed, --count, --qemu\n"],
  [fuzz, ['--seed', 'x'], "fuzz: --seed needs a whole number, not 'x'\n"],
])('%s %j is refused in one line', (file, argv, stderr) => {
  expect(run(file, ...argv)).toMatchObject({ status: 2, stdout: '', stderr });
});

test('--help names every case', () => {
  const { status, stdout } = run(cli, '--help');
  expect(status).toBe(0);
  expect(stdout).toContain('pivot, round-trip, greeting, tebibyte, hour, thousand');
});
