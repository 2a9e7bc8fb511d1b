import { readdirSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';
import { longFunctions, undocumented, violations } from './check.ts';
import { ROOMS } from './rules.ts';

const ROOT = normalize(join(import.meta.dirname, '../../..'));
const CODE = ['src', 'drivers', 'mock-qemu', 'conformance', 'entry'];

const files = CODE.flatMap((room) =>
  readdirSync(join(ROOT, room), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1)),
).map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));

describe('the architecture', () => {
  test('every file has a room', () => {
    expect(files.length).toBeGreaterThan(40);
    expect(files.filter(({ path }) => !ROOMS.some(({ room }) => room.test(path)))).toEqual([]);
  });

  test('every file keeps to the import table and the bans', () => {
    expect(files.flatMap(({ path, text }) => violations(path, text))).toEqual([]);
  });

  test('every function fits a screen', () => {
    expect(files.flatMap(({ path, text }) => longFunctions(path, text))).toEqual([]);
  });

  test('every export says what it is', () => {
    expect(files.flatMap(({ path, text }) => undocumented(path, text))).toEqual([]);
  });
});

describe('the check itself catches', () => {
  const cases: readonly [string, string, string][] = [
    ['a core that reads the clock', 'mock-qemu/core/x.ts', 'const now = Date.now();\n'],
    ['a core with chance of its own', 'mock-qemu/core/x.ts', 'const x = Math.random();\n'],
    ['a core that is asynchronous', 'mock-qemu/core/x.ts', 'export const f = async () => 1;\n'],
    ['a core that reads files', 'mock-qemu/core/x.ts', "import { readFileSync } from 'node:fs';\n"],
    [
      'a driver that knows the simulation',
      'drivers/qemu/x.ts',
      "import { a } from '../../mock-qemu/core/a.ts';\n",
    ],
    ['a driver that knows its sibling', 'drivers/qemu/x.ts', "import { a } from '../memory/a.ts';\n"],
    [
      'a driver that reaches over the line',
      'drivers/qemu/x.ts',
      "import { a } from '../../src/blockjob/plan.ts';\n",
    ],
    ['a public API that knows a driver', 'src/x.ts', "export { a } from '../drivers/qemu/a.ts';\n"],
    ['a block job that knows QMP', 'src/blockjob/x.ts', "import type { A } from '../qmp/messages.ts';\n"],
    ['a suite that knows a backend', 'conformance/x.ts', "import { a } from '../mock-qemu/core/a.ts';\n"],
    ['a suite that reaches behind the API', 'conformance/x.ts', "import { a } from '../src/running.ts';\n"],
    ['a dynamic import across the line', 'src/x.ts', "const a = await import('../drivers/qemu/a.ts');\n"],
    ['a package nobody agreed on', 'src/x.ts', "import x from 'left-pad';\n"],
    ['a Red Hat name outside its rooms', 'drivers/qemu/x.ts', "const a = '__com.redhat_drive-mirror';\n"],
  ];
  test.each(cases)('%s', (_what, path, text) => {
    expect(violations(path, text)).toHaveLength(1);
  });

  test('a function that does not fit a screen', () => {
    const body = Array.from({ length: 70 }, (_, line) => `  step(${line});`).join('\n');
    expect(longFunctions('src/x.ts', `function f() {\n${body}\n}\n`)).toHaveLength(1);
    expect(longFunctions('src/x.ts', `const f = (): void => {\n${body}\n};\n`)).toHaveLength(1);
    expect(longFunctions('src/x.ts', `class A {\n  f(): void {\n${body}\n  }\n}\n`)).toHaveLength(1);
  });

  test('an export without a docstring', () => {
    expect(undocumented('src/x.ts', 'export const a = 1;\n')).toHaveLength(1);
    expect(undocumented('src/x.ts', '/** The first number. */\nexport const a = 1;\n')).toEqual([]);
  });

  test('but not words in comments and strings', () => {
    expect(
      violations('mock-qemu/core/x.ts', '// No Date, no Promise.\n/** async */\nexport const a = 1;\n'),
    ).toEqual([]);
  });
});
