/** The suite without any test runner: `node run.ts [options of mockvirt conformance]`. */
import { conformanceCli } from 'mockvirt/conformance/cli';
import { tinyTarget } from './target.ts';

process.exitCode = await conformanceCli(process.argv.slice(2), {
  targets: [{ name: 'tiny', help: 'somebody else’s driver', make: async () => [tinyTarget] }],
  stdout: process.stdout,
  stderr: process.stderr,
  command: 'node run.ts',
});
