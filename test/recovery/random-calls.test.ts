/** Random calls, small enough for every run; `npm run random-sequences` makes as many as one likes. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type CallSequence,
  callArbitraries,
  callSequences,
  calls,
  runCalls,
} from '../../conformance/index.ts';
import type { Session } from '../../conformance/target.ts';
import { simTarget } from '../../entry/targets/sim.ts';

const target = simTarget();
const SEED = 20_261_121;
type Break = (session: Session) => Session;

/** Runs a sequence on a simulation of its own, which may be broken on purpose. */
async function run({ setup, calls: made }: CallSequence, spoil: Break = (session) => session): Promise<void> {
  const session = await target.open({ seed: 1 });
  try {
    await runCalls(spoil(session), setup, made);
  } finally {
    await session.dispose();
  }
}

test('random sequences agree with the model', async () => {
  await fc.assert(
    fc.asyncProperty(callSequences(30, 30), (sequence) => run(sequence)),
    {
      seed: SEED,
      numRuns: 50,
    },
  );
}, 60_000);

test('a cluster that is wrong is caught, made small, and printed as a test that can be pasted', async () => {
  const spoil: Break = (session) => ({
    ...session,
    // One cluster of what a copy has made.
    contents: async (path) =>
      (await session.contents(path)).filter(({ offsetBytes, byte }) => offsetBytes !== 0 || byte < 128),
  });
  const details = await fc.check(
    fc.asyncProperty(callSequences(10, 10), (sequence) => run(sequence, spoil)),
    { seed: 1, numRuns: 50 },
  );
  expect(details.failed).toBe(true);
  const [smallest] = details.counterexample ?? [];
  expect(smallest?.calls).toHaveLength(1);
  expect(String(smallest)).toContain('calls.write(0, 0, 128)');
  expect(String(smallest)).toContain("import { calls, runCalls } from 'mockvirt/conformance'");
  const again = { seed: 1, path: details.counterexamplePath ?? '', endOnFailure: true };
  const replayed = await fc.check(
    fc.asyncProperty(callSequences(10, 10), (sequence) => run(sequence, spoil)),
    again,
  );
  expect(String(replayed.counterexample?.[0])).toBe(String(smallest));
}, 60_000);

test("the calls fit into fast-check's own commands, beside others", async () => {
  const arbitraries = callArbitraries.map(({ arbitrary }) => arbitrary);
  await fc.assert(
    fc.asyncProperty(fc.commands(arbitraries, { maxCommands: 5 }), async (made) => {
      const session = await target.open({ seed: 1 });
      try {
        await runCalls(session, { depths: [2] }, [calls.snapshot([0]), ...made]);
      } finally {
        await session.dispose();
      }
    }),
    { seed: SEED, numRuns: 10 },
  );
}, 60_000);

const script = (name: string, ...argv: readonly string[]) =>
  spawnSync(process.execPath, [join(import.meta.dirname, '../../scripts', name), ...argv], {
    encoding: 'utf8',
  });

test('the commands say what they did, and what was wrong with them', () => {
  const few = script('random-sequences.ts', '--runs', '2', '--steps', '4');
  expect(few.stdout).toContain('2 sequences of 4 calls on sim, seed 1');
  expect(few.status).toBe(0);
  for (const name of ['random-sequences.ts', 'kill-pivots.ts']) {
    expect(script(name, '--help').stdout).toContain('--runs N');
    const refused = script(name, '--runs', 'many');
    expect(refused.stderr).toBe("--runs 'many': use a whole number from 1\n");
    expect(refused.status).toBe(2);
  }
}, 120_000);
