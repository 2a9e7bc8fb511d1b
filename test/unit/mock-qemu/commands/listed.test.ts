/** What a generation lists and the simulation does not do, as far as it is about disks: known by name, and said by name. */
import { expect, test } from 'vitest';
import { profileNamed } from '../../../../mock-qemu/profiles/index.ts';
import { handlerOf } from '../../../../mock-qemu/qmp/commands/index.ts';
import { Bench } from './bench.ts';

const ABOUT_DISKS = /(?<!ram)block|nbd|snapshot|drive|job|transaction|eject|throttle|export|medium|tray/;

/** Debugging aids, and what moves a node between threads that are not simulated. */
const NOT_DONE = [
  'x-blockdev-set-iothread',
  'x-debug-block-dirty-bitmap-sha256',
  'x-debug-query-block-graph',
];

test.each([
  ['rhel-6.3', []],
  ['qemu-1.3', []],
  ['qemu-7.2', NOT_DONE],
  ['qemu-10.0', NOT_DONE],
] as const)('%s: commands about disks that are not simulated', (name, expected) => {
  const profile = profileNamed(name);
  const missing = profile.introspection.commands.filter(
    (command) => ABOUT_DISKS.test(command) && !handlerOf(profile, command),
  );
  expect(missing.sort()).toEqual([...expected].sort());
});

test('a command that is listed and not simulated says so', () => {
  const bench = new Bench();
  expect(bench.run('x-debug-query-block-graph')).toBe(
    'Command x-debug-query-block-graph is not supported by the simulation',
  );
});
