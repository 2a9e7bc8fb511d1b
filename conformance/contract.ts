/** A contract: one claim, with its source, that can fail. */
import fc from 'fast-check';
import type { Capability } from './target.ts';
import type { World } from './world.ts';

/** What every contract says about itself. */
export interface ContractText {
  /** Short and stable, e.g. `api/copy-ready-once`. */
  readonly id: string;
  /** The claim, as one sentence without a full stop. */
  readonly title: string;
  /** Where it is written that it must be so. */
  readonly source: string;
  /** What the target must be able to do; a target that cannot is skipped, with that reason. */
  readonly needs: readonly Capability[];
}

/** A claim about one fixed course of events. */
export interface ExampleSpec extends ContractText {
  check(world: World): Promise<void>;
}

/** A claim about everything that the arbitrary generates. */
export interface PropertySpec<Input> extends ContractText {
  readonly arbitrary: fc.Arbitrary<Input>;
  check(world: World, input: Input): Promise<void>;
}

/** Runs one check in a world of its own. */
export type InCase = (check: (world: World) => Promise<void>) => Promise<void>;

/** How far and from where a contract is explored. */
export interface Exploration {
  readonly seed: number;
  /** Cases; an example always takes one. */
  readonly runs: number;
  /** Replays one case of a property: a failure's `path`. */
  readonly path?: string;
  /** Stops at the first failure without making it smaller. */
  readonly quick?: boolean;
}

/** What an exploration found. */
export interface Finding {
  readonly runs: number;
  readonly failure?: {
    readonly error: unknown;
    /** The smallest input found, as text; examples have none. */
    readonly counterexample?: string;
    readonly path?: string;
  };
}

/** A contract, whatever its input. */
export interface Contract extends ContractText {
  readonly kind: 'example' | 'property';
  explore(inCase: InCase, exploration: Exploration): Promise<Finding>;
}

/** Makes a contract of one fixed check. */
export function example(spec: ExampleSpec): Contract {
  return {
    ...textOf(spec),
    kind: 'example',
    async explore(inCase) {
      try {
        await inCase((world) => spec.check(world));
        return { runs: 1 };
      } catch (error) {
        return { runs: 1, failure: { error } };
      }
    },
  };
}

/** Makes a contract of a property; a failure carries the shrunk counterexample and the path that replays it. */
export function property<Input>(spec: PropertySpec<Input>): Contract {
  return {
    ...textOf(spec),
    kind: 'property',
    async explore(inCase, { seed, runs, path, quick }) {
      const claim = fc.asyncProperty(spec.arbitrary, (input) => inCase((world) => spec.check(world, input)));
      const details = await fc.check(claim, {
        seed,
        numRuns: runs,
        ...(path === undefined ? {} : { path }),
        ...(quick ? { endOnFailure: true } : {}),
      });
      if (!details.failed) return { runs: details.numRuns };
      return {
        runs: details.numRuns,
        failure: {
          error: details.errorInstance,
          // fast-check sometimes makes objects without a prototype and says so, which tells a reader nothing.
          counterexample: fc.stringify(details.counterexample?.[0]).replaceAll(/__proto__:null,?/g, ''),
          ...(details.counterexamplePath === null ? {} : { path: details.counterexamplePath }),
        },
      };
    },
  };
}

function textOf({ id, title, source, needs }: ContractText): ContractText {
  return { id, title, source, needs };
}
