/** No command stands in README or docs that nothing runs: each is named here with the file that does. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { commandsOf, type Documented, documented, pages } from '../../documented.ts';

const ROOT = join(import.meta.dirname, '../../..');

/** Which commands a file runs, and a piece of it that shows that it does. */
const RUN_BY: readonly (readonly [command: RegExp, file: string, proof: string])[] = [
  [/^npm ci && npm run conformance$/, '.ci/run', 'npm run conformance -- '],
  [/^npm ci && npm test$/, '.ci/run', 'npm test\n'],
  [/^npm run conformance -- --help$/, 'test/unit/conformance/cli.test.ts', "'--help'"],
  [/^npm run conformance:canaries$/, '.ci/run', 'npm run conformance:canaries'],
  [
    /^npx mockvirt conformance .*--target (sim|memory)|^npx mockvirt conformance merge/,
    'test/unit/docs/readme.test.ts',
    'npx mockvirt conformance',
  ],
  [
    /^npx mockvirt conformance --target (qemu|qmp)=/,
    'test/qemu/documented.test.ts',
    'docs/upgrading-qemu.md',
  ],
  [
    /^mockvirt conformance --target sim=qemu-11.0/,
    'test/qemu/documented.test.ts',
    'docs/adding-a-qemu-version.md',
  ],
  [/^mockvirt conformance --target sim=NAME$/, 'test/unit/conformance/sim.test.ts', 'simTarget('],
  [/^mockvirt conformance --target qmp=SOCKET$/, 'test/qemu/documented.test.ts', 'qmp.sock'],
  [/^mockvirt conformance$/, 'test/unit/docs/readme.test.ts', 'npx mockvirt conformance'],
  [/^npx mockvirt scenario list$/, 'test/unit/conformance/scenarios.test.ts', "'list'"],
  [/^npx mock-qemu -S /, 'test/qemu/documented.test.ts', 'npx mock-qemu'],
  [
    /^(npx )?mock-qemu --(help|profile|faults|control|without-bug)/,
    'test/unit/mock-qemu/shells/cli.test.ts',
    '--without-bug',
  ],
  [/^npm run differential/, 'test/qemu/documented.test.ts', 'differential'],
  [/^npm run random-sequences/, 'test/recovery/random-calls.test.ts', 'random-sequences.ts'],
  [/^npm run kill-pivots/, 'test/recovery/random-calls.test.ts', 'kill-pivots.ts'],
  [/^npm run fuzz/, 'test/qemu/documented.test.ts', 'test/fuzz/cli.ts'],
  [/^npm run bench/, 'test/qemu/documented.test.ts', 'bench/cli.ts'],
  [
    /^node scripts\/capture-introspection.mjs/,
    'test/qemu/documented.test.ts',
    'docs/adding-a-qemu-version.md',
  ],
  [/^node scripts\/coverage.ts$/, 'test/unit/docs/coverage.test.ts', 'coveragePage('],
  [/^node scripts\/fault-points.ts$/, 'test/unit/mock-qemu/faults/plan.test.ts', 'fault-points'],
];

const notRun = (commands: readonly Documented[]): string[] =>
  commands
    .filter(({ line }) => RUN_BY.filter(([command]) => command.test(line)).length !== 1)
    .map(({ page, line }) => `${page}: ${line}`);

test('each documented command is run by exactly one file that is named', () => {
  expect(notRun(documented())).toEqual([]);
});

test('each of those files is there and shows it', () => {
  for (const [command, file, proof] of RUN_BY)
    expect(readFileSync(join(ROOT, file), 'utf8'), `${file} for ${command}`).toContain(proof);
});

test('no line of the table is left over', () => {
  const lines = documented().map(({ line }) => line);
  expect(RUN_BY.filter(([command]) => !lines.some((line) => command.test(line)))).toEqual([]);
});

test('one that nobody runs is found, in any page, in a block or in a sentence', () => {
  const text = 'Say `npm run nothing` or\n\n```sh\nnpx mockvirt frobnicate --all   # all of it\n```\n';
  expect(notRun(commandsOf('docs/planted.md', text))).toEqual([
    'docs/planted.md: npx mockvirt frobnicate --all',
    'docs/planted.md: npm run nothing',
  ]);
});

test('every block is one that is looked at: for a shell, TypeScript that stands in a file, data or a transcript', () => {
  const known = ['sh', 'ts', 'js', 'json', 'text', 'mermaid', ''];
  for (const page of pages()) {
    const fences = readFileSync(join(ROOT, page), 'utf8').match(/^```.*$/gm) ?? [];
    // They open and close in turn.
    expect(fences.length % 2, page).toBe(0);
    for (const fence of fences.filter((_, index) => index % 2 === 0))
      expect(known, `${page}: ${fence}`).toContain(/^```(\w*)/.exec(fence)?.[1]);
  }
});

test('a block without a language holds no command', () => {
  for (const page of pages())
    for (const [, body = ''] of readFileSync(join(ROOT, page), 'utf8').matchAll(
      /^```(?:text)?\n([\s\S]*?)^```/gm,
    ))
      expect(body, page).not.toMatch(/^\s*\$? ?(?:npm|npx|node|mockvirt|mock-qemu) /m);
});
