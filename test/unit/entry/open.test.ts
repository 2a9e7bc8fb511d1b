import { describe, expect, test } from 'vitest';
import { createQemuDriver } from '../../../drivers/qemu/driver.ts';
import { ErrorCode, open, openConnection, VirtError } from '../../../entry/index.ts';
import { createMockHost } from '../../../entry/mock-host.ts';
import { createWorld } from '../../../mock-qemu/shells/world.ts';
import { describeBadInput } from '../../bad-input.ts';

describe('open refuses', () => {
  const rows: readonly [string, string, number, RegExp][] = [
    [
      'what is no URI',
      'nonsense',
      ErrorCode.INVALID_ARG,
      /'nonsense' is not a URI; use one of mock:\/\/\/embed, qemu:\/\/\/embed/,
    ],
    [
      'an unknown scheme',
      'xen:///embed',
      ErrorCode.NO_CONNECT,
      /no connection driver available for xen:\/\/\/embed; use one of/,
    ],
    [
      'a path it does not serve',
      'qemu:///system',
      ErrorCode.INVALID_ARG,
      /the only path is qemu:\/\/\/embed/,
    ],
    [
      'an unknown parameter',
      'mock:///embed?sed=1',
      ErrorCode.INVALID_ARG,
      /unknown parameter 'sed'.*valid ones are profile, without-bug, seed/,
    ],
    [
      'a seed that is no number',
      'mock:///embed?seed=x',
      ErrorCode.INVALID_ARG,
      /seed must be a whole number/,
    ],
    ['an unknown profile', 'mock:///embed?profile=qemu-99', ErrorCode.INVALID_ARG, /qemu-99.*qemu-7\.2/],
    ['a real QEMU without a root', 'qemu:///embed', ErrorCode.INVALID_ARG, /needs root=DIR/],
    [
      'a root that cannot be made',
      'qemu:///embed?root=/proc/nope',
      ErrorCode.SYSTEM_ERROR,
      /cannot create root directory \/proc\/nope/,
    ],
  ];
  test.each(rows)('%s', async (_what, uri, code, message) => {
    const error: unknown = await open(uri).then(
      () => expect.fail('was opened'),
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(VirtError);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test('but takes drivers of its caller', async () => {
    const driver = createQemuDriver({ host: createMockHost(createWorld({ seed: 1 }), 'qemu-7.2') });
    const connection = await open('mine:///anything', { drivers: { mine: () => driver } });
    expect(await connection.listAllDomains()).toEqual([]);
    await connection.close();
  });
});

describe('bad input on the simulation', () => {
  const worlds = new WeakMap<object, ReturnType<typeof createWorld>>();
  describeBadInput(
    async () => {
      const world = createWorld({ seed: 1 });
      const driver = createQemuDriver({ host: createMockHost(world, 'qemu-7.2') });
      const connection = openConnection({ uri: 'mock:///embed', driver });
      worlds.set(connection, world);
      return { connection, directory: '/images' };
    },
    async ({ connection, directory }) => {
      const store = worlds.get(connection)?.store;
      const names = ['none.qcow2', 'copy.qcow2', 'raw'].map((name) => `${directory}/${name}`);
      return [...names, '/nonexistent/copy.qcow2'].filter((path) => store?.stat(path) !== undefined);
    },
  );
});
