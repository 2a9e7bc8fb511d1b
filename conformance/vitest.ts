/** The binding to vitest: the one file of the suite that imports it. */
import { afterAll, describe, test } from 'vitest';
import type { Bindings } from './define.ts';

/** Properties run for longer than a unit test may. */
const TEST_TIMEOUT_MS = 300_000;

/** Hand this to {@link defineConformance}. */
export const vitestBindings: Bindings = {
  describe: (name, body) => {
    describe(name, body);
  },
  afterAll: (body) => {
    afterAll(body);
  },
  test: (name, body) => {
    test(name, { timeout: TEST_TIMEOUT_MS }, (context) => body({ skip: (reason) => context.skip(reason) }));
  },
};
