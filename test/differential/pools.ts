/** What generators draw from: few names, so that commands of one script meet each other. */
import fc from 'fast-check';
import type { Json, JsonObject } from '../../src/qmp/messages.ts';
import { PLACE, type Step } from './script.ts';

const NAMES: readonly (readonly [number, readonly string[]])[] = [
  [40, ['top']],
  [30, ['copy', 'mid', 'raw', 'drive0']],
  [16, ['base', 'n1', 'n2']],
  [6, ['over', 'small']],
  [2, ['nope', '', 'j1']],
];

/** Names of nodes and devices, of which some exist. */
export const node: fc.Arbitrary<string> = fc.oneof(
  ...NAMES.map(([weight, names]) => ({ weight, arbitrary: fc.constantFrom(...names) })),
);

/** Names for nodes to come. */
export const newNode: fc.Arbitrary<string> = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom('n1', 'n2') },
  { weight: 1, arbitrary: fc.constantFrom('top', 'drive0', '1x', '', 'a'.repeat(32), '#block1') },
);

/** Job ids. */
export const jobId: fc.Arbitrary<string> = fc.oneof(
  { weight: 16, arbitrary: fc.constantFrom('j1', 'j1', 'j2') },
  { weight: 1, arbitrary: fc.constantFrom('drive0', '1x', '') },
);

/** Sometimes a value, mostly none. */
export const rarely = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });

/** Mostly a value. */
export const mostly = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 6, arbitrary }, { weight: 1, arbitrary: fc.constant(undefined) });

/** Arguments of which those that came out undefined are left out. */
export function args(members: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<JsonObject> {
  return fc
    .record(members)
    .map(
      (record) =>
        Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as Record<
          string,
          Json
        >,
    );
}

/** A command with such arguments. */
export const command = (
  execute: string,
  members: Record<string, fc.Arbitrary<unknown>> = {},
): fc.Arbitrary<Step> =>
  args(members).map((drawn) =>
    Object.keys(drawn).length === 0 ? { execute } : { execute, arguments: drawn },
  );

/** The path of a file in the scripts' directory. */
export const at = (name: string): string => `${PLACE}/${name}`;
