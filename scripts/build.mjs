// Builds dist/ afresh: compile, copy the captured data files that the code reads at run time, join mock-qemu into one
// file, mark the bins executable.
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, rmSync } from 'node:fs';
import { rolldown } from 'rolldown';

rmSync('dist', { recursive: true, force: true });
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
  stdio: 'inherit',
});
const captured = 'mock-qemu/profiles/captured';
if (existsSync(captured)) cpSync(captured, `dist/${captured}`, { recursive: true });

// A drop-in is started for every machine: finding and opening a hundred modules takes longer than all that they do.
const bundle = await rolldown({
  input: 'dist/mock-qemu/shells/cli.js',
  platform: 'node',
  // As data they are read much faster than as code.
  external: /\.json$/,
});
await bundle.write({ dir: 'dist/mock-qemu/shells', codeSplitting: false });
await bundle.close();
// It was the map of what has been replaced.
rmSync('dist/mock-qemu/shells/cli.js.map');

for (const bin of ['dist/entry/cli.js', 'dist/mock-qemu/shells/cli.js'])
  if (existsSync(bin)) chmodSync(bin, 0o755);
