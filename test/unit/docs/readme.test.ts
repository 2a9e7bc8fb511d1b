import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../../..');
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
const blocks = (language: string): string[] =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    ([, code = '']) => code,
  );

let project: string;

/** A project of somebody else's that has the package installed. */
beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'mockvirt-readme-'));
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(ROOT, join(project, 'node_modules/mockvirt'), 'dir');
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

function run(code: string): string {
  const file = join(project, 'example.ts');
  writeFileSync(file, code);
  return execFileSync(process.execPath, [file], { cwd: project, encoding: 'utf8', timeout: 30_000 });
}

describe('what README shows', () => {
  const [api = '', suite = ''] = blocks('ts');

  test('the API example pivots', () => {
    expect(run(api)).toBe('/tmp/vms/copy.qcow2\n');
  });

  test('the suite is there for others', () => {
    const [contracts, canaries] = run(suite).trim().split(' ').map(Number);
    expect(contracts).toBeGreaterThanOrEqual(15);
    expect(canaries).toBeGreaterThanOrEqual(15);
  });

  test('the lines for CI do what they say', { timeout: 120_000 }, () => {
    const lines = blocks('sh')
      .join('')
      .split('\n')
      .filter((line) => line.startsWith('npx mockvirt conformance'));
    expect(lines.length).toBeGreaterThan(5);
    const chosen = ['--contract', 'api/copy-ready-once', '--contract', 'api/speed-units'];
    const few = [...chosen, '--runs', '2', '--seed', '1'];
    for (const [number, line] of lines.entries()) {
      const [, , ...words] = line.split(' ');
      // Canaries cost more than all else, and are planted the same way whatever the line is about.
      const fewer = number === 0 ? few : [...few, '--no-canaries'];
      const argv = [join(ROOT, 'dist/entry/cli.js'), ...words, ...(words.includes('merge') ? [] : fewer)];
      const out = execFileSync(process.execPath, argv, { cwd: project, encoding: 'utf8', stdio: 'pipe' });
      expect(out).toMatch(/[1-9]\d* passed, 0 failed/);
    }
    for (const file of ['report.json', 'junit.xml', 'index.html'])
      expect(existsSync(join(project, 'report', file))).toBe(true);
  });

  test('what is shown of an example stands there', () => {
    const shown = [...readme.matchAll(/^```js (\S+)\n([\s\S]*?)^```/gm)];
    expect(shown).not.toEqual([]);
    for (const [, file = '', code = ''] of shown)
      expect(readFileSync(join(ROOT, file), 'utf8')).toContain(code);
  });

  test('the commands are scripts and bins of the package', () => {
    const { scripts, bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    const shown = blocks('sh').join('');
    for (const [, name = ''] of shown.matchAll(/npm (?:run )?(\w+)\b/g)) {
      if (name !== 'ci' && name !== 'run') expect(Object.keys(scripts)).toContain(name);
    }
    for (const [, name = ''] of shown.matchAll(/npx ([\w-]+)/g)) expect(Object.keys(bin)).toContain(name);
  });
});
