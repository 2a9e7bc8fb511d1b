import { describe, expect, test } from 'vitest';
import { type Contract, contracts, renderReport, runConformance } from '../../../conformance/index.ts';
import { contractsOf, describeScenario, scenarioCli } from '../../../conformance/scenarios/cli.ts';
import { scenarios } from '../../../conformance/scenarios/index.ts';
import { simTarget } from '../../../entry/targets/sim.ts';

/** The generations that can do what a contract needs: the usual one, if possible; another too where it is about rates. */
function profilesFor({ id, needs = [] }: Contract): readonly string[] {
  if (needs.includes('qmpJobChange')) return ['qemu-10.0'];
  return id.endsWith('/guest-slows-down') ? ['qemu-7.2', 'qemu-10.0'] : ['qemu-7.2'];
}

async function run(...argv: string[]) {
  const [out, err]: [string[], string[]] = [[], []];
  const code = await scenarioCli(argv, {
    targets: [{ name: 'sim', help: 'simulated', make: async () => [simTarget()] }],
    stdout: { write: (text: string) => void out.push(text) },
    stderr: { write: (text: string) => void err.push(text) },
  });
  return { code, out: out.join(''), err: err.join('') };
}

test('the catalogue names existing contracts, and every scenario once', () => {
  const ids = new Set(contracts.map(({ id }) => id));
  for (const each of scenarios) {
    expect(each.contracts.length, each.name).toBeGreaterThan(0);
    expect(
      each.contracts.filter((id) => !ids.has(id)),
      each.name,
    ).toEqual([]);
  }
  expect(new Set(scenarios.map(({ name }) => name)).size).toBe(scenarios.length);
});

/** What the suite itself does not run: the plays, and contracts that want another generation than its usual one. */
const isOwn = (each: Contract): boolean =>
  !contracts.includes(each) || !profilesFor(each).includes('qemu-7.2');
const withOwn = scenarios
  .map((each) => ({ name: each.name, own: contractsOf(each).filter(isOwn) }))
  .filter(({ own }) => own.length > 0);

describe.concurrent('a scenario holds on the simulated QEMU', { timeout: 60_000 }, () => {
  test.for(withOwn)('$name', async ({ own }, { expect }) => {
    for (const profile of new Set(own.flatMap(profilesFor))) {
      const alike = own.filter((contract) => profilesFor(contract).includes(profile));
      const targets = [simTarget(profile)];
      const report = await runConformance({ targets, contracts: alike, canaries: [], seed: 7, runs: 3 });
      expect(report.summary.ok, renderReport(report)).toBe(true);
      expect(report.summary.skipped, profile).toBe(0);
    }
  });
});

test('at least fifteen scenarios are plays, each with a wrong application to find out', () => {
  const withPlays = scenarios.filter(({ plays }) => plays.length > 0);
  expect(withPlays.length).toBeGreaterThanOrEqual(15);
  for (const { name, plays } of withPlays) {
    expect(plays.flatMap((each) => each.wrong).length, name).toBeGreaterThan(0);
  }
  const ids = scenarios.flatMap(({ plays }) => plays.map(({ contract }) => contract.id));
  expect(new Set(ids).size).toBe(ids.length);
});

const wrong = scenarios.flatMap(({ plays }) => plays.flatMap((each) => each.wrong));

describe.concurrent('an application is found out that', { timeout: 60_000 }, () => {
  test.for(wrong)('$does ($contract.id)', async ({ contract }, { expect }) => {
    const target = simTarget(profilesFor(contract)[0]);
    const run = { targets: [target], contracts: [contract], canaries: [], seed: 7 };
    const { contracts: lines } = await runConformance(run);
    expect(lines.map(({ results }) => results[target.id])).toMatchObject([
      { status: 'fail', failure: { message: expect.stringMatching(/^(?:Deadline)?Violation/) } },
    ]);
  });
});

describe('the command line', () => {
  test('lists, shows and runs', { timeout: 60_000 }, async () => {
    expect((await run('list')).out.split('\n')).toContain('abort/leftover-nodes');
    const [first] = scenarios;
    if (first) expect((await run('show', first.name)).out).toBe(describeScenario(first));
    const ran = await run('run', 'mirror/sync-none', '--target', 'sim', '--seed', '1');
    expect(ran).toMatchObject({
      code: 0,
      out: expect.stringContaining('qmp/sequence/mirror-nothing-to-copy'),
    });
  });

  test.for([
    [[], 'a command is missing'],
    [['dance'], "unknown command 'dance'"],
    [['show'], 'a name is missing'],
    [['list', 'more'], "'more' is too much for list"],
    [['show', 'vm/dies', 'more'], "'more' is too much for show"],
    [['run', 'mirror/nope'], 'valid scenarios: mirror/never-converges, '],
    [['run', 'vm/dies', '--target', 'nope'], "unknown target 'nope' for --target; valid targets: sim"],
    [['run', 'mirror/nope'], "unknown scenario 'mirror/nope'"],
  ] as const)('%j is wrong usage', async ([argv, says]) => {
    expect(await run(...argv)).toMatchObject({ code: 2, err: expect.stringContaining(says) });
  });
});
