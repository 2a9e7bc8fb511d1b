/** The machine around the disks: its run state, its devices, and what it says of itself. */
import type { Contract } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { Bench, CHAIN_BYTES, DATA } from '../../qmp/bench.ts';
import { isObject, objectAt, type WireMessage } from '../../wire.ts';
import { type CommandRow, commandContract, node } from './command-row.ts';

const PC = { machine: 'pc' } as const;

async function status({ monitor }: Bench): Promise<unknown> {
  const value = await monitor.succeed('query-status');
  return isObject(value) ? value.status : value;
}

const MACHINE: readonly CommandRow[] = [
  {
    id: 'run-state',
    title: 'query-status follows the machine from before its start to a reset, which is told',
    source: 'QAPI run-state.json',
    machine: PC,
    async check(bench) {
      const { monitor } = bench;
      const seen = [await status(bench)];
      for (const command of ['cont', 'stop', 'system_reset']) {
        await monitor.succeed(command);
        if (command === 'system_reset')
          await monitor.until('RESET', () => monitor.eventData('RESET').length > 0);
        seen.push(await status(bench));
      }
      expectEqual<unknown>(seen, ['prelaunch', 'running', 'paused', 'prelaunch'], 'run states');
      const wanted = [{ guest: false, reason: 'host-qmp-system-reset' }];
      expectEqual<object[]>(monitor.eventData('RESET'), wanted, 'RESET');
    },
  },
  {
    id: 'powerdown',
    title: 'A guest is asked once to power down, which is told and does not end it',
    source: 'QAPI machine.json system_powerdown, run-state.json POWERDOWN',
    machine: PC,
    async check(bench) {
      const { monitor } = bench;
      await monitor.succeed('cont');
      await monitor.succeed('system_powerdown');
      await monitor.until('POWERDOWN', () => monitor.eventData('POWERDOWN').length > 0);
      expectEqual(await status(bench), 'running', 'run state');
      expectEqual(monitor.eventData('POWERDOWN').length, 1, 'number of POWERDOWN');
    },
  },
  {
    id: 'device-add-del',
    title: 'A disk that is plugged in keeps its node until its guest, or a reset, has let go of it',
    source: 'QAPI qdev.json',
    machine: PC,
    async check(bench) {
      const { monitor } = bench;
      await bench.raw('disk', [DATA]);
      const add = { driver: 'virtio-blk-pci', id: 'plugged', drive: 'disk' };
      await monitor.succeed('device_add', add);
      const remove = () => monitor.execute('blockdev-del', { 'node-name': 'disk' });
      expect('error' in (await remove()), 'the node was deleted under its device');
      await monitor.succeed('device_del', { id: 'plugged' });
      expect('error' in (await remove()), 'the node was deleted before the guest had let go');
      await monitor.succeed('system_reset');
      const gone = () => monitor.eventData('DEVICE_DELETED').filter(({ device }) => device === 'plugged');
      await monitor.until('DEVICE_DELETED', () => gone().length > 0);
      expectEqual<object[]>(
        gone(),
        [{ device: 'plugged', path: '/machine/peripheral/plugged' }],
        'DEVICE_DELETED of the device',
      );
      expectEqual(await monitor.list('query-block'), [], 'disks afterwards');
      await monitor.succeed('blockdev-del', { 'node-name': 'disk' });
    },
  },
  {
    id: 'set-active',
    title:
      'An inactive node takes no writer and leaves its image to another machine, until it is active again',
    source: 'QAPI block-core.json blockdev-set-active',
    needs: ['qmpActive', 'qmpEndable'],
    async check(bench) {
      const { monitor } = bench;
      await bench.chain(['disk']);
      const other = await Bench.empty(bench.world);
      const file = { driver: 'file', filename: bench.path('disk.qcow2') };
      const theirs = { driver: 'qcow2', 'node-name': 'disk', file, backing: null };
      const isRefused = async ({ monitor: asked }: Bench, command: string, args: WireMessage) =>
        'error' in (await asked.execute(command, args));
      const resize = { 'node-name': 'disk', size: 2 * CHAIN_BYTES };
      expect(await isRefused(other, 'blockdev-add', theirs), 'two machines write to an image');
      await monitor.succeed('blockdev-set-active', { 'node-name': 'disk', active: false });
      expectEqual((await node(bench, 'disk')).active, false, 'active');
      expect(await isRefused(bench, 'block_resize', resize), 'an inactive node is resized');
      await other.monitor.succeed('blockdev-add', theirs);
      const back = { active: true };
      expect(
        await isRefused(bench, 'blockdev-set-active', back),
        'the node came back under the other machine',
      );
      await other.monitor.succeed('blockdev-del', { 'node-name': 'disk' });
      await monitor.succeed('blockdev-set-active', back);
      expectEqual((await node(bench, 'disk')).active, true, 'active in the end');
      await monitor.succeed('block_resize', resize);
    },
  },
  {
    id: 'introspection',
    title: 'The version is that of the greeting, and the schema describes all commands that there are',
    source: 'QAPI control.json, introspect.json',
    async check({ monitor }) {
      const version = await monitor.succeed('query-version');
      const greeting = objectAt(monitor.received[0] ?? {}, 'QMP');
      expectEqual<unknown>(version, greeting.version, 'version');
      const names = (list: readonly { readonly name?: unknown }[]) => list.map(({ name }) => String(name));
      const commands = names(await monitor.list('query-commands'));
      const schema = await monitor.list('query-qmp-schema');
      const described = names(schema.filter((entity) => entity['meta-type'] === 'command'));
      const known = new Set(described);
      expectEqual(
        commands.filter((name) => !known.has(name)),
        [],
        'commands that the schema does not describe',
      );
      for (const name of ['blockdev-mirror', 'block-commit', 'job-complete'])
        expect(commands.includes(name), `query-commands lacks ${name}`);
    },
  },
];

/** The contracts. */
export const machineContracts: readonly Contract[] = MACHINE.map(commandContract);
