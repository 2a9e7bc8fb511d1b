#!/usr/bin/env node
/** `mock-qemu`: a drop-in for qemu-system-x86_64 that simulates it. */
import { parseCommandLine } from './options.ts';

async function main(): Promise<number> {
  const parsed = parseCommandLine(process.argv.slice(2), process.env);
  if ('print' in parsed) {
    process.stdout.write(parsed.print);
    return 0;
  }
  if ('refuse' in parsed) {
    process.stderr.write(parsed.refuse);
    return parsed.exitCode;
  }
  // Only a machine that runs pays for loading the simulation.
  const [{ serve }, { createDiskStore }] = await Promise.all([
    import('./server.ts'),
    import('../images/disk.ts'),
  ]);
  return serve(parsed.run, createDiskStore());
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`mock-qemu: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
// A client that does not read must not keep a machine that has ended.
setTimeout(() => process.exit(), 1000).unref();
