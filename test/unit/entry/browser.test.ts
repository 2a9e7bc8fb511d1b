import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../../..');
/** Imports that are still there once types are gone. */
const IMPORT = /^(?:import|export)\s+(?!type\b)[^;]*?\bfrom\s+'([^']+)'/gm;

/** Every module that a file needs at run time. */
function graph(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  if (!existsSync(join(ROOT, file)) || !file.endsWith('.ts')) return seen;
  for (const [, specifier = ''] of readFileSync(join(ROOT, file), 'utf8').matchAll(IMPORT))
    graph(specifier.startsWith('.') ? normalize(join(dirname(file), specifier)) : specifier, seen);
  return seen;
}

test('what runs in a browser needs no module of Node and no package', () => {
  const modules = [...graph('entry/browser.ts')];
  expect(modules).toContain('mock-qemu/core/vm.ts');
  expect(modules.filter((file) => !file.includes('/') || file.startsWith('node:'))).toEqual([]);
  expect(modules.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
});
