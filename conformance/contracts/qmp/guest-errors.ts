/** What a device makes of a guest's request that fails: BLOCK_IO_ERROR, io-status, and CPUs that stop. */
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { Bench, DATA } from '../../qmp/bench.ts';
import type { WireMessage } from '../../wire.ts';
import type { World } from '../../world.ts';

const SOURCE = 'QAPI block-core.json BLOCK_IO_ERROR, BlockdevOnError; qemu-options: werror, rerror';
/** The device, and the node below it. */
const DEVICE = 'disk';
const NODE = 'source';

const ERRNOS = {
  EIO: { number: 5, reason: 'Input/output error', ioStatus: 'failed', nospace: false },
  ENOSPC: { number: 28, reason: 'No space left on device', ioStatus: 'nospace', nospace: true },
} as const;

type ErrnoName = keyof typeof ERRNOS;
type Action = 'ignore' | 'report' | 'stop';

/** One policy and one error. */
interface Row {
  readonly policy: string;
  readonly errno: ErrnoName;
  readonly action: Action;
  /** No policy can ever stop this disk: it has no io-status then. */
  readonly isUntracked?: true;
}

const READS: readonly Row[] = [
  { policy: 'report', errno: 'EIO', action: 'report' },
  { policy: 'ignore', errno: 'EIO', action: 'ignore' },
  { policy: 'stop', errno: 'EIO', action: 'stop' },
  { policy: 'stop', errno: 'ENOSPC', action: 'stop' },
];

const WRITES: readonly Row[] = [
  { policy: 'report', errno: 'ENOSPC', action: 'report', isUntracked: true },
  { policy: 'ignore', errno: 'ENOSPC', action: 'ignore', isUntracked: true },
  { policy: 'enospc', errno: 'ENOSPC', action: 'stop' },
  { policy: 'enospc', errno: 'EIO', action: 'report' },
  { policy: 'stop', errno: 'EIO', action: 'stop' },
  { policy: 'stop', errno: 'ENOSPC', action: 'stop' },
];

/** Puts a disk on the machine. */
async function plug({ monitor }: Bench, policies: WireMessage): Promise<void> {
  await monitor.succeed('device_add', { driver: 'virtio-blk-pci', id: DEVICE, drive: NODE, ...policies });
}

/** A guest that reads the first sector: a simulated one when it is told to, a real one's firmware when it boots. */
async function readFirstSector({ monitor, server }: Bench): Promise<void> {
  await monitor.succeed('cont');
  await server?.control?.({ control: 'guest-io', disk: DEVICE, op: 'read', offset: 0, bytes: 512 });
}

/** The first BLOCK_IO_ERROR, without what only some versions tell. */
async function expectError(
  { monitor }: Bench,
  operation: string,
  { errno, action, isUntracked }: Row,
): Promise<void> {
  const data = await monitor.until('BLOCK_IO_ERROR', () => monitor.eventData('BLOCK_IO_ERROR')[0]);
  const { 'qom-path': _path, ...rest } = data;
  const { reason, nospace } = ERRNOS[errno];
  const tracked = isUntracked ? {} : { nospace };
  const wanted = { action, device: '', 'node-name': NODE, ...tracked, operation, reason };
  expectEqual<unknown>(Object.entries(rest).sort(), Object.entries(wanted).sort(), 'BLOCK_IO_ERROR');
}

/** The CPUs stand still with a reason, or run as if nothing had happened; the disk says so too. */
async function expectState({ monitor }: Bench, { errno, action, isUntracked }: Row): Promise<void> {
  const stopped = action === 'stop';
  if (stopped) await monitor.until('STOP', () => monitor.eventData('STOP').length > 0);
  const { status } = (await monitor.succeed('query-status')) as WireMessage;
  expectEqual(status, stopped ? 'io-error' : 'running', 'run state');
  expect(stopped || monitor.eventData('STOP').length === 0, 'STOP came although nothing is to stop');
  const [disk = {}] = await monitor.list('query-block');
  const ioStatus = stopped ? ERRNOS[errno].ioStatus : 'ok';
  expectEqual(disk['io-status'], isUntracked ? undefined : ioStatus, 'io-status of the disk');
}

async function checkRead(world: World, row: Row): Promise<void> {
  const bench = await Bench.withBus(world);
  const rule = { event: 'none', iotype: 'read', sector: 0, errno: ERRNOS[row.errno].number };
  await bench.debugged(NODE, { 'inject-error': [rule] }, [DATA]);
  await plug(bench, { rerror: row.policy });
  await readFirstSector(bench);
  await expectError(bench, 'read', row);
  await expectState(bench, row);
}

const WRITTEN = { offsetBytes: 512, lengthBytes: 512, byte: 0x21 } as const;

async function checkWrite(world: World, row: Row): Promise<void> {
  const bench = await Bench.withBus(world);
  await bench.raw(NODE);
  await plug(bench, { werror: row.policy });
  const control = async (request: WireMessage) => bench.server?.control?.(request);
  const { offsetBytes: offset, lengthBytes: bytes, byte } = WRITTEN;
  await control({
    control: 'add-faults',
    faults: [{ at: 'guest.write', do: 'error', errno: row.errno, times: 1 }],
  });
  await bench.monitor.succeed('cont');
  await control({ control: 'guest-io', disk: DEVICE, op: 'write', offset, bytes, byte });
  await expectError(bench, 'write', row);
  await expectState(bench, row);
  const { monitor } = bench;
  if (row.action === 'stop') {
    await monitor.succeed('cont');
    await monitor.until('RESUME', () => monitor.eventData('RESUME').length === 2);
  }
  // Behind the first one, so that the first one has been tried again where it was to be.
  await control({ control: 'guest-io', disk: DEVICE, op: 'flush' });
  await world.until('the flush', async () => {
    const [stats = {}] = await monitor.list('query-blockstats');
    return Number((stats.stats as WireMessage).flush_operations) > 0;
  });
  await monitor.succeed('quit');
  await monitor.until('the end of the connection', () => monitor.isClosed);
  const expected = row.action === 'stop' ? [WRITTEN] : [];
  expectEqual<object>(await world.session.contents(bench.path(`${NODE}.raw`)), expected, 'what was written');
}

const DOES: Readonly<Record<Action, string>> = {
  report: 'is told to the guest, which runs on',
  stop: 'stops the CPUs with the run state io-error',
  ignore: 'is hidden from the guest, which runs on',
};

const idOf = (side: string, { policy, errno }: Row): string =>
  `qmp/guest-error/${side}-${errno.toLowerCase()}-${policy}`;

/** The contracts about I/O errors of guests. */
export const guestErrorContracts: readonly Contract[] = [
  ...READS.map((row) =>
    example({
      id: idOf('read', row),
      title: `${row.errno} on a guest's read with rerror=${row.policy} ${DOES[row.action]}`,
      source: SOURCE,
      needs: ['qmp', 'qmpDisks'],
      check: (world) => checkRead(world, row),
    }),
  ),
  ...WRITES.map((row) =>
    example({
      id: idOf('write', row),
      title: `${row.errno} on a guest's write with werror=${row.policy} ${DOES[row.action]}`,
      source: SOURCE,
      needs: ['qmp', 'qmpDisks', 'faults'],
      check: (world) => checkWrite(world, row),
    }),
  ),
  example({
    id: 'qmp/guest-error/cont-without-cure',
    title: 'A machine that goes on while the error lasts stops again, and says why',
    source: SOURCE,
    needs: ['qmp', 'qmpDisks'],
    async check(world) {
      const bench = await Bench.withBus(world);
      const rule = { event: 'none', iotype: 'read', sector: 0, errno: ERRNOS.EIO.number };
      await bench.debugged(NODE, { 'inject-error': [rule] }, [DATA]);
      await plug(bench, { rerror: 'stop' });
      await readFirstSector(bench);
      const { monitor } = bench;
      const stops = (count: number) =>
        monitor.until(`stop ${count}`, () => monitor.eventData('STOP').length === count);
      await stops(1);
      await monitor.succeed('cont');
      await stops(2);
      const told = () => monitor.eventData('BLOCK_IO_ERROR').length;
      // Today's QEMUs hold the second one back until a second has passed since the first.
      await monitor.until('the second BLOCK_IO_ERROR', () => told() === 2);
      const names = monitor.received.flatMap(({ event }) =>
        event === 'STOP' || event === 'RESUME' ? [event] : [],
      );
      expectEqual<readonly string[]>(names, ['RESUME', 'STOP', 'RESUME', 'STOP'], 'events of the machine');
    },
  }),
];
