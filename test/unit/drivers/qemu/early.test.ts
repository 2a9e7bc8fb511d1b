/** What crosses the wire to QEMUs without block nodes, and what the driver makes of what does not come. */
import { afterEach, expect, test } from 'vitest';
import type { WireMessage, WireMutation } from '../../../../conformance/wire.ts';
import { createQemuDriver } from '../../../../drivers/qemu/driver.ts';
import { Steadiness } from '../../../../drivers/qemu/job-watch.ts';
import { createMockHost } from '../../../../entry/mock-host.ts';
import { tapHost } from '../../../../entry/targets/wire.ts';
import { type BootedQemu, createWorld } from '../../../../mock-qemu/shells/world.ts';
import type {
  CopyRequest,
  DriverEvent,
  ImageRef,
  Machine,
  MachineSpec,
  TargetSpec,
} from '../../../../src/driver.ts';
import { ErrorCode } from '../../../../src/errors.ts';
import type { Timers } from '../../../../src/util/timers.ts';

const MIB = 2 ** 20;
const SOURCE: ImageRef = { index: 1, path: '/img/source', format: 'qcow2' };
const COPY: ImageRef = { index: 2, path: '/img/copy', format: 'qcow2' };
const JOB = 'copy-vda';

const SPEC: MachineSpec = {
  name: 'vm',
  uuid: '6d6f636b-7669-4274-8000-000000000001',
  memoryBytes: 16 * MIB,
  disks: [
    { target: 'vda', alias: 'virtio-disk0', bus: 'virtio', device: 'disk', readonly: false, chain: [SOURCE] },
  ],
};

/** Lets virtual time pass. */
async function delay(timers: Timers, ms: number): Promise<void> {
  const pause = Promise.withResolvers<void>();
  timers.after(ms, () => pause.resolve());
  await pause.promise;
}

let close: (() => Promise<void>) | undefined;
afterEach(async () => {
  await close?.();
  close = undefined;
});

/** A machine of a profile, with its events, and the commands that it is sent. */
async function start(profile: string, mutation: WireMutation = {}) {
  const world = createWorld({ seed: 1 });
  const sent: WireMessage[] = [];
  const onLine = (line: string) => {
    const [, , direction, ...text] = line.split(' ');
    if (direction === '>') sent.push(JSON.parse(text.join(' ')));
  };
  const host = tapHost(createMockHost(world, profile), { mutation: () => mutation, onLine });
  const driver = createQemuDriver({ host });
  close = async () => {
    await driver.close();
    world.close();
  };
  await driver.volumes.create({ path: SOURCE.path, format: 'qcow2', capacityBytes: MIB });
  const machine = await driver.start(SPEC);
  const events: DriverEvent[] = [];
  machine.onEvent((event) => events.push(event));
  sent.length = 0;
  const until = async (type: DriverEvent['type']): Promise<DriverEvent> => {
    for (;;) {
      const found = events.find((event) => event.type === type);
      if (found) return found;
      await delay(world.timers, 10);
    }
  };
  return { machine, events, sent, until };
}

const TARGET: TargetSpec = { disk: 'vda', source: SOURCE, image: COPY, backing: [], reuse: false };
const REQUEST: CopyRequest = {
  kind: 'copy',
  id: JOB,
  disk: 'vda',
  source: SOURCE,
  target: { image: COPY },
  shallow: false,
  speedBytesPerSecond: 0,
  granularityBytes: 0,
  bufSizeBytes: 0,
  synchronousWrites: false,
};

async function copy(machine: Machine): Promise<void> {
  await machine.prepareTarget(TARGET);
  await machine.startJob(REQUEST);
}

/** Names of the commands, what is only looked at left out. */
const commands = (sent: readonly WireMessage[]) =>
  sent.map(({ execute }) => execute).filter((name) => name !== 'query-block-jobs');

test('RHEL 6: a pivot reopens the drive while the guest stands still', async () => {
  const { machine, events, sent, until } = await start('rhel-6.3');
  await copy(machine);
  await until('job-ready');
  await machine.concludeJob(JOB, 'pivot');
  await until('job-ended');
  expect(commands(sent)).toEqual(['__com.redhat_drive-mirror', 'stop', '__com.redhat_drive-reopen', 'cont']);
  expect(sent[0]?.arguments).toEqual({
    device: 'drive-virtio-disk0',
    target: COPY.path,
    speed: 0,
    full: true,
    mode: 'absolute-paths',
    format: 'qcow2',
  });
  expect(events).toEqual([
    { type: 'job-ready', id: JOB },
    { type: 'job-ended', id: JOB, outcome: 'completed' },
  ]);
  expect(await machine.chains()).toEqual([{ disk: 'vda', paths: [COPY.path] }]);
});

test('1.3: drive-mirror, then block-job-complete', async () => {
  const { machine, sent, until } = await start('qemu-1.3');
  await copy(machine);
  await until('job-ready');
  await machine.concludeJob(JOB, 'pivot');
  expect(await until('job-ended')).toMatchObject({ outcome: 'completed' });
  expect(commands(sent)).toEqual(['drive-mirror', 'stop', 'block-job-complete', 'cont']);
  expect(sent[0]?.arguments).toMatchObject({ sync: 'full', mode: 'absolute-paths' });
});

test.each(['rhel-6.3', 'qemu-1.3'])('%s: an abort is noticed though its event is lost', async (profile) => {
  const lost: WireMutation = {
    fromQemu(message, port) {
      const isEnd = message.event === 'BLOCK_JOB_COMPLETED' || message.event === 'BLOCK_JOB_CANCELLED';
      if (!isEnd) port.forward(message);
    },
  };
  const { machine, until } = await start(profile, lost);
  await copy(machine);
  await until('job-ready');
  await machine.concludeJob(JOB, 'abort');
  expect(await until('job-ended')).toEqual({ type: 'job-ended', id: JOB, outcome: 'cancelled' });
});

test('a guest that cannot be started again is paused, and the call says so', async () => {
  let isPivoting = false;
  const stuck: WireMutation = {
    toQemu(message, port) {
      if (message.execute === 'stop') isPivoting = true;
      if (message.execute !== 'cont' || !isPivoting) return port.forward(message);
      port.back({ id: message.id ?? null, error: { class: 'GenericError', desc: 'no' } });
    },
  };
  const { machine, events, until } = await start('rhel-6.3', stuck);
  await copy(machine);
  await until('job-ready');
  await expect(machine.concludeJob(JOB, 'pivot')).rejects.toMatchObject({
    code: ErrorCode.OPERATION_FAILED,
    detail: 'resuming after drive-reopen failed',
  });
  expect(events).toContainEqual({ type: 'paused', reason: 'user' });
});

test('a pivot that QEMU refuses fails the copy, and the guest goes on', async () => {
  const early: WireMutation = {
    // Cancels the job behind the driver's back, so that the drive has to stay where it is.
    toQemu(message, port) {
      const isReopen = message.execute === '__com.redhat_drive-reopen';
      port.forward(
        isReopen
          ? { ...message, arguments: { device: 'drive-virtio-disk0', 'new-image-file': '/img/none' } }
          : message,
      );
    },
  };
  const { machine, sent, until } = await start('rhel-6.3', early);
  await copy(machine);
  await until('job-ready');
  await expect(machine.concludeJob(JOB, 'pivot')).rejects.toMatchObject({ code: ErrorCode.INTERNAL_ERROR });
  expect(commands(sent).at(-1)).toBe('cont');
  expect(await machine.chains()).toEqual([{ disk: 'vda', paths: [SOURCE.path] }]);
});

test.each(['rhel-6.3', 'qemu-1.3'])('%s: a copy that became READY while nobody listened', async (profile) => {
  const world = createWorld({ seed: 1 });
  const survivors = new Map<string, BootedQemu>();
  const driverOf = () => createQemuDriver({ host: createMockHost(world, profile, [], survivors) });
  const first = driverOf();
  await first.volumes.create({ path: SOURCE.path, format: 'qcow2', capacityBytes: MIB });
  const handles: string[] = [];
  const spec = { ...SPEC, launched: (handle: string) => void handles.push(handle) };
  await copy(await first.start(spec));
  await first.leave?.();
  await delay(world.timers, 1_000);

  const second = driverOf();
  close = async () => {
    await second.close();
    world.close();
  };
  const jobs = [{ request: REQUEST, target: TARGET }];
  const found = await second.attach?.(handles[0] ?? '', { spec: SPEC, jobs });
  const events: DriverEvent[] = [];
  found?.machine.onEvent((event) => events.push(event));
  await delay(world.timers, 1_000);
  expect(found?.cpus).toBe('running');
  expect(events).toEqual([{ type: 'job-ready', id: JOB }]);
  await found?.machine.concludeJob(JOB, 'pivot');
  await delay(world.timers, 1_000);
  expect(await found?.machine.chains()).toEqual([{ disk: 'vda', paths: [COPY.path] }]);
});

test('progress has to stand still at its end for long enough', () => {
  const steadiness = new Steadiness(300);
  const looks = [
    [0, 0, 0],
    [5, 10, 50],
    [10, 10, 100],
    [10, 10, 350],
    [9, 10, 390],
    [10, 10, 400],
    [10, 10, 699],
    [10, 10, 700],
  ] as const;
  const seen = looks.map(([current, total, atMs]) => steadiness.look({ current, total }, atMs));
  expect(seen).toEqual([false, false, false, false, false, false, false, true]);
});
