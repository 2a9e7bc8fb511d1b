/** The whole way, from the public API down to a simulated QEMU of each generation. */
import { afterEach, describe, expect, test } from 'vitest';
import { open } from '../../../entry/open.ts';
import { profiles } from '../../../mock-qemu/profiles/index.ts';
import {
  BlockCopyFlags,
  BlockJobAbortFlags,
  BlockJobStatus,
  type Connection,
  type Domain,
  DomainState,
  ErrorCode,
  EventId,
} from '../../../src/index.ts';

const MIB = 2 ** 20;
const CHAIN = ['/img/base.qcow2', '/img/mid.qcow2', '/img/top.qcow2'] as const;
const [BASE, MIDDLE, TOP] = CHAIN;
const XML = `<domain type='qemu'><name>vm</name><memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${TOP}'/>
  <target dev='vda' bus='virtio'/></disk></devices></domain>`;
const copyXml = (path: string) => `<disk type='file'><driver type='qcow2'/><source file='${path}'/></disk>`;

let connection: Connection | undefined;
afterEach(async () => {
  await connection?.close();
  connection = undefined;
});

/** A running domain on a chain of three images, with everything that it says. */
async function start(uri: string) {
  const opened = await open(uri);
  connection = opened;
  let backing: { path: string; format: string } | undefined;
  for (const path of CHAIN) {
    const image = { path, format: 'qcow2', capacityBytes: 8 * MIB };
    await opened.volumes.create(backing ? { ...image, backing } : image);
    backing = { path, format: 'qcow2' };
  }
  const statuses: number[] = [];
  const lifecycle: number[] = [];
  opened.domainEventRegister(EventId.BLOCK_JOB_2, null, ({ status }) => statuses.push(status));
  const domain = await opened.createXML(XML);
  opened.domainEventRegister(EventId.LIFECYCLE, null, ({ event }) => lifecycle.push(event));
  return { domain, statuses, lifecycle, timers: opened.timers };
}

type Started = Awaited<ReturnType<typeof start>>;

async function until({ timers }: Started, fact: () => boolean): Promise<void> {
  while (!fact()) {
    const pause = Promise.withResolvers<void>();
    timers.after(10, () => pause.resolve());
    await pause.promise;
  }
}

const source = async (domain: Domain) => /<source file='([^']+)'/.exec(await domain.getXMLDesc())?.[1];
const { READY, COMPLETED, CANCELED } = BlockJobStatus;

describe.each(profiles.map(({ name }) => name))('%s', (profile) => {
  const uri = `mock:///embed?profile=${profile}`;

  test.each([0, BlockCopyFlags.SHALLOW])(
    'copies and pivots (flags %i), and the guest never stops',
    async (flags) => {
      const vm = await start(uri);
      await vm.domain.blockCopy('vda', copyXml('/img/copy.qcow2'), {}, flags);
      await until(vm, () => vm.statuses.includes(READY));
      await vm.domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT);
      expect(vm.statuses).toEqual([READY, COMPLETED]);
      expect(await source(vm.domain)).toBe('/img/copy.qcow2');
      expect(vm.lifecycle).toEqual([]);
      expect((await vm.domain.getState()).state).toBe(DomainState.RUNNING);
      expect(await vm.domain.getBlockJobInfo('vda')).toBeNull();
    },
  );

  test('a guest that was paused stays so over a pivot', async () => {
    const vm = await start(uri);
    await vm.domain.blockCopy('vda', copyXml('/img/copy.qcow2'));
    await until(vm, () => vm.statuses.includes(READY));
    await vm.domain.suspend();
    await vm.domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT);
    expect((await vm.domain.getState()).state).toBe(DomainState.PAUSED);
  });

  test('aborts a copy, then makes another of the same disk', async () => {
    const vm = await start(uri);
    await vm.domain.blockCopy('vda', copyXml('/img/copy.qcow2'));
    await until(vm, () => vm.statuses.includes(READY));
    await vm.domain.blockJobAbort('vda');
    expect(await source(vm.domain)).toBe(TOP);
    await vm.domain.blockCopy('vda', copyXml('/img/second.qcow2'));
    await until(vm, () => vm.statuses.length === 3);
    expect(vm.statuses).toEqual([READY, CANCELED, READY]);
  });

  test('pulls part of the chain', async () => {
    const vm = await start(uri);
    await vm.domain.blockRebase('vda', BASE);
    await until(vm, () => vm.statuses.length > 0);
    expect(vm.statuses).toEqual([COMPLETED]);
    const header = await connection?.volumes.inspect(TOP, 'qcow2');
    expect(header?.backing?.path).toBe(BASE);
  });
});

test('qemu-1.3 commits what the guest does not write to, and says so of the rest', async () => {
  const vm = await start('mock:///embed?profile=qemu-1.3');
  await expect(vm.domain.blockCommit('vda', BASE, null, 0, 4)).rejects.toMatchObject({
    code: ErrorCode.CONFIG_UNSUPPORTED,
    detail: 'active commit is not supported with this QEMU binary',
  });
  await vm.domain.blockCommit('vda', BASE, MIDDLE);
  await until(vm, () => vm.statuses.length > 0);
  expect(vm.statuses).toEqual([COMPLETED]);
});

describe('rhel-6.3', () => {
  test('has no commit and no choice of granularity; a refused copy leaves nothing behind', async () => {
    const vm = await start('mock:///embed?profile=rhel-6.3');
    const refused = expect.objectContaining({ code: ErrorCode.CONFIG_UNSUPPORTED });
    await expect(vm.domain.blockCommit('vda', BASE, MIDDLE)).rejects.toEqual(refused);
    const tuned = vm.domain.blockCopy('vda', copyXml('/img/copy.qcow2'), { granularity: 65_536 });
    await expect(tuned).rejects.toEqual(refused);
    expect(await connection?.volumes.stat('/img/copy.qcow2')).toBeUndefined();
    expect(await vm.domain.getBlockJobInfo('vda')).toBeNull();
  });

  test('does not trust progress that has only just reached its end', async () => {
    const vm = await start('mock:///embed?profile=rhel-6.3');
    await vm.domain.blockCopy('vda', copyXml('/img/copy.qcow2'));
    const before = vm.timers.now();
    await until(vm, () => vm.statuses.includes(READY));
    expect(vm.timers.now() - before).toBeGreaterThan(300);
  });
});

test.each([
  [
    'mock:///embed?profile=rhel-6.3&without-bug=nosuch',
    /has no bug 'nosuch'; it has: zombieJobAfterFailedOpen/,
  ],
  ['mock:///embed?profile=qemu-1.3&without-bug=zombieJobAfterFailedOpen', /it has: none/],
])('%s is refused', async (uri, message) => {
  await expect(open(uri)).rejects.toThrow(message);
});

test('known bugs are turned off one by one', async () => {
  const vm = await start('mock:///embed?profile=rhel-6.3&without-bug=offsetReachesLenEarly');
  await vm.domain.blockCopy('vda', copyXml('/img/copy.qcow2'));
  await until(vm, () => vm.statuses.includes(READY));
  expect(vm.statuses).toEqual([READY]);
});
