import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { conformanceCli, type TargetChoice } from '../../../conformance/cli.ts';
import { contracts, type Target } from '../../../conformance/index.ts';
import { fakeTarget } from './fake-target.ts';

const missing: Target = {
  id: 'gone',
  title: 'not here',
  available: async () => ({ ok: false, reason: 'no QEMU found; install one with: apt-get install it' }),
  open: () => Promise.reject(new Error('not to be opened')),
};
const targets: readonly TargetChoice[] = [
  { name: 'fake', help: 'a fake', make: async () => [fakeTarget] },
  { name: 'gone', argument: 'PATH', help: 'is missing', make: async () => [missing] },
];
const [contract] = contracts;
const canaries = [{ id: 'dead', contract: contract?.id ?? '', title: 'no events', api: noEvents }];

function noEvents<T extends object>(connection: T): T {
  return new Proxy(connection, {
    get: (inner, key) => {
      const value: unknown = Reflect.get(inner, key, inner);
      if (key === 'domainEventRegister') return () => 0;
      return typeof value === 'function' ? value.bind(inner) : value;
    },
  });
}

async function run(...argv: string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const code = await conformanceCli(argv, {
    targets,
    contracts: contract ? [contract] : [],
    canaries,
    stdout: { write: (text) => out.push(text) },
    stderr: { write: (text) => err.push(text) },
  });
  return { code, out: out.join(''), err: err.join('') };
}

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mockvirt-test-'));
});
afterAll(() => rm(directory, { recursive: true }));

describe('the command line', () => {
  test('runs, prints the matrix and the seed, and writes report.json', async () => {
    const report = join(directory, 'deep/er');
    const { code, out, err } = await run(
      '--target',
      'fake',
      '--seed',
      '7',
      '--runs',
      '2',
      '--report',
      report,
    );
    expect(code).toBe(0);
    expect(out).toContain('canaries: 1 of 1 caught');
    expect(err).toContain('seed 7');
    const written = JSON.parse(await readFile(join(report, 'report.json'), 'utf8'));
    expect(Object.keys(written)).toEqual(['contracts', 'canaries', 'summary']);
    expect(written.contracts[0]).toMatchObject({
      id: contract?.id,
      results: { fake: { status: 'pass', runs: 2, seed: 7 } },
    });
    expect(written.canaries).toEqual([{ id: 'dead', contract: contract?.id, caught: true }]);
  });

  test('skips a target that is missing and was not required, and says why', async () => {
    const { code, out } = await run('--runs', '1');
    expect(code).toBe(0);
    expect(out).toContain('skipped 1 on gone: no QEMU found; install one with: apt-get install it');
  });

  test.each([
    [['--require', 'gone'], 'required target gone is missing: no QEMU found; install one with'],
    [['--target', 'gone=/bin/true'], 'required target gone is missing'],
    [['--target', 'gone'], 'no target to run on: no QEMU found'],
    [['--target', 'nope'], "unknown target 'nope' for --target; valid targets: fake, gone[=PATH]"],
    [['--target', 'fake=x'], "unknown target 'fake=x' for --target"],
    [['--target', 'gone='], "unknown target 'gone=' for --target"],
    [['--require', 'nope'], "unknown target 'nope' for --require"],
    [['--seed', '1.5'], "--seed '1.5' is not an integer from"],
    [['--runs', '0'], "--runs '0' is not an integer from 1"],
    [['--frobnicate'], "Unknown option '--frobnicate'; valid options: --target"],
    [['positional'], "Unexpected argument 'positional'"],
    [['--target', 'fake', '--report', '/dev/null/x'], 'cannot write:'],
  ])('refuses %j with exit code 2 and one line', async (argv, message) => {
    const { code, out, err } = await run(...argv);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(message);
    expect(err.trim().split('\n')).toHaveLength(1);
  });

  test('fails with 1 when a contract fails', async () => {
    const broken: TargetChoice = {
      name: 'broken',
      help: '',
      async make() {
        const open: Target['open'] = async (options) => {
          const session = await fakeTarget.open(options);
          return { ...session, connection: noEvents(session.connection) };
        };
        return [{ ...fakeTarget, id: 'broken', shrinks: 2, open }];
      },
    };
    const out: string[] = [];
    const code = await conformanceCli(['--runs', '1', '--seed', '1'], {
      targets: [broken],
      contracts: contract ? [contract] : [],
      canaries: [],
      stdout: { write: (text) => out.push(text) },
      stderr: { write: () => {} },
    });
    expect(code).toBe(1);
    expect(out.join('')).toMatch(
      /FAIL api\/.* on broken:[\s\S]*waited 30000 ms for READY[\s\S]*counterexample/,
    );
  });

  test('helps', async () => {
    const { code, out } = await run('--help');
    expect(code).toBe(0);
    expect(out).toContain('gone[=PATH]');
  });
});
