import { expect, test } from 'vitest';
import { contracts, Monitor, type OpenOptions, World } from '../../../conformance/index.ts';
import { skipReason } from '../../../conformance/judge.ts';
import { simTarget } from '../../../entry/targets/sim.ts';
import { simProcessTarget } from '../../../entry/targets/sim-process.ts';

const DISK = { capacityBytes: 1 << 20, isDeclared: true, layers: [{ format: 'raw', writes: [] }] } as const;
const LOST_REPLY = { at: 'monitor.reply', command: 'query-name', do: 'close' } as const;

/** What a simulated QEMU 7.2 cannot be held to: the verbs of later versions, and the wire of much earlier ones. */
const OUT_OF_REACH = ['qmp/command/block-job-change', 'qmp/command/set-active'];
const EARLIER = 'qmp/early/';

/** What needs `anyDisk` or `early` is held to other targets by `conformance/elsewhere.test.ts`. */
test('nothing is skipped on the simulated QEMU that it could run', async () => {
  const availability = await simTarget().available();
  const skipped = contracts.filter((contract) => skipReason(contract, availability) !== undefined);
  const ids = skipped
    .filter(({ needs }) => !needs.some((need) => need === 'anyDisk' || need === 'early'))
    .map(({ id }) => id)
    .filter((id) => !id.startsWith(EARLIER));
  expect(ids).toEqual(OUT_OF_REACH);
});

const ways: Readonly<Record<string, Partial<OpenOptions>>> = {
  plain: {},
  traced: { trace: true },
  watched: { watch: true },
  broken: { wire: () => ({}) },
};

test.for(Object.keys(ways))('a session that is %s has faults and guests that write', async (way) => {
  const session = await simTarget().open({ seed: 1, ...ways[way] });
  const world = new World(session);
  const vm = await world.start(DISK);
  const ask = (request: Parameters<NonNullable<typeof session.control>>[1]) =>
    session.control?.(vm.domain.name, request);
  expect(await ask({ control: 'list-faults' })).toEqual([]);
  await ask({ control: 'add-faults', faults: [{ at: 'guest.write', do: 'error', errno: 'ENOSPC' }] });
  expect(await ask({ control: 'list-faults' })).toHaveLength(1);
  await ask({ control: 'clear-faults' });
  await expect(ask({ control: 'dance' })).rejects.toThrow("unknown control verb 'dance'");
  await expect(session.control?.('nobody', { control: 'list-faults' })).rejects.toThrow("'nobody'");
  await session.dispose();
});

test('faults that a session is opened with are those of its domains', async () => {
  const session = await simTarget().open({ seed: 1, faults: [LOST_REPLY] });
  const world = new World(session);
  const vm = await world.start(DISK);
  expect(await session.control?.(vm.domain.name, { control: 'list-faults' })).toMatchObject([
    { fault: LOST_REPLY },
  ]);
  await session.dispose();
});

test.for([
  ['in process', simTarget],
  ['as a process', simProcessTarget],
] as const)('a QMP server %s takes faults from its start and later', async ([, make]) => {
  const target = make();
  const session = await target.open({ seed: 1, trace: true });
  const world = new World(session);
  const server = await session.startQmp?.({
    machine: 'pc',
    faults: [{ at: 'monitor.command', command: 'query-status', do: 'delay', delayNs: 1_000_000 }],
  });
  if (!server) throw new Error('no QMP server');
  const monitor = await Monitor.connect(world, server);
  await monitor.succeed('qmp_capabilities');
  await monitor.succeed('query-status');
  expect(await server.control?.({ control: 'list-faults' })).toMatchObject([{ happened: 1 }]);
  await server.control?.({ control: 'add-faults', faults: [LOST_REPLY] });
  await expect(monitor.succeed('query-name')).rejects.toThrow('the connection ended');
  await expect(server.control?.({ control: 'dance' })).rejects.toThrow("unknown control verb 'dance'");
  await session.dispose();
  await target.close?.();
});
