import { readFileSync, statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { profileNamed, profiles } from '../../../../mock-qemu/profiles/index.ts';
import type { KnownBugs } from '../../../../mock-qemu/profiles/profile.ts';

test('an unknown name lists the valid ones', () => {
  const valid = profiles.map(({ name }) => name).join(', ');
  expect(() => profileNamed('qemu-99')).toThrow(`unknown profile 'qemu-99'; valid profiles: ${valid}`);
});

describe.each(profiles.map((profile) => [profile.name, profile] as const))('%s', (name, profile) => {
  const { introspection } = profile;
  const types = new Map(introspection.schema.map((entity) => [entity.name, entity]));

  test('is found by its name', () => {
    expect(profileNamed(name)).toBe(profile);
  });

  test('every command it lists has a schema, and every type that is referred to exists', () => {
    for (const command of introspection.commands) {
      expect(types.get(command)?.['meta-type'], command).toBe('command');
    }
    const referred = introspection.schema.flatMap((entity) => {
      switch (entity['meta-type']) {
        case 'command':
          return [entity['arg-type'], entity['ret-type']];
        case 'event':
          return [entity['arg-type']];
        case 'array':
          return [entity['element-type']];
        case 'alternate':
          return entity.members.map(({ type }) => type);
        case 'object':
          return [...entity.members, ...(entity.variants ?? [])].map(({ type }) => type);
        default:
          return [];
      }
    });
    for (const type of referred) expect(types.has(type), type).toBe(true);
  });

  test('what was found by probing belongs to the schema', () => {
    for (const key of [...Object.keys(introspection.integers), ...Object.keys(introspection.alternates)]) {
      expect(types.has(key.split('.')[0] ?? ''), key).toBe(true);
    }
  });
});

test.each(['qemu-7.2', 'qemu-10.0'])('the captured file of %s is small', (name) => {
  const file = new URL(`../../../../mock-qemu/profiles/captured/${name}.json`, import.meta.url);
  expect(statSync(file).size).toBeLessThan(300 * 1024);
});

test('every known bug is in the table that users read, and belongs to a profile', () => {
  const page = new URL('../../../../docs/generations-of-qemu.md', import.meta.url);
  const rows = readFileSync(page, 'utf8').matchAll(/^\| `(\w+)` +\| ([\w., -]+?) +\|/gm);
  const told = Object.fromEntries([...rows].map(([, bug = '', names = '']) => [bug, names.split(', ')]));
  const bugs = Object.keys(profileNamed('qemu-7.2').bugs) as (keyof KnownBugs)[];
  const had = bugs.map((bug) => [
    bug,
    profiles.filter((profile) => profile.bugs[bug]).map(({ name }) => name),
  ]);
  expect(told).toEqual(Object.fromEntries(had.filter(([, names]) => names?.length !== 0)));
});
