/** What images keep beside their data: bitmaps over a restart, and the snapshots of whole machines. */
import type { Contract } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { Bench, DATA, DISK_BYTES, JOB } from '../../qmp/bench.ts';
import type { WireMessage } from '../../wire.ts';
import { bitmaps, type CommandRow, commandContract } from './command-row.ts';

const CHANGED = { offsetBytes: 64 * 1024, lengthBytes: 64 * 1024, byte: 0x33 } as const;

/** Runs a job on snapshots of the machine, whose only disk is `disk`; resolves to its error. */
async function runJob({ monitor }: Bench, command: string, more: WireMessage = {}): Promise<unknown> {
  await monitor.succeed(command, { 'job-id': JOB, tag: 'before', devices: ['disk'], ...more });
  await monitor.until(`the end of ${command}`, () => monitor.jobEvents(JOB).at(-1) === 'J:concluded');
  const job = await monitor.job(JOB);
  await monitor.succeed('job-dismiss', { id: JOB });
  return job?.error;
}

const ROWS: readonly CommandRow[] = [
  {
    id: 'persistent-bitmap',
    title: 'A persistent bitmap and what it has recorded are there after a restart, another one is not',
    source: 'QEMU docs/interop/bitmaps.rst; QAPI block-core.json BlockDirtyBitmapAdd',
    needs: ['qmpEndable'],
    async check(bench) {
      const { monitor, world } = bench;
      await bench.chain(['disk']);
      const kept = { node: 'disk', name: 'kept', persistent: true };
      await monitor.succeed('block-dirty-bitmap-add', kept);
      await monitor.succeed('block-dirty-bitmap-add', { node: 'disk', name: 'passing' });
      await bench.write('disk', CHANGED);
      await monitor.succeed('quit');
      await monitor.until('the end of the server', () => monitor.isClosed);
      const next = await Bench.empty(world);
      await next.open('qcow2', 'disk', next.path('disk.qcow2'), null);
      expectEqual(await bitmaps(next), ['kept: 65536'], 'bitmaps after the restart');
      await next.monitor.succeed('block-dirty-bitmap-remove', { node: 'disk', name: 'kept' });
      await next.monitor.succeed('blockdev-del', { 'node-name': 'disk' });
      await next.open('qcow2', 'disk', next.path('disk.qcow2'), null);
      expectEqual(await bitmaps(next), [], 'bitmaps after the removal');
    },
  },
  {
    id: 'machine-snapshot',
    title: 'A machine goes back to a snapshot with its disk, until that is deleted',
    source: 'QAPI migration.json snapshot-save, snapshot-load, snapshot-delete',
    machine: { machine: 'pc' },
    async check(bench) {
      const { monitor, world } = bench;
      const path = bench.path('disk.qcow2');
      const format = 'qcow2';
      await world.session.createImage({ path, format, capacityBytes: DISK_BYTES, writes: [DATA] });
      await bench.open(format, 'disk', path, null);
      expectEqual(await runJob(bench, 'snapshot-save', { vmstate: 'disk' }), undefined, 'error of the save');
      await bench.write('disk', CHANGED);
      expectEqual(await runJob(bench, 'snapshot-load', { vmstate: 'disk' }), undefined, 'error of the load');
      expectEqual(await runJob(bench, 'snapshot-delete'), undefined, 'error of the deletion');
      const error = await runJob(bench, 'snapshot-load', { vmstate: 'disk' });
      expect(error !== undefined, 'the machine goes back to a snapshot that is deleted');
      await monitor.succeed('blockdev-del', { 'node-name': 'disk' });
      expectEqual(await world.session.contents(path), [DATA], 'contents after going back');
    },
  },
];

const QEMU_IO: CommandRow = {
  id: 'qemu-io',
  title: "The human monitor's qemu-io writes to a node, zeroes it too, and says so where there is none",
  source: 'QEMU hmp-commands.hx: qemu-io',
  async check(bench) {
    await bench.raw('disk', [DATA]);
    const { offsetBytes, lengthBytes } = CHANGED;
    await bench.write('disk', CHANGED);
    await bench.monitor.human(`qemu-io disk "write -z 0 ${offsetBytes}"`);
    const answer = await bench.monitor.human('qemu-io nowhere "write -P 1 0 512"');
    expect(answer.includes('nowhere'), `the answer does not name the node: ${JSON.stringify(answer)}`);
    await bench.monitor.succeed('blockdev-del', { 'node-name': 'disk' });
    const end = offsetBytes + lengthBytes;
    const rest = { ...DATA, offsetBytes: end, lengthBytes: DATA.lengthBytes - end };
    const contents = await bench.world.session.contents(bench.path('disk.raw'));
    expectEqual(contents, [CHANGED, rest], 'contents');
  },
};

/** The contracts. */
export const keptContracts: readonly Contract[] = [...ROWS, QEMU_IO].map(commandContract);
