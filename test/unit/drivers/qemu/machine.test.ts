import { describe, expect, test } from 'vitest';
import { createBlockdevDialect } from '../../../../drivers/qemu/dialects/blockdev.ts';
import type { CopyRequest, DriverEvent, JobRequest, Machine, TargetSpec } from '../../../../src/driver.ts';
import { ErrorCode, VirtError } from '../../../../src/errors.ts';
import { BASE, COPY, GOOD, jobStates, names, startFake, startUnheard, TOP } from './fake-host.ts';

const TARGET: TargetSpec = { disk: 'vda', source: TOP, image: COPY, backing: [], reuse: false };
const COPY_REQUEST: CopyRequest = {
  kind: 'copy',
  id: 'job',
  disk: 'vda',
  source: TOP,
  target: { image: COPY },
  shallow: false,
  speedBytesPerSecond: 0,
  granularityBytes: 0,
  bufSizeBytes: 0,
  synchronousWrites: false,
};
const CONTROL = { 'auto-finalize': true, 'auto-dismiss': false };
const REFUSED = { error: { class: 'GenericError', desc: 'no' } };

const nextEvent = (machine: Machine, type: DriverEvent['type']) =>
  new Promise<DriverEvent>((resolve) => {
    machine.onEvent((event) => {
      if (event.type === type) resolve(event);
    });
  });

describe('a copy', () => {
  test('sends what libvirt sends, from target to pivot', async () => {
    const { machine, server, files, events } = await startFake();
    await machine.prepareTarget(TARGET);
    expect(files.sizes.has(COPY.path)).toBe(true);
    await machine.startJob(COPY_REQUEST);
    jobStates(server, 'job', 'ready', 'standby', 'ready');
    await machine.concludeJob('job', 'pivot');
    const ended = nextEvent(machine, 'job-ended');
    jobStates(server, 'job', 'waiting', 'pending', 'concluded');
    await ended;
    await machine.releaseImages([TOP, BASE]);
    const storage = { driver: 'file', filename: COPY.path, 'node-name': 'libvirt-6-storage' };
    const bitmap = { node: 'libvirt-6-format', name: 'libvirt-tmp-activewrite' };
    expect(server.received).toEqual([
      { execute: 'query-named-block-nodes', arguments: { flat: true } },
      { execute: 'blockdev-add', arguments: { ...storage, 'auto-read-only': true, discard: 'unmap' } },
      {
        execute: 'blockdev-create',
        arguments: {
          'job-id': 'create-libvirt-6-format',
          options: { driver: 'qcow2', file: 'libvirt-6-storage', size: 67108864, 'cluster-size': 65536 },
        },
      },
      { execute: 'query-jobs' },
      { execute: 'job-dismiss', arguments: { id: 'create-libvirt-6-format' } },
      {
        execute: 'blockdev-add',
        arguments: {
          'node-name': 'libvirt-6-format',
          'read-only': false,
          driver: 'qcow2',
          file: 'libvirt-6-storage',
          backing: null,
        },
      },
      {
        execute: 'blockdev-mirror',
        arguments: {
          'job-id': 'job',
          device: 'libvirt-3-format',
          target: 'libvirt-6-format',
          sync: 'full',
          ...CONTROL,
        },
      },
      {
        execute: 'transaction',
        arguments: {
          actions: [
            { type: 'block-dirty-bitmap-add', data: { ...bitmap, persistent: false, disabled: false } },
          ],
        },
      },
      { execute: 'job-complete', arguments: { id: 'job' } },
      { execute: 'query-jobs' },
      { execute: 'job-dismiss', arguments: { id: 'job' } },
      {
        execute: 'transaction',
        arguments: { actions: [{ type: 'block-dirty-bitmap-remove', data: bitmap }] },
      },
      { execute: 'query-named-block-nodes', arguments: { flat: true } },
      { execute: 'blockdev-del', arguments: { 'node-name': 'libvirt-3-format' } },
      { execute: 'blockdev-del', arguments: { 'node-name': 'libvirt-3-storage' } },
    ]);
    expect(events).toEqual([
      { type: 'job-ready', id: 'job' },
      { type: 'job-ended', id: 'job', outcome: 'completed' },
    ]);
  });

  test('a raw destination is sized as a file, then opened', async () => {
    const { machine, server } = await startFake();
    const image = { ...COPY, format: 'raw' };
    await machine.prepareTarget({ ...TARGET, image });
    expect(names(server.received)).toEqual([
      'query-named-block-nodes',
      'blockdev-create',
      'query-jobs',
      'job-dismiss',
      'blockdev-add',
      'blockdev-add',
    ]);
    expect(server.received[1]).toMatchObject({
      arguments: { 'job-id': 'create-libvirt-6-storage', options: { driver: 'file', size: 67108864 } },
    });
    expect(server.received[5]?.arguments).not.toHaveProperty('backing');
  });

  test('a shallow destination records and gets the backing node of its source', async () => {
    const { machine, server } = await startFake();
    await machine.prepareTarget({ ...TARGET, backing: [BASE] });
    await machine.startJob({
      ...COPY_REQUEST,
      shallow: true,
      speedBytesPerSecond: 5n,
      synchronousWrites: true,
    });
    expect(server.received[2]).toMatchObject({
      arguments: { options: { 'backing-file': BASE.path, 'backing-fmt': 'qcow2' } },
    });
    expect(server.received[5]).toMatchObject({ arguments: { backing: 'libvirt-4-format' } });
    expect(server.received[6]).toMatchObject({
      arguments: { sync: 'top', speed: 5, 'copy-mode': 'write-blocking' },
    });
  });

  const CHAIN = [
    { index: 7, path: '/img/mid2.qcow2', format: 'qcow2' },
    { index: 8, path: '/img/base2.raw', format: 'raw' },
  ];
  const REUSED = { ...TARGET, backing: CHAIN, reuse: true };
  const nodeNames = (received: readonly unknown[]) =>
    received.map((command) => /"node-name":"([^"]+)"/.exec(JSON.stringify(command))?.[1]).filter(Boolean);

  test('a reused chain is opened at the pivot and only once', async () => {
    let attempts = 0;
    const { machine, server, files } = await startFake({
      'job-complete': () => {
        attempts += 1;
        return attempts === 1 ? REFUSED : {};
      },
    });
    await machine.prepareTarget(REUSED);
    expect(files.sizes.size).toBe(0);
    expect(nodeNames(server.received)).toEqual(['libvirt-6-storage', 'libvirt-6-format']);
    await machine.startJob({ ...COPY_REQUEST, shallow: true });
    server.received.length = 0;
    await expect(machine.concludeJob('job', 'pivot')).rejects.toThrow('job-complete');
    expect(nodeNames(server.received)).toEqual([
      'libvirt-8-storage',
      'libvirt-8-format',
      'libvirt-7-storage',
      'libvirt-7-format',
    ]);
    expect(server.received[4]).toMatchObject({
      arguments: {
        actions: [
          { type: 'blockdev-snapshot', data: { node: 'libvirt-7-format', overlay: 'libvirt-6-format' } },
        ],
      },
    });
    server.received.length = 0;
    await machine.concludeJob('job', 'pivot');
    expect(names(server.received)).toEqual(['transaction', 'job-complete']);
  });

  test('where an overlay cannot get its backing later, a reused chain is opened first', async () => {
    const early = createBlockdevDialect({ flat: false, writeOnlyOverlay: false, copyMode: false });
    const { machine, server } = await startFake({}, early);
    await machine.prepareTarget(REUSED);
    expect(nodeNames(server.received)).toHaveLength(6);
    expect(server.received.at(-1)).toMatchObject({ arguments: { backing: 'libvirt-7-format' } });
    await machine.startJob({ ...COPY_REQUEST, shallow: true });
    server.received.length = 0;
    await machine.concludeJob('job', 'pivot');
    expect(names(server.received)).toEqual(['transaction', 'job-complete']);
  });
});

describe('preparing a target', () => {
  test.each([
    ['blockdev-add', 1, []],
    ['blockdev-create', 1, ['libvirt-6-storage']],
    ['blockdev-add', 2, ['libvirt-6-storage']],
  ])('a refusal of %s no. %i leaves no node and no file', async (command, nth, closed) => {
    let count = 0;
    const good = GOOD[command];
    const { machine, server, files } = await startFake({
      [command]: (args, far) => {
        count += 1;
        return count === nth ? REFUSED : (good?.(args, far) ?? {});
      },
    });
    await expect(machine.prepareTarget(TARGET)).rejects.toMatchObject({ code: ErrorCode.INTERNAL_ERROR });
    const deleted = server.received.filter(({ execute }) => execute === 'blockdev-del');
    expect(deleted).toEqual(
      closed.map((name) => ({ execute: 'blockdev-del', arguments: { 'node-name': name } })),
    );
    expect(files.sizes.size).toBe(0);
  });

  test('an image that cannot be created names QEMU’s reason', async () => {
    const { machine, server, files } = await startFake({
      'query-jobs': () => [
        { id: 'create-libvirt-6-format', status: 'concluded', error: 'No space left on device' },
      ],
    });
    await expect(machine.prepareTarget(TARGET)).rejects.toMatchObject({
      code: ErrorCode.OPERATION_FAILED,
      detail: "failed to format image: 'No space left on device'",
    });
    expect(names(server.received)).toContain('job-dismiss');
    expect(names(server.received).at(-1)).toBe('blockdev-del');
    expect(files.sizes.size).toBe(0);
  });

  test('a directory that is not there gives the system’s error', async () => {
    const { machine, server } = await startFake();
    const image = { ...COPY, path: '/nowhere/copy.qcow2' };
    await expect(machine.prepareTarget({ ...TARGET, image })).rejects.toMatchObject({
      code: ErrorCode.SYSTEM_ERROR,
      message: 'failed to create copy target: No such file or directory',
      errno: 2,
    });
    expect(names(server.received)).toEqual(['query-named-block-nodes']);
  });

  test('an empty file that was there stays when the target is discarded', async () => {
    const { machine, files, server } = await startFake();
    files.sizes.set(COPY.path, 0);
    const target = await machine.prepareTarget(TARGET);
    server.received.length = 0;
    await machine.discardTarget(target);
    await machine.discardTarget(target);
    expect(server.received.map((command) => command.arguments)).toEqual([
      { 'node-name': 'libvirt-6-format' },
      { 'node-name': 'libvirt-6-storage' },
    ]);
    expect(files.sizes.has(COPY.path)).toBe(true);
  });

  test('a monitor that is lost meanwhile leaves the outcome open and no file', async () => {
    const created = Promise.withResolvers<void>();
    const { machine, emulator, files } = await startFake({
      'blockdev-create': () => {
        created.resolve();
        return {};
      },
    });
    const preparing = machine.prepareTarget(TARGET);
    await created.promise;
    emulator.crash();
    await expect(preparing).rejects.toMatchObject({ outcome: 'unknown' });
    expect(files.sizes.size).toBe(0);
  });
});

describe('jobs', () => {
  const COMMIT = {
    id: 'job',
    disk: 'vda',
    active: TOP,
    top: TOP,
    base: BASE,
    speedBytesPerSecond: 0,
  } as const;
  const node = (name: string) => `libvirt-${name}-format`;

  test.each<[string, JobRequest, object]>([
    [
      'pull',
      { kind: 'pull', id: 'job', disk: 'vda', top: TOP, speedBytesPerSecond: 0 },
      { execute: 'block-stream', arguments: { device: node('3'), 'job-id': 'job', ...CONTROL } },
    ],
    [
      'pull down to a base',
      { kind: 'pull', id: 'job', disk: 'vda', top: TOP, base: BASE, speedBytesPerSecond: 7 },
      {
        execute: 'block-stream',
        arguments: {
          device: node('3'),
          'job-id': 'job',
          'base-node': node('4'),
          'backing-file': BASE.path,
          speed: 7,
          ...CONTROL,
        },
      },
    ],
    [
      'commit',
      { kind: 'commit', ...COMMIT, backingName: 'base.qcow2' },
      {
        execute: 'block-commit',
        arguments: {
          device: node('3'),
          'job-id': 'job',
          'top-node': node('3'),
          'base-node': node('4'),
          'backing-file': 'base.qcow2',
          ...CONTROL,
        },
      },
    ],
    [
      'active commit',
      { kind: 'active-commit', ...COMMIT },
      {
        execute: 'block-commit',
        arguments: {
          device: node('3'),
          'job-id': 'job',
          'top-node': node('3'),
          'base-node': node('4'),
          ...CONTROL,
        },
      },
    ],
  ])('%s', async (_what, request, command) => {
    const { machine, server } = await startFake();
    await machine.startJob(request);
    expect(server.received).toEqual([command]);
  });

  const PULL: JobRequest = { kind: 'pull', id: 'job', disk: 'vda', top: TOP, speedBytesPerSecond: 0 };

  test('a whole job may end before the reply to its start', async () => {
    const { machine, events } = await startFake({
      'block-stream': (_args, server) => {
        jobStates(server, 'job', 'created', 'running', 'waiting', 'pending', 'concluded');
        return {};
      },
    });
    const ended = nextEvent(machine, 'job-ended');
    await machine.startJob(PULL);
    await ended;
    expect(events).toEqual([{ type: 'job-ended', id: 'job', outcome: 'completed' }]);
  });

  test('a refused start frees the name', async () => {
    const { machine, server } = await startFake({
      'block-stream': (_args, far) => {
        jobStates(far, 'job', 'created', 'null');
        return REFUSED;
      },
    });
    await expect(machine.startJob(PULL)).rejects.toBeInstanceOf(VirtError);
    await expect(machine.startJob(PULL)).rejects.toBeInstanceOf(VirtError);
    await expect(machine.concludeJob('job', 'abort')).rejects.toMatchObject({
      code: ErrorCode.OPERATION_INVALID,
      detail: "No active block job 'job'",
    });
    expect(names(server.received)).toEqual(['block-stream', 'block-stream']);
  });

  test('an abort that ends the job before its own reply still counts as cancelled', async () => {
    const { machine, events } = await startFake({
      'block-job-cancel': (_args, server) => {
        jobStates(server, 'job', 'aborting', 'concluded');
        return {};
      },
      'query-jobs': () => [{ id: 'job', status: 'concluded', error: 'Operation canceled' }],
    });
    await machine.startJob(PULL);
    const ended = nextEvent(machine, 'job-ended');
    await machine.concludeJob('job', 'abort');
    await ended;
    expect(events).toEqual([{ type: 'job-ended', id: 'job', outcome: 'cancelled' }]);
  });

  test('an abort that QEMU refuses does not make a success of the job a cancellation', async () => {
    const { machine, server, events } = await startFake({
      'block-job-cancel': () => ({ error: { class: 'DeviceNotActive', desc: "Block job 'job' not found" } }),
    });
    await machine.startJob(PULL);
    await expect(machine.concludeJob('job', 'abort')).rejects.toMatchObject({
      code: ErrorCode.OPERATION_INVALID,
    });
    const ended = nextEvent(machine, 'job-ended');
    jobStates(server, 'job', 'concluded');
    await ended;
    expect(events).toEqual([{ type: 'job-ended', id: 'job', outcome: 'completed' }]);
  });

  test('a failure carries QEMU’s reason', async () => {
    const { machine, server, events } = await startFake({
      'query-jobs': () => [{ id: 'job', status: 'concluded', error: 'Input/output error' }],
    });
    await machine.startJob(PULL);
    const ended = nextEvent(machine, 'job-ended');
    jobStates(server, 'job', 'aborting', 'concluded');
    await ended;
    expect(events).toEqual([
      { type: 'job-ended', id: 'job', outcome: 'failed', error: 'Input/output error' },
    ]);
  });

  test('snapshots say what was heard and what QEMU counts', async () => {
    const entry = {
      device: 'job',
      type: 'stream',
      len: 8,
      offset: 4,
      speed: 2,
      ready: false,
      status: 'pending',
    };
    const { machine } = await startFake({
      'query-block-jobs': () => [entry, { ...entry, device: 'other', status: 'concluded', error: 'x' }],
    });
    await machine.startJob(PULL);
    const common = { current: 4, total: 8, ready: false, speedBytesPerSecond: 2 };
    expect(await machine.jobs()).toEqual([
      { ...common, id: 'job', phase: 'running' },
      { ...common, id: 'other', phase: 'concluded', error: 'x' },
    ]);
  });

  test('the speed may be any 64-bit number', async () => {
    const { machine, server } = await startFake();
    await machine.startJob(PULL);
    await machine.setJobSpeed('job', 2n ** 63n - 1n);
    expect(server.received.at(-1)).toEqual({
      execute: 'block-job-set-speed',
      arguments: { device: 'job', speed: 2n ** 63n - 1n },
    });
  });
});

describe('events', () => {
  test('lifecycle and I/O errors', async () => {
    const { server, events } = await startFake();
    const error = { device: '', operation: 'write', reason: 'No space left on device', nospace: true };
    server.event('STOP');
    server.event('RESUME');
    server.event('BLOCK_IO_ERROR', { ...error, 'node-name': 'libvirt-3-format', action: 'stop' });
    server.event('STOP');
    server.event('RESUME');
    server.event('BLOCK_IO_ERROR', { device: '', reason: 'Input/output error', action: 'report' });
    server.event('POWERDOWN');
    server.event('RESET', { guest: false });
    server.event('STOP');
    server.event('RTC_CHANGE', { offset: 1 });
    expect(events).toEqual([
      { type: 'paused', reason: 'user' },
      { type: 'resumed' },
      { type: 'io-error', disk: 'vda', action: 'pause', reason: 'enospc' },
      { type: 'paused', reason: 'io-error' },
      { type: 'resumed' },
      { type: 'io-error', action: 'report', reason: '' },
      { type: 'powerdown-requested' },
      { type: 'reset' },
      { type: 'paused', reason: 'user' },
    ]);
  });

  test('a crash says how the process ended and what it said', async () => {
    const { machine, emulator, events } = await startFake();
    emulator.crash();
    await machine.gone;
    await machine.destroy();
    const detail = expect.stringContaining('signal SIGKILL: qemu: last words');
    expect(events).toEqual([{ type: 'gone', reason: 'crashed', detail }]);
  });

  test('a monitor that breaks while the process lives ends the process', async () => {
    const { machine, server, emulator, events } = await startFake();
    server.sendBytes(new TextEncoder().encode('garbage\n'));
    await machine.gone;
    expect(emulator.signals).toEqual(['SIGTERM']);
    expect(events).toMatchObject([{ type: 'gone', reason: 'crashed' }]);
  });

  test('a guest that powers off ends the machine', async () => {
    const { machine, server, emulator, events } = await startFake();
    server.event('SHUTDOWN', { guest: true, reason: 'guest-shutdown' });
    server.event('STOP');
    await machine.gone;
    expect(emulator.signals).toEqual(['SIGTERM']);
    expect(events).toEqual([{ type: 'guest-shutdown' }, { type: 'gone', reason: 'shutdown' }]);
  });

  test('an end that QEMU announces is a shutdown, and the jobs it tears down have no end of their own', async () => {
    const { machine, server, emulator, events } = await startFake();
    await machine.startJob({ ...COPY_REQUEST });
    server.event('SHUTDOWN', { guest: false, reason: 'host-qmp-quit' });
    jobStates(server, 'job', 'aborting', 'concluded', 'null');
    emulator.crash(null);
    await machine.gone;
    expect(events).toEqual([{ type: 'gone', reason: 'shutdown' }]);
  });

  test('destroy is idempotent and tells once', async () => {
    const { machine, server, events } = await startFake();
    await Promise.all([machine.destroy(), machine.destroy()]);
    await machine.destroy();
    expect(server.closed).toBe(true);
    expect(events).toEqual([{ type: 'gone', reason: 'destroyed' }]);
    await expect(machine.pause()).rejects.toMatchObject({ outcome: 'none' });
  });

  test('what happens before the first listener is kept for it', async () => {
    const { machine, emulator } = await startUnheard({
      cont: (_args, server) => {
        server.event('RESUME');
        server.event('STOP');
        return {};
      },
    });
    emulator.crash();
    await machine.gone;
    const late: DriverEvent[] = [];
    machine.onEvent((event) => late.push(event));
    expect(late).toMatchObject([
      { type: 'paused', reason: 'user' },
      { type: 'gone', reason: 'crashed' },
    ]);
  });
});

describe('monitor commands', () => {
  test('a QMP command gives the whole reply, a refusal too', async () => {
    const { machine } = await startFake({ x: () => 1, y: () => REFUSED });
    const reply = async (text: string) => JSON.parse(await machine.monitorCommand(text, false));
    expect(await reply('{"execute":"x"}')).toMatchObject({ return: 1 });
    expect(await reply('{"execute":"y","id":"mine"}')).toMatchObject(REFUSED);
    await expect(machine.monitorCommand('{', false)).rejects.toMatchObject({
      code: ErrorCode.INTERNAL_ERROR,
    });
    await expect(machine.monitorCommand('[]', false)).rejects.toMatchObject({
      code: ErrorCode.INTERNAL_ERROR,
    });
  });

  test('a human command gives its text', async () => {
    const { machine, server } = await startFake({ 'human-monitor-command': () => 'text\r\n' });
    expect(await machine.monitorCommand('info block', true)).toBe('text\r\n');
    expect(server.received.at(-1)?.arguments).toEqual({ 'command-line': 'info block' });
  });
});

test('chains are read from the graph, by device', async () => {
  const json = 'json:{"driver":"qcow2","file":{"driver":"file","filename":"/img/mid.qcow2"}}';
  const { machine } = await startFake({
    'query-block': () => [
      {
        device: '',
        qdev: '/machine/peripheral/virtio-disk0/virtio-backend',
        inserted: { image: { filename: json, 'backing-image': { filename: '/img/base.qcow2' } } },
      },
      { device: '', qdev: 'ide0-1-0', inserted: null },
    ],
  });
  expect(await machine.chains()).toEqual([{ disk: 'vda', paths: ['/img/mid.qcow2', '/img/base.qcow2'] }]);
});
