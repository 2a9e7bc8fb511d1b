/** The suite as tests of any runner that has something like `describe` and `test`. */
import type { Contract } from './contract.ts';
import { contracts as allContracts } from './contracts/index.ts';
import { runContract, skipReason } from './judge.ts';
import type { Target } from './target.ts';

/** What a test may do to itself while it runs. */
export interface TestContext {
  /** Marks the running test as skipped; may throw. */
  skip(reason: string): void;
}

/** A test runner's words. */
export interface Bindings {
  describe(name: string, body: () => void): void;
  test(name: string, body: (context: TestContext) => Promise<void>): void;
  /** Runs once the tests of the surrounding `describe` are through. */
  afterAll(body: () => Promise<void>): void;
}

/** How far the tests go. */
export interface DefineOptions {
  /** 0 when left out, so that a test run repeats. */
  readonly seed?: number;
  /** Cases per property; the target's default when left out. */
  readonly runs?: number;
  /** All of them when left out. */
  readonly contracts?: readonly Contract[];
}

/** Defines one test per contract. A test fails with the contract's reason, the counterexample and its path. */
export function defineConformance(target: Target, bindings: Bindings, options: DefineOptions = {}): void {
  const { seed = 0, runs, contracts = allContracts } = options;
  bindings.describe(`conformance of ${target.title}`, () => {
    bindings.afterAll(async () => target.close?.());
    for (const contract of contracts)
      bindings.test(`${contract.id}: ${contract.title}`, async (context) => {
        const skip = skipReason(contract, await target.available());
        if (skip !== undefined) {
          context.skip(skip);
          return;
        }
        const result = await runContract({
          target,
          contract,
          seed,
          ...(runs === undefined ? {} : { runs }),
        });
        if (result.status === 'fail') throw new Error(`${result.reason}\nseed: ${seed}`);
      });
  });
}
