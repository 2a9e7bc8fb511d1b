import { defineConfig } from 'vitest/config';

// Two projects: `unit` needs nothing but Node; `qemu` needs a real QEMU and fails without one.
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'] } },
      { test: { name: 'qemu', include: ['test/qemu/**/*.test.ts'], testTimeout: 60_000 } },
    ],
  },
});
