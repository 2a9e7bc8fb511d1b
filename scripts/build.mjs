// Builds dist/ afresh: compile, copy the captured data files that the code reads at run time, join mock-qemu into one
// file, mark the bins executable. With --if-changed it leaves dist/ as it is if that was built of the same files.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';

const SOURCES = ['src', 'drivers', 'mock-qemu', 'conformance', 'entry'].map((room) => `${room}/**`);
const INPUTS = [...SOURCES, 'package*.json', 'tsconfig*.json', 'scripts/build.mjs'];
/** Which inputs dist/ was built of; in it, so that it goes when dist/ does. */
const STAMP = 'dist/.inputs';

/** A digest of everything that decides what is built. */
function inputs() {
  const files = globSync(INPUTS)
    .filter((path) => statSync(path).isFile())
    .sort();
  const digest = createHash('sha256');
  for (const path of files) digest.update(`${path}\0`).update(readFileSync(path)).update('\0');
  return digest.digest('hex');
}

async function build() {
  rmSync('dist', { recursive: true, force: true });
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
    stdio: 'inherit',
  });
  const captured = 'mock-qemu/profiles/captured';
  if (existsSync(captured)) cpSync(captured, `dist/${captured}`, { recursive: true });
  await bundle();
  for (const bin of ['dist/entry/cli.js', 'dist/mock-qemu/shells/cli.js'])
    if (existsSync(bin)) chmodSync(bin, 0o755);
}

/** A drop-in is started for every machine: finding and opening a hundred modules takes longer than all that they do. */
async function bundle() {
  // Loaded here: where nothing is built, nothing else takes as long.
  const { rolldown } = await import('rolldown');
  const joined = await rolldown({
    input: 'dist/mock-qemu/shells/cli.js',
    platform: 'node',
    // As data they are read much faster than as code.
    external: /\.json$/,
  });
  await joined.write({ dir: 'dist/mock-qemu/shells', codeSplitting: false });
  await joined.close();
  // It was the map of what has been replaced.
  rmSync('dist/mock-qemu/shells/cli.js.map');
}

const now = inputs();
const isBuilt = existsSync(STAMP) && readFileSync(STAMP, 'utf8') === now;
if (!isBuilt || !process.argv.includes('--if-changed')) {
  await build();
  writeFileSync(STAMP, now);
}
