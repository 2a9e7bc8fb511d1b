import { expect, test } from 'vitest';
import { machineArguments } from '../../../../drivers/qemu/arguments.ts';
import { chooseDialect } from '../../../../drivers/qemu/dialects/index.ts';
import { probe } from '../../../../drivers/qemu/probe.ts';
import { QmpClient } from '../../../../drivers/qemu/qmp-client.ts';
import type { QmpObject } from '../../../../drivers/qemu/qmp-json.ts';
import { ErrorCode } from '../../../../src/errors.ts';
import { wallClock } from '../../../../src/util/timers.ts';
import { FakeServer } from './duplex-pair.ts';
import { modernDialect, SPEC } from './fake-host.ts';

const COMMANDS = [
  'blockdev-add',
  'blockdev-create',
  'blockdev-del',
  'blockdev-mirror',
  'block-commit',
  'block-stream',
  'block-job-cancel',
  'job-complete',
  'job-dismiss',
  'query-block-jobs',
  'query-jobs',
  'query-named-block-nodes',
  'transaction',
];

/** A schema entry pair for a command and its arguments. */
const describeCommand = (
  name: string,
  members: readonly string[],
  features: readonly string[] = [],
): QmpObject[] => [
  { name, 'meta-type': 'command', 'arg-type': `${name}-arg`, features },
  { name: `${name}-arg`, 'meta-type': 'object', members: members.map((member) => ({ name: member })) },
];

const SCHEMA = [
  ...describeCommand('blockdev-mirror', ['device', 'auto-dismiss', 'copy-mode']),
  ...describeCommand('block-commit', ['base-node']),
  ...describeCommand('block-stream', ['base-node']),
  ...describeCommand('query-named-block-nodes', ['flat']),
  ...describeCommand('blockdev-snapshot', ['node'], ['allow-write-only-overlay']),
];

async function probeFake(commands: readonly string[], schema?: typeof SCHEMA) {
  const described = schema === undefined ? [] : ['query-qmp-schema'];
  const server = new FakeServer({
    'query-commands': () => [...commands, ...described].map((name) => ({ name })),
    'query-qmp-schema': () => schema ?? [],
  });
  return probe(await QmpClient.connect(async () => server.duplex, { timers: wallClock }));
}

test('a QEMU that describes itself gets what it can do', async () => {
  const answers = await probeFake(COMMANDS, SCHEMA);
  expect(answers).toMatchObject({ hypervisor: 'QEMU 7.2.22', version: 7_002_022, build: '7.2.22 test' });
  expect(answers.hasFeature('blockdev-snapshot', 'allow-write-only-overlay')).toBe(true);
  const dialect = chooseDialect(answers);
  expect(dialect.name).toBe('blockdev');
  expect(dialect.capabilities.synchronousWrites).toBe(true);
  expect(dialect.openNodes()?.call.arguments).toEqual({ flat: true });
});

test('a QEMU that does not is taken at its commands', async () => {
  const dialect = chooseDialect(await probeFake(COMMANDS));
  expect(dialect.capabilities.synchronousWrites).toBe(false);
  expect(dialect.openNodes()?.call.arguments).toBeUndefined();
});

test('a missing command or argument is named', async () => {
  const commands = await probeFake(COMMANDS.filter((name) => name !== 'job-dismiss'));
  expect(() => chooseDialect(commands)).toThrow('blockdev needs job-dismiss');
  const older = [...describeCommand('blockdev-mirror', ['device']), ...SCHEMA.slice(2)];
  const answers = await probeFake(COMMANDS, older);
  expect(() => chooseDialect(answers)).toThrow('blockdev needs blockdev-mirror/auto-dismiss');
});

test('no dialect is an unsupported configuration', async () => {
  const answers = await probeFake(['block-stream']);
  expect(() => chooseDialect(answers)).toThrow(
    expect.objectContaining({ code: ErrorCode.CONFIG_UNSUPPORTED }),
  );
});

test('a chain is opened from the bottom up', () => {
  const argv = machineArguments(SPEC, modernDialect(), () => 'file');
  const nodes = argv.filter((_, at) => argv[at - 1] === '-blockdev').map((json) => JSON.parse(json));
  const storage = { driver: 'file', 'auto-read-only': true, discard: 'unmap' };
  expect(nodes).toEqual([
    { ...storage, filename: '/img/base.qcow2', 'node-name': 'libvirt-4-storage' },
    {
      'node-name': 'libvirt-4-format',
      'read-only': true,
      driver: 'qcow2',
      file: 'libvirt-4-storage',
      backing: null,
    },
    { ...storage, filename: '/img/top.qcow2', 'node-name': 'libvirt-3-storage' },
    {
      'node-name': 'libvirt-3-format',
      'read-only': false,
      driver: 'qcow2',
      file: 'libvirt-3-storage',
      backing: 'libvirt-4-format',
    },
  ]);
  expect(argv.slice(-2)).toEqual(['-device', 'virtio-blk-pci,drive=libvirt-3-format,id=virtio-disk0']);
});
