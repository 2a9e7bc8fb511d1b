import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

/** Files that share a worker's modules, which keep no state of their own, and run as Node runs them, not rewritten for a bundler. */
const asInNode = { isolate: false, experimental: { viteModuleRunner: false, nodeLoader: false } };

// `unit` needs nothing but Node; `qemu` needs a real QEMU, `browser` Debian's Chromium, `package` the built package,
// the registry and a real QEMU. Each fails without what it needs.
export default defineConfig({
  test: {
    // Nobody watches and types meanwhile: every core may test.
    maxWorkers: '100%',
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          ...asInNode,
          // Many tests start a program: what one has compiled the next one need not.
          env: { NODE_COMPILE_CACHE: join(import.meta.dirname, 'node_modules/.cache/compiled') },
        },
      },
      { test: { name: 'recovery', include: ['test/recovery/**/*.test.ts'], testTimeout: 120_000 } },
      // They import the package by its name, as others do: build it first.
      { test: { name: 'examples', include: ['examples/**/*.test.ts'], ...asInNode } },
      { test: { name: 'qemu', include: ['test/qemu/**/*.test.ts'], testTimeout: 60_000 } },
      { test: { name: 'package', include: ['test/package/**/*.test.ts'], testTimeout: 120_000 } },
      {
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
