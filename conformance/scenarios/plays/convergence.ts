/** mirror/never-converges: the guest dirties its disk faster than the copy may go. */
import {
  BlockCopyFlags,
  BlockJobAbortFlags,
  BlockJobInfoFlags,
  type Domain,
  isVirtError,
} from '../../../src/index.ts';
import { expect, expectEqual } from '../../expect.ts';
import { copyTargetXml, type Vm } from '../../vm.ts';
import type { World } from '../../world.ts';
import { readDisk } from '../../xml.ts';
import { type Play, play, sleep } from '../play.ts';

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;
const NAME = 'mirror/never-converges';
const SOURCE = 'KubeVirt enhancements #322; Proxmox 60e1b142; qemu-block 2023-03 msg00024';

const STAGE = {
  diskBytes: 1024 * MIB,
  copyBytesPerSecond: 100 * MIB,
  guestBytesPerSecond: 120 * MIB,
  hotBytes: 400 * MIB,
  watchedMs: HOUR_MS,
} as const;

/** What an application can do about a copy that does not come to an end. */
interface Stage {
  readonly world: World;
  readonly vm: Vm;
  readonly domain: Domain;
  /** The guest writes more slowly from now on; bytes per second, 0: not at all. */
  readonly slowDown: (bytesPerSecond: number) => Promise<void>;
}

/** Brings the copy to its end; resolves when it thinks that it has pivoted. */
type Application = (stage: Stage) => Promise<void>;

const WRITTEN = { offsetBytes: 512 * MIB, lengthBytes: 512 * MIB, byte: 0x5a } as const;

async function load(world: World, vm: Vm, bytesPerSecond: number): Promise<void> {
  const hot = {
    control: 'guest-load',
    disk: 'virtio-disk0',
    hotBytes: STAGE.hotBytes,
    pattern: 'sequential',
  };
  await world.session.control?.(vm.domain.name, { ...hot, bytesPerSecond });
}

/** Bytes left, and whether READY. */
async function left(domain: Domain): Promise<number> {
  const info = await domain.getBlockJobInfo('vda', BlockJobInfoFlags.BANDWIDTH_BYTES);
  return info ? Number(info.end) - Number(info.cur) : 0;
}

async function run(world: World, app: Application, flags = 0): Promise<void> {
  const vm = await world.start({
    capacityBytes: STAGE.diskBytes,
    isDeclared: true,
    layers: [{ format: 'raw', writes: [WRITTEN] }],
  });
  const { domain } = vm;
  const target = vm.target();
  await load(world, vm, STAGE.guestBytesPerSecond);
  await domain.blockCopy('vda', copyTargetXml(target, 'raw'), { bandwidth: STAGE.copyBytesPerSecond }, flags);
  if (flags === 0) await watchAnHour(world, vm);
  const slowDown = (rate: number) => load(world, vm, rate);
  await app({ world, vm, domain, slowDown });
  const view = readDisk(await domain.getXMLDesc(), 'vda');
  expectEqual([view.chain[0], view.mirror?.path], [target, undefined], 'image, and mirror, of the disk');
}

/** It never gets READY, its progress never goes back, and its end runs away from it. */
async function watchAnHour(world: World, vm: Vm): Promise<void> {
  const looks = 30;
  let [cur, end] = [-1n, 0n];
  for (let look = 0; look < looks; look++) {
    await sleep(world, STAGE.watchedMs / looks);
    const info = await vm.info();
    expect(info !== null && info.cur < info.end, 'the copy is told to be complete');
    expect(BigInt(info.cur) >= cur && BigInt(info.end) >= end, 'progress or its end has gone back');
    [cur, end] = [BigInt(info.cur), BigInt(info.end)];
  }
  expect(end > BigInt(STAGE.diskBytes) * 2n, 'the end of the copy has not grown with what the guest wrote');
  expectEqual(vm.statuses(), [], 'events of the copy');
}

/** Waits for READY and pivots. */
async function finish({ vm, domain }: Stage): Promise<void> {
  await vm.ready();
  await domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT);
}

const pivotsAt99: Application = async ({ domain }) => {
  // "It is at 99 % for so long, it will be done."
  await domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT).catch((error: unknown) => {
    if (!isVirtError(error)) throw error;
  });
};

/** By the arithmetic: what is left, at the speed at which the copy gains on the guest. */
async function slowerGuest(stage: Stage): Promise<void> {
  const { world, domain, vm, slowDown } = stage;
  const rate = 80 * MIB;
  await slowDown(rate);
  const leftBytes = await left(domain);
  const startedMs = world.timers.now();
  await vm.ready();
  const seconds = (world.timers.now() - startedMs) / 1000;
  // A guest that goes over its hot set again dirties nothing that is dirty already, so it can only be faster.
  const [atLeast, atMost] = [
    leftBytes / STAGE.copyBytesPerSecond,
    leftBytes / (STAGE.copyBytesPerSecond - rate),
  ];
  expect(
    seconds >= atLeast - 1 && seconds <= atMost + 1,
    `READY after ${seconds.toFixed(2)} s, expected from ${atLeast.toFixed(2)} to ${atMost.toFixed(2)}`,
  );
  await finish(stage);
}

/** What libvirt has no call for: the copy's guest writes go to both images from now on. */
async function changeMode({ domain }: Stage): Promise<void> {
  const ask = async (request: object): Promise<unknown> =>
    (JSON.parse(await domain.qemuMonitorCommand(JSON.stringify(request))) as { readonly return?: unknown })
      .return;
  const [job] = (await ask({ execute: 'query-block-jobs' })) as readonly { readonly device: string }[];
  const change = { id: job?.device, type: 'mirror', 'copy-mode': 'write-blocking' };
  expectEqual(
    await ask({ execute: 'block-job-change', arguments: change }),
    {},
    'answer to block-job-change',
  );
}

const part = (
  id: string,
  title: string,
  right: Application,
  { flags = 0, needs = [] }: { readonly flags?: number; readonly needs?: Play['contract']['needs'] } = {},
): Play =>
  play<Application>(NAME, SOURCE, {
    id,
    title,
    needs: ['copy', 'faults', 'virtualTime', ...needs],
    stage: STAGE,
    right,
    wrong: [
      {
        name: 'pivots-at-99',
        does: 'pivots when it has waited long enough, and takes that for done',
        app: pivotsAt99,
      },
    ],
    run: (world, app) => run(world, app, flags),
  });

/** The plays of the scenario. */
export const convergencePlays: readonly Play[] = [
  part(
    'guest-slows-down',
    'A guest that writes less than the copy moves lets it be READY when the arithmetic says',
    slowerGuest,
  ),
  part('guest-freezes', 'A guest whose file systems are frozen lets the copy be READY', async (stage) => {
    await stage.slowDown(0);
    await finish(stage);
  }),
  part('guest-suspended', 'A guest whose CPUs stand still lets the copy be READY', async (stage) => {
    await stage.domain.suspend();
    await finish(stage);
    await stage.domain.resume();
  }),
  part('faster-copy', 'A copy without a limit is READY, and then keeps up', async (stage) => {
    await stage.domain.blockJobSetSpeed('vda', 0);
    await finish(stage);
  }),
  part('synchronous-writes', 'A copy with synchronous writes is READY whatever the guest does', finish, {
    flags: BlockCopyFlags.SYNCHRONOUS_WRITES,
    needs: ['synchronousWrites'],
  }),
  part(
    'mode-changed',
    'A copy that is switched to synchronous writes while it runs is READY whatever the guest does',
    async (stage) => {
      await changeMode(stage);
      await finish(stage);
    },
    { needs: ['qmpJobChange'] },
  ),
];
