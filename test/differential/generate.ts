/** Random scripts: mostly commands that could work, some that cannot, a few that are malformed. */
import fc from 'fast-check';
import type { Json, JsonObject } from '../../src/qmp/messages.ts';
import type { Feature } from './features.ts';
import { bitmaps, graphCommands, queries } from './generate-graph.ts';
import { guestIo } from './generate-guest.ts';
import { jobStarts, jobVerbs } from './generate-jobs.ts';
import type { Script, Step } from './script.ts';
import { WORLDS } from './worlds.ts';

const MAX_STEPS = 20;

/** A way to spoil a well-formed command. */
type Spoil =
  | { readonly how: 'leave' | 'add' }
  | { readonly how: 'drop'; readonly index: number }
  | { readonly how: 'retype'; readonly index: number; readonly value: Json };

const index = fc.nat({ max: 7 });
const spoils: fc.Arbitrary<Spoil> = fc.oneof(
  { weight: 40, arbitrary: fc.constant<Spoil>({ how: 'leave' }) },
  { weight: 1, arbitrary: fc.constant<Spoil>({ how: 'add' }) },
  { weight: 1, arbitrary: fc.record({ how: fc.constant('drop' as const), index }) },
  {
    weight: 1,
    arbitrary: fc.record({
      how: fc.constant('retype' as const),
      index,
      value: fc.constantFrom<Json>(null, true, 7, 'bogus', {}, [], -1, 1.5),
    }),
  },
);

function spoil(step: Step, how: Spoil): Step {
  const entries = Object.entries(step.arguments ?? {});
  const at = 'index' in how ? how.index % Math.max(1, entries.length) : 0;
  switch (how.how) {
    case 'leave':
      return step;
    case 'add':
      return { ...step, arguments: { ...step.arguments, bogus: 1 } };
    case 'drop':
      return { ...step, arguments: Object.fromEntries(entries.toSpliced(at, 1)) as JsonObject };
    case 'retype': {
      const name = entries[at]?.[0] ?? 'bogus';
      return { ...step, arguments: { ...step.arguments, [name]: how.value } };
    }
  }
}

const step: fc.Arbitrary<Step> = fc
  .tuple(
    fc.oneof(
      { weight: 8, arbitrary: jobStarts },
      { weight: 10, arbitrary: jobVerbs },
      { weight: 8, arbitrary: graphCommands },
      { weight: 3, arbitrary: bitmaps },
      { weight: 2, arbitrary: queries },
      { weight: 4, arbitrary: guestIo },
    ),
    spoils,
  )
  .map(([plain, how]) => spoil(plain, how));

/** Scripts of the commands that every script may have. */
const plainScripts: fc.Arbitrary<Script> = fc.record({
  world: fc.constantFrom(...WORLDS),
  steps: fc.array(step, { minLength: 1, maxLength: MAX_STEPS, size: 'max' }),
});

/** Any script with the given features; half of its steps come from them. */
export function scriptsWith(features: readonly Feature[]): fc.Arbitrary<Script> {
  // Without any, a seed means what it meant before there were features.
  if (features.length === 0) return plainScripts;
  const group = fc.oneof(
    { weight: features.length, arbitrary: step.map((each): readonly Step[] => [each]) },
    ...features.map(({ steps }) => ({ weight: 1, arbitrary: steps })),
  );
  const drawn: fc.Arbitrary<Script> = fc.record({
    world: fc.constantFrom(...WORLDS),
    steps: fc
      .array(group, { minLength: 1, maxLength: MAX_STEPS, size: 'max' })
      .map((groups): readonly Step[] => groups.flat().slice(0, MAX_STEPS)),
  });
  return drawn.map((script) => features.reduce<Script>((tamed, { tame }) => tame?.(tamed) ?? tamed, script));
}
