/** vm/dies: the machine ends, one way or the other, in the middle of a copy. */
import {
  BlockJobAbortFlags,
  BlockJobSetSpeedFlags,
  BlockJobStatus,
  isVirtError,
} from '../../../src/index.ts';
import { expect, expectEqual } from '../../expect.ts';
import { copyTargetXml, type Vm } from '../../vm.ts';
import type { WireMessage } from '../../wire.ts';
import type { World } from '../../world.ts';
import { readDisk } from '../../xml.ts';
import { type Play, play, sleep, untilDone } from '../play.ts';

const MIB = 1024 * 1024;
const STAGE = {
  diskBytes: 16 * MIB,
  dataBytes: 8 * MIB,
  heldBytesPerSecond: 64 * 1024,
  patienceMs: 1000,
} as const;

/** What is given to whoever watches a copy. */
interface Watched {
  readonly world: World;
  readonly vm: Vm;
  readonly target: string;
}

/** Watches a copy until it knows what came of it. */
type Watcher = (watched: Watched) => Promise<'completed' | 'failed' | 'gone'>;

/** @param onError what it makes of a domain that cannot be asked any more; undefined: it asks again */
const watcher =
  (onError: 'gone' | 'completed' | undefined): Watcher =>
  async ({ world, vm, target }) => {
    for (; ; await sleep(world, 250)) {
      try {
        if ((await vm.info()) !== null) continue;
        const { chain } = readDisk(await vm.domain.getXMLDesc(), vm.disk);
        return chain[0] === target ? 'completed' : 'failed';
      } catch (error) {
        if (!isVirtError(error)) throw error;
        if (onError) return onError;
      }
    }
  };

const PHASES = ['running', 'ready', 'completing'] as const;
type Phase = (typeof PHASES)[number];

const ask = (vm: Vm, request: WireMessage) => vm.world.session.control?.(vm.domain.name, request);
const monitor = (vm: Vm, command: string) =>
  vm.domain.qemuMonitorCommand(JSON.stringify({ execute: command })).catch(() => undefined);

/** QEMU dies of itself, or of somebody, at the next command. */
async function dies(vm: Vm, how: 'crash' | 'abort'): Promise<void> {
  await ask(vm, {
    control: 'add-faults',
    faults: [{ at: 'monitor.command', command: 'query-version', do: how }],
  });
  await monitor(vm, 'query-version');
}

/** How a machine ends; `reset` is no end. */
const ENDS = {
  sigkill: (vm) => dies(vm, 'crash'),
  abort: (vm) => dies(vm, 'abort'),
  quit: (vm) => monitor(vm, 'quit'),
  poweroff: (vm) => ask(vm, { control: 'guest', do: 'shutdown' }),
  panic: (vm) => ask(vm, { control: 'guest', do: 'panic' }),
  destroy: (vm) => vm.domain.destroy(),
  reset: (vm) => ask(vm, { control: 'guest', do: 'reset' }),
} as const satisfies { readonly [end: string]: (vm: Vm) => Promise<unknown> | undefined };

type End = keyof typeof ENDS;

const NOTHING = { settled: Promise.resolve('nothing was pending') };

/** Brings a copy into a phase; resolves to what is pending then. */
async function into(phase: Phase, vm: Vm, target: string): Promise<{ readonly settled: Promise<string> }> {
  const isHeld = phase === 'running';
  const bandwidth = isHeld ? { bandwidth: STAGE.heldBytesPerSecond } : {};
  await vm.domain.blockCopy(vm.disk, copyTargetXml(target, 'raw'), bandwidth);
  if (isHeld) return NOTHING;
  await vm.ready();
  if (phase === 'ready') return NOTHING;
  const slow = { at: 'mirror.target-flush', do: 'delay', delayNs: 3e9, times: 1 };
  await vm.write([{ offsetBytes: 0, lengthBytes: 4096, byte: 0x11 }]);
  await ask(vm, { control: 'add-faults', faults: [slow] });
  const pivot = vm.domain.blockJobAbort(vm.disk, BlockJobAbortFlags.PIVOT);
  await sleep(vm.world, 10);
  const settled = pivot.then(
    () => 'done',
    (error: Error) => error.message,
  );
  return { settled };
}

async function run(world: World, end: End, phase: Phase, app: Watcher): Promise<void> {
  const vm = await world.start({
    capacityBytes: STAGE.diskBytes,
    isDeclared: true,
    layers: [{ format: 'raw', writes: [{ offsetBytes: 0, lengthBytes: STAGE.dataBytes, byte: 0x5a }] }],
  });
  const target = vm.target();
  const { settled } = await into(phase, vm, target);
  const watched = app({ world, vm, target });
  watched.catch(() => {});
  await sleep(world, 300);
  await ENDS[end](vm);
  if (end === 'reset') {
    await goesOn(vm, phase);
    expectEqual<string>(await untilDone(world, watched, 10_000), 'completed', 'what the watcher believes');
    return;
  }
  await untilDone(world, settled, STAGE.patienceMs);
  expectEqual<string>(
    await untilDone(world, watched, 5 * STAGE.patienceMs),
    'gone',
    'what the watcher believes',
  );
  const ended = vm.statuses().filter((status) => status !== BlockJobStatus.READY);
  expect(!ended.includes(BlockJobStatus.COMPLETED), 'a copy whose machine ended is told to be completed');
  expect(ended.length <= 1, `the copy has ended ${ended.length} times`);
  const domains = await world.connection.listAllDomains();
  expectEqual(domains.length, 0, 'domains that are left');
}

/** A guest that starts again does not disturb the copy of its disk. */
async function goesOn(vm: Vm, phase: Phase): Promise<void> {
  if (phase === 'completing') return;
  await vm.domain.blockJobSetSpeed(vm.disk, 0, BlockJobSetSpeedFlags.BANDWIDTH_BYTES);
  await vm.ready();
  await vm.domain.blockJobAbort(vm.disk, BlockJobAbortFlags.PIVOT);
}

/** The plays of vm/dies. */
export const endPlays: readonly Play[] = (Object.keys(ENDS) as End[]).flatMap((end) =>
  PHASES.map((phase) =>
    play<Watcher>('vm/dies', 'tp-qemu #3145, #2739; virtnbdbackup #145; qmpbackup #29; libvirt #36', {
      id: `${end}-${phase}`,
      title: `The machine of a copy that is ${phase} ends by ${end}`,
      needs: ['copy', 'faults', 'virtualTime'],
      stage: { ...STAGE, end, phase },
      right: watcher('gone'),
      wrong:
        end === 'reset' || phase !== 'ready'
          ? []
          : [
              {
                name: 'asks-for-ever',
                does: 'takes every error for one that passes',
                app: watcher(undefined),
              },
              {
                name: 'no-job-is-done',
                does: 'takes a job that is not there any more for done',
                app: watcher('completed'),
              },
            ],
      run: (world, app) => run(world, end, phase, app),
    }),
  ),
);
