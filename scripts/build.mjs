// Builds dist/ afresh: compile, copy the captured data files that the code reads at run time, mark the bins executable.
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, rmSync } from 'node:fs';

rmSync('dist', { recursive: true, force: true });
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
  stdio: 'inherit',
});
const captured = 'mock-qemu/profiles/captured';
if (existsSync(captured)) cpSync(captured, `dist/${captured}`, { recursive: true });
for (const bin of ['dist/entry/cli.js', 'dist/mock-qemu/shells/cli.js'])
  if (existsSync(bin)) chmodSync(bin, 0o755);
