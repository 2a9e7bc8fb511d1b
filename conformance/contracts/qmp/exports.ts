/** What a server exports by NBD, and what another one does with it. */
import type { Contract } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { Bench, DATA, JOB } from '../../qmp/bench.ts';
import type { WireMessage } from '../../wire.ts';
import { type CommandRow, commandContract } from './command-row.ts';

const addressOf = (bench: Bench): WireMessage => ({
  type: 'unix',
  data: { path: bench.path('nbd') },
});

/** Starts the NBD server of a machine that has the node `disk`. */
async function serve(bench: Bench): Promise<void> {
  await bench.raw('disk', [DATA]);
  await bench.monitor.succeed('nbd-server-start', { addr: addressOf(bench) });
}

const exportOf = (id: string, more: WireMessage = {}): WireMessage => ({
  ...{ type: 'nbd', id, 'node-name': 'disk', name: id },
  ...more,
});

const exported = async ({ monitor }: Bench): Promise<string[]> =>
  (await monitor.list('query-block-exports'))
    .map(({ id, 'node-name': name, type, 'shutting-down': ends }) => `${id} ${type} ${name} ${ends}`)
    .sort();

const deleted = ({ monitor }: Bench): unknown[] =>
  monitor
    .eventData('BLOCK_EXPORT_DELETED')
    .map(({ id }) => id)
    .sort();

const ROWS: readonly CommandRow[] = [
  {
    id: 'nbd-server',
    title: 'An NBD server is started once; when it is stopped its exports are gone, which is told of each',
    async check(bench) {
      const { monitor } = bench;
      const early = await monitor.execute('block-export-add', exportOf('one'));
      expect('error' in early, 'something is exported without a server');
      await serve(bench);
      const again = await monitor.execute('nbd-server-start', { addr: addressOf(bench) });
      expect('error' in again, 'a server was started where one runs');
      await monitor.succeed('block-export-add', exportOf('one'));
      await monitor.succeed('block-export-add', exportOf('two'));
      await monitor.succeed('nbd-server-stop');
      await monitor.until('the end of both exports', () => deleted(bench).length === 2);
      expectEqual<unknown>(deleted(bench), ['one', 'two'], 'BLOCK_EXPORT_DELETED');
      expectEqual(await exported(bench), [], 'exports afterwards');
      expect('error' in (await monitor.execute('nbd-server-stop')), 'the server was stopped twice');
    },
  },
  {
    id: 'block-export',
    title: 'An export is shown and keeps its node until it is deleted, which is told once',
    async check(bench) {
      const { monitor } = bench;
      await serve(bench);
      await monitor.succeed('block-export-add', exportOf('one', { writable: true }));
      expectEqual(await exported(bench), ['one nbd disk false'], 'exports');
      const again = await monitor.execute('block-export-add', exportOf('one'));
      expect('error' in again, 'an id was given twice');
      const busy = await monitor.execute('blockdev-del', { 'node-name': 'disk' });
      expect('error' in busy, 'the node was deleted under its export');
      await monitor.succeed('block-export-del', { id: 'one' });
      await monitor.until('the end of the export', () => deleted(bench).length > 0);
      expectEqual(await exported(bench), [], 'exports after the deletion');
      await monitor.succeed('blockdev-del', { 'node-name': 'disk' });
      await monitor.succeed('nbd-server-stop');
      expectEqual<unknown>(deleted(bench), ['one'], 'BLOCK_EXPORT_DELETED');
    },
  },
  {
    id: 'nbd-server-add',
    title: 'A node is exported and taken back by its name in the older way, too',
    async check(bench) {
      const { monitor } = bench;
      await serve(bench);
      await monitor.succeed('nbd-server-add', { device: 'disk', name: 'old' });
      expectEqual(await exported(bench), ['old nbd disk false'], 'exports');
      await monitor.succeed('nbd-server-remove', { name: 'old' });
      await monitor.until('the end of the export', () => deleted(bench).length > 0);
      expectEqual(await exported(bench), [], 'exports after the removal');
      await monitor.succeed('nbd-server-stop');
    },
  },
  {
    id: 'mirror-over-nbd',
    title: 'A mirror onto the export of another machine makes its image equal, guest writes included',
    source: 'QEMU docs/interop/live-block-operations.rst: mirror over NBD',
    needs: ['qmpEndable', 'qmpNbd'],
    async check(bench) {
      const { monitor, world } = bench;
      const other = await Bench.empty(world);
      await other.raw('disk');
      await other.monitor.succeed('nbd-server-start', { addr: addressOf(other) });
      await other.monitor.succeed('block-export-add', exportOf('copy', { writable: true }));
      await bench.raw('source', [DATA]);
      const server = { type: 'unix', path: other.path('nbd') };
      await monitor.succeed('blockdev-add', { driver: 'nbd', 'node-name': 'target', server, export: 'copy' });
      await bench.mirror({ 'filter-node-name': 'filter' });
      await bench.ready();
      const late = { offsetBytes: 768 * 1024, lengthBytes: 65_536, byte: 0x33 };
      await bench.write('filter', late);
      await monitor.succeed('block-job-cancel', { device: JOB });
      await monitor.reach(JOB, 'null');
      await monitor.succeed('blockdev-del', { 'node-name': 'target' });
      await other.monitor.succeed('nbd-server-stop');
      await other.monitor.succeed('blockdev-del', { 'node-name': 'disk' });
      const contents = await world.session.contents(other.path('disk.raw'));
      expectEqual(contents, [DATA, late], 'contents on the other machine');
    },
  },
];

/** The contracts. */
export const exportContracts: readonly Contract[] = ROWS.map((row) =>
  commandContract({ source: 'QAPI block-export.json', ...row }),
);
