/**
 * Random calls against a plain model, as fast-check commands: what every management application may do to a domain's
 * disks, and what has to be true after each. Use {@link callSequences} with {@link runCalls}, or put
 * {@link callArbitraries} into `fc.commands` with calls of your own.
 */
import fc from 'fast-check';
import type { Connection } from '../../src/index.ts';
import type { Session } from '../target.ts';
import type { Call } from './call.ts';
import * as jobCalls from './jobs.ts';
import * as lifecycleCalls from './lifecycle.ts';
import { BALLAST, CAPACITY_BYTES, Plain, type Setup, SLOTS } from './plain.ts';
import { Rig } from './rig.ts';

/** Every call, by name, as counterexamples write them. */
export const calls = { ...jobCalls, ...lifecycleCalls };

/** A disk by number; now and then one that is not there. */
const disk = fc.oneof({ weight: 12, arbitrary: fc.nat(1) }, { weight: 2, arbitrary: fc.constant(2) });
const held = fc.boolean();
const seldom = fc.nat(7).map((n) => n === 7);
const place = fc.nat(3);
/** Leaves out what is false or undefined, so that a counterexample shows only what was asked for. */
const options = <T extends object>(members: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc
    .record(members)
    .map(
      (all) =>
        Object.fromEntries(
          Object.entries(all).filter(([, value]) => value !== undefined && value !== false),
        ) as T,
    );

const commitOptions = fc.oneof(
  options({ held, active: fc.constant(true), deletes: fc.boolean(), fails: seldom }),
  options({
    held: seldom,
    top: fc.integer({ min: 1, max: 2 }),
    deletes: fc.boolean(),
  }),
  options({
    held,
    top: fc.integer({ min: 1, max: 2 }),
    base: fc.option(place, { nil: undefined }),
    deletes: fc.boolean(),
    fails: seldom,
  }),
  options({
    top: fc.option(place, { nil: undefined }),
    base: fc.option(place, { nil: undefined }),
    active: fc.boolean(),
    deletes: fc.boolean(),
  }),
);

/** Arbitraries of calls with their weights, for `fc.commands` or {@link callSequences}. */
export const callArbitraries: readonly { readonly weight: number; readonly arbitrary: fc.Arbitrary<Call> }[] =
  [
    {
      weight: 6,
      arbitrary: fc
        .tuple(disk, options({ held, shallow: fc.boolean(), raw: seldom, fails: seldom }), fc.nat(9))
        .map(([on, how, n]) => calls.blockCopy(on, n === 9 ? { ...how, transientJob: false } : how)),
    },
    {
      weight: 4,
      arbitrary: fc
        .tuple(disk, options({ held, base: fc.option(place, { nil: undefined }), fails: seldom }))
        .map(([on, how]) => calls.blockPull(on, how)),
    },
    { weight: 5, arbitrary: fc.tuple(disk, commitOptions).map(([on, how]) => calls.blockCommit(on, how)) },
    {
      weight: 6,
      arbitrary: fc
        .tuple(disk, options({ pivot: fc.constant(true), async: fc.boolean(), fails: seldom }))
        .map(([on, how]) => calls.blockJobAbort(on, how)),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(disk, options({ async: fc.boolean() }))
        .map(([on, how]) => calls.blockJobAbort(on, how)),
    },
    {
      weight: 4,
      arbitrary: fc
        .tuple(disk, fc.constantFrom(0, 32))
        .map(([on, speed]) => calls.blockJobSetSpeed(on, speed)),
    },
    {
      weight: 4,
      arbitrary: fc.subarray([0, 1, 2], { minLength: 1 }).map((disks) => calls.snapshot(disks)),
    },
    {
      weight: 1,
      arbitrary: fc.tuple(disk, fc.integer({ min: 0, max: 2 })).map(([on, n]) => calls.blockResize(on, n)),
    },
    {
      weight: 8,
      arbitrary: fc
        .tuple(disk, fc.nat(SLOTS - 1), fc.integer({ min: 1, max: 255 }))
        .map(([on, slot, byte]) => calls.write(on, slot, byte)),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.nat(1), fc.nat(SLOTS - 1), fc.integer({ min: 1, max: 255 }))
        .map(([on, slot, byte]) => calls.writeWithoutRoom(on, slot, byte)),
    },
    { weight: 5, arbitrary: fc.constant(calls.start()) },
    { weight: 1, arbitrary: fc.constant(calls.createXML()) },
    { weight: 2, arbitrary: fc.constant(calls.defineXML()) },
    { weight: 1, arbitrary: fc.constant(calls.undefine()) },
    { weight: 1, arbitrary: fc.constant(calls.destroy()) },
    { weight: 1, arbitrary: fc.constant(calls.suspend()) },
    { weight: 2, arbitrary: fc.constant(calls.resume()) },
    { weight: 1, arbitrary: fc.constant(calls.quiet()) },
    { weight: 1, arbitrary: fc.constant(calls.killQemu()) },
    {
      weight: 2,
      arbitrary: fc.constantFrom('leave', 'die').map((how) => calls.restart(how as 'leave' | 'die')),
    },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.nat(1), fc.nat(30)).map(([on, effects]) => calls.dieInPivot(on, effects)),
    },
  ];

/** What the suite is called where a counterexample is pasted. */
const SUITE = 'mockvirt/conformance';
const importLine = (names: string, module: string): string =>
  ['import', `{ ${names} }`, 'from', `'${module}';`].join(' ');

/** Disks and calls; as text, a test that repeats them. */
export class CallSequence {
  readonly setup: Setup;
  readonly calls: readonly Call[];

  constructor(setup: Setup, made: readonly Call[]) {
    this.setup = setup;
    this.calls = made;
  }

  /** A vitest test of its own, on the simulation. */
  toString(): string {
    return [
      importLine('calls, runCalls', SUITE),
      importLine('test', `${SUITE}/vitest`),
      '',
      "test('random calls agree with the model', async ({ world }) => {",
      `  await runCalls(world.session, { depths: ${JSON.stringify(this.setup.depths)} }, [`,
      ...this.calls.map((each) => `    ${each},`),
      '  ]);',
      '});',
    ].join('\n');
  }

  [fc.toStringMethod](): string {
    return this.toString();
  }
}

/**
 * Sequences of calls on 1 to 3 disks. A sequence never has more than `most` calls nor, as it is generated, fewer than
 * `least`; it shrinks to any length.
 */
export function callSequences(most: number, least = 1): fc.Arbitrary<CallSequence> {
  const one = fc.oneof(...callArbitraries);
  // Never generated, and what every call shrinks to: a call that is not made.
  const call = fc.option(one, { freq: 1 << 30, nil: undefined });
  return fc
    .tuple(
      fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 }),
      fc.array(call, { minLength: least, maxLength: most, size: 'max' }),
    )
    .map(
      ([depths, made]) =>
        new CallSequence(
          { depths },
          made.filter((each) => each !== undefined),
        ),
    );
}

/**
 * Makes calls one after the other on disks of their own, comparing everything after each.
 * @param wrap what every connection is seen through; for canaries
 * @throws Violation that names the call
 */
export async function runCalls(
  session: Session,
  setup: Setup,
  made: Iterable<Call>,
  wrap?: (connection: Connection) => Connection,
): Promise<void> {
  const manager = await session.manage?.();
  if (!manager) throw new Error('this target has no management processes that can die');
  const plain = new Plain(setup, session.directory, session.control !== undefined);
  await makeImages(session, plain);
  const rig = new Rig(session, manager, wrap);
  await fc.asyncModelRun(
    () => ({ model: plain, real: rig }),
    [calls.defineXML(), calls.start(), ...made, calls.quiet()],
  );
}

async function makeImages(session: Session, { disks }: Plain): Promise<void> {
  for (const { chain } of disks) {
    const deepestFirst = chain.toReversed();
    for (const [height, path] of deepestFirst.entries()) {
      const below = deepestFirst[height - 1];
      await session.createImage({
        path,
        format: 'qcow2',
        capacityBytes: CAPACITY_BYTES,
        writes: below === undefined ? [BALLAST] : [],
        ...(below === undefined ? {} : { backing: { path: below, format: 'qcow2' as const } }),
      });
    }
  }
}
