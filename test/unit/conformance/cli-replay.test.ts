/** What the command line does besides one run: replay, shards, merge, baselines, GitHub. On the simulated target. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CliParts, conformanceCli } from '../../../conformance/cli.ts';
import { contracts, example, type Target, Violation } from '../../../conformance/index.ts';
import { simTarget } from '../../../entry/targets/sim.ts';

const CONTRACT = 'api/pivot-before-ready-refused';
const some = contracts.filter(({ id }) => [CONTRACT, 'api/copy-ready-once', 'api/speed-units'].includes(id));

async function run(argv: readonly string[], extra: Partial<CliParts> = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const code = await conformanceCli(argv, {
    targets: [{ name: 'sim', help: 'simulated', make: async () => [simTarget()] }],
    contracts: some,
    stdout: { write: (text) => out.push(text) },
    stderr: { write: (text) => err.push(text) },
    today: '2030-01-01',
    ...extra,
  });
  return { code, out: out.join(''), err: err.join('') };
}

let directory = '';
const file = (name: string) => join(directory, name);
const reportIn = async (name: string) => JSON.parse(await readFile(join(file(name), 'report.json'), 'utf8'));
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mockvirt-test-'));
});
afterAll(() => rm(directory, { recursive: true }));

describe('a planted canary', () => {
  const planted = ['--canary', 'ready-too-early', '--contract', CONTRACT, '--seed', '3', '--runs', '5'];

  test('is replayed exactly by the line that its failure prints', async () => {
    const { code, out } = await run([...planted, '--report', file('planted')]);
    expect(code).toBe(1);
    const line = /replay: npx mockvirt conformance (.*)/.exec(out)?.[1] ?? '';
    expect(line).toMatch(/--seed 3 --path [\d:]+ --canary ready-too-early$/);
    const again = await run([...line.split(' '), '--report', file('again')]);
    expect(again.code).toBe(1);
    const [first, second] = [await reportIn('planted'), await reportIn('again')].map(
      (report) => report.contracts[0].results.sim,
    );
    expect(second.runs).toBe(1);
    expect(second.failure).toEqual(first.failure);
  });

  test('shows where the wire first differs from that of a healthy backend', async () => {
    const { failure } = (await reportIn('planted')).contracts[0].results.sim;
    const { sides, rows, firstDifference, dirty } = failure.timeline;
    expect(sides).toEqual(['sim', 'sim without ready-too-early']);
    expect(rows[firstDifference].left.text).toContain('"status":"ready"');
    expect(dirty[1].length).toBeGreaterThan(3);
  });

  test('gone, the same line passes', async () => {
    const { code, out } = await run(['--contract', CONTRACT, '--seed', '3', '--path', '0:0:0']);
    expect([code, out]).toEqual([0, expect.stringMatching(/pass {2}1 in/)]);
  });

  test('is shown to GitHub where it is there', async () => {
    const page = file('summary.md');
    const environment = { GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: page };
    const { out } = await run(planted, { environment });
    expect(out).toContain(`::error title=${CONTRACT} on sim::`);
    expect(await readFile(page, 'utf8')).toContain('## ❌ Conformance');
  });
});

describe('machines that share a run', () => {
  test('have all contracts together, and one report', async () => {
    for (const part of ['1', '2'])
      await run(['--seed', '1', '--runs', '2', '--shard', `${part}/2`, '--report', file(`part-${part}`)]);
    const { code, out } = await run(['merge', file('part-1'), file('part-2'), '--report', file('whole')]);
    expect([code, out]).toEqual([0, expect.stringContaining('3 passed, 0 failed')]);
    const whole = await reportIn('whole');
    expect(whole.contracts.map(({ id }: { id: string }) => id)).toEqual(some.map(({ id }) => id));
    expect(whole.copies.length).toBeGreaterThan(1);
    expect(await readFile(join(file('whole'), 'index.html'), 'utf8')).toContain('<svg');
  });

  test.each([
    [['merge'], 'merge needs the reports to join'],
    [['merge', '/nowhere'], 'cannot read: ENOENT'],
    [['merge', '--frob'], "Unknown option '--frob'; valid options: --report"],
    [['merge', 'part', '--against', 'sim'], '--against needs --baseline FILE'],
  ])('%j is refused in one line', async (argv, message) => {
    const { code, err } = await run(argv);
    expect([code, err.trim().split('\n').length]).toEqual([2, 1]);
    expect(err).toContain(message);
  });
});

test('a part that is missing, or that is none, is refused in one line', async () => {
  await writeFile(file('torn.json'), '{"contracts":');
  await writeFile(file('other.json'), '{"name":"something else"}');
  for (const [argv, message] of [
    [['merge', file('part-1')], 'the parts 2/2 are missing from the merge'],
    [['merge', file('torn.json')], 'torn.json'],
    [['merge', file('other.json')], 'other.json'],
  ] as const) {
    const { code, err } = await run(argv);
    expect([code, err.trim().split('\n').length, err]).toEqual([2, 1, expect.stringContaining(message)]);
  }
});

describe('--minutes', () => {
  /** A minute has ten seconds here: each look at the clock is one of them. */
  const clock = () => {
    let ms = 0;
    return () => {
      ms += 6_000;
      return ms;
    };
  };

  test('goes on with further seeds until the time is over, and counts all cases', async () => {
    const argv = ['--contract', CONTRACT, '--seed', '3', '--runs', '2', '--report', file('minutes')];
    const seeds = new Set<string>();
    const opened = (target: Target): Target => ({
      ...target,
      open: (options) => {
        seeds.add(String(options.seed));
        return target.open(options);
      },
    });
    const targets = [{ name: 'sim', help: 'simulated', make: async () => [opened(simTarget())] }];
    const { code } = await run([...argv, '--minutes', '1'], { now: clock(), targets, canaries: [] });
    const result = (await reportIn('minutes')).contracts[0].results.sim;
    expect([code, result.status, result.seed]).toEqual([0, 'pass', 3]);
    expect(seeds.size).toBeGreaterThan(2);
    expect(result.runs).toBe(2 * seeds.size);
  });

  test('tells the seed that failed, with the line that replays it, and leaves the contract alone then', async () => {
    const sixth = example({
      id: 'api/sixth',
      title: 'Seed 6 is no good',
      source: 'here',
      needs: [],
      async check() {
        rounds.push(current);
        if (current === 6) throw new Violation('it is seed 6');
      },
    });
    const rounds: number[] = [];
    let current = 0;
    const target: Target = {
      ...simTarget(),
      async open(options) {
        current = options.seed;
        return simTarget().open(options);
      },
    };
    const { code, out } = await run(['--seed', '4', '--minutes', '1'], {
      now: clock(),
      contracts: [sixth],
      canaries: [],
      targets: [{ name: 'sim', help: 'simulated', make: async () => [target] }],
    });
    expect([code, rounds]).toEqual([1, [4, 5, 6]]);
    expect(out).toContain('replay: npx mockvirt conformance --target sim --contract api/sixth --seed 6\n');
  });
});

describe('a baseline', () => {
  const quick = ['--contract', CONTRACT, '--seed', '3', '--runs', '2'];

  test('is made, kept, and broken by what gets worse', async () => {
    const baseline = ['--baseline', file('baseline.json')];
    expect((await run([...quick, ...baseline, '--update-baseline'])).code).toBe(0);
    expect((await run([...quick, ...baseline])).code).toBe(0);
    const worse = await run([...quick, ...baseline, '--canary', 'ready-too-early']);
    expect([worse.code, worse.out]).toEqual([
      1,
      expect.stringContaining(`GATE ${CONTRACT} on sim got worse`),
    ]);
  });

  test('of failures is a ledger, which fails the run once they pass', async () => {
    const baseline = ['--baseline', file('ledger.json')];
    const broken = [...quick, ...baseline, '--canary', 'ready-too-early'];
    expect((await run([...broken, '--update-baseline'])).code).toBe(0);
    const known = await run(broken);
    expect([known.code, known.out]).toEqual([
      0,
      expect.stringContaining(`known failure of ${CONTRACT} on sim`),
    ]);
    const passing = await run([...quick, ...baseline]);
    expect([passing.code, passing.out]).toEqual([1, expect.stringContaining('passes again')]);
  });

  test('of one QEMU is a gate for the next one', async () => {
    const two = ['qemu-7.2', 'qemu-10.0'].map((profile) => ({
      name: profile,
      help: profile,
      make: async () => [simTarget(profile)],
    }));
    const upgrade = [...quick, '--baseline', file('upgrade.json')];
    const gate = [...upgrade, '--target', 'qemu-10.0', '--against', 'sim'];
    const made = await run([...upgrade, '--target', 'qemu-7.2', '--update-baseline'], { targets: two });
    expect(made.code).toBe(0);
    expect((await run(gate, { targets: two })).code).toBe(0);
    const worse = await run([...gate, '--canary', 'ready-too-early'], { targets: two });
    expect([worse.code, worse.out]).toEqual([
      1,
      expect.stringContaining(`GATE ${CONTRACT} on sim:qemu-10.0 got worse: it was pass on sim, it is fail`),
    ]);
    const unknown = await run([...upgrade, '--against', 'qemu-6.0'], { targets: two });
    expect([unknown.code, unknown.err]).toEqual([
      2,
      expect.stringMatching(/^[^\n]*unknown target 'qemu-6.0' for --against; .*knows: sim\n$/),
    ]);
  });

  test('with a contract that the suite has not any more is not kept', async () => {
    const statuses = { contracts: { 'api/gone': { sim: 'pass' } }, deviations: [] };
    await writeFile(file('gone.json'), JSON.stringify(statuses));
    const { code, out } = await run([...quick, '--baseline', file('gone.json')]);
    expect([code, out]).toEqual([1, expect.stringContaining('GATE api/gone vanished')]);
  });

  test.each([
    [['--against', 'sim'], '--against needs --baseline FILE'],
    [['--baseline', '/nowhere/b.json'], 'cannot read: ENOENT'],
    [['--update-baseline'], '--update-baseline needs --baseline FILE'],
  ])('%j is refused in one line', async (argv, message) => {
    const { code, err } = await run([...quick, ...argv]);
    expect([code, err.trim().split('\n').length]).toEqual([2, 1]);
    expect(err).toContain(message);
  });

  test('that is none is refused', async () => {
    await writeFile(file('not.json'), '{"contracts":');
    const { code, err } = await run([...quick, '--baseline', file('not.json')]);
    expect([code, err]).toEqual([2, expect.stringContaining('not.json is not a baseline:')]);
  });
});

test.each([
  [['--contract', 'api/nope'], "unknown contract 'api/nope' for --contract; valid ones: "],
  [['--contract', 'api/speed-unit'], 'valid ones: api/speed-units, …; --list shows all'],
  [['--canary', 'nope'], "unknown canary 'nope' for --canary; valid ones: "],
  [['--shard', '3/2'], "--shard '3/2' is not I/N"],
  [['--shard', 'x'], "--shard 'x' is not I/N"],
  [['--path', '1:x'], "--path '1:x' is not numbers with colons"],
  [['--path', '1:0'], '--path needs --seed and one --contract'],
  [['--minutes', '0'], "--minutes '0' is not an integer from 1"],
])('%j is refused in one line', async (argv, message) => {
  const { code, err } = await run(argv);
  expect([code, err.trim().split('\n').length]).toEqual([2, 1]);
  expect(err).toContain(message);
});

test('the contracts are listed, and a family can be chosen', async () => {
  const { out } = await run(['--list']);
  expect(out.split('\n')[0]).toBe(`${some[0]?.id}  ${some[0]?.title}`);
  const { code } = await run(['--contract', 'api/', '--runs', '1', '--seed', '1']);
  expect(code).toBe(0);
});
