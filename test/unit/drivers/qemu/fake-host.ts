/** A host whose emulators are played by a test, and a machine started on one. */
import { createBlockdevDialect } from '../../../../drivers/qemu/dialects/blockdev.ts';
import type { Dialect } from '../../../../drivers/qemu/dialects/dialect.ts';
import type { Emulator, EmulatorExit, HostFiles } from '../../../../drivers/qemu/host.ts';
import { QemuMachine } from '../../../../drivers/qemu/machine.ts';
import { QmpClient } from '../../../../drivers/qemu/qmp-client.ts';
import type { QmpObject } from '../../../../drivers/qemu/qmp-json.ts';
import type { DriverEvent, ImageRef, MachineSpec } from '../../../../src/driver.ts';
import { wallClock } from '../../../../src/util/timers.ts';
import { type Answer, FakeServer } from './duplex-pair.ts';

/** Files in memory: path to size. */
export class FakeFiles implements HostFiles {
  readonly sizes = new Map<string, number>();

  async stat(path: string) {
    const sizeBytes = this.sizes.get(path);
    return sizeBytes === undefined ? undefined : ({ kind: 'file', sizeBytes } as const);
  }

  async createEmpty(path: string) {
    if (path.startsWith('/nowhere/')) throw Object.assign(new Error('no'), { code: 'ENOENT' });
    if (this.sizes.has(path)) throw Object.assign(new Error('there'), { code: 'EEXIST' });
    this.sizes.set(path, 0);
  }

  async remove(path: string) {
    this.sizes.delete(path);
  }
}

/** An emulator that is one {@link FakeServer}; ending it closes the monitor. */
export class FakeEmulator implements Emulator {
  readonly server: FakeServer;
  readonly exited: Promise<EmulatorExit>;
  readonly signals: string[] = [];
  #exit = Promise.withResolvers<EmulatorExit>();

  constructor(server: FakeServer) {
    this.server = server;
    this.exited = this.#exit.promise;
  }

  async connect() {
    return this.server.duplex;
  }

  output() {
    return 'qemu: last words\n';
  }

  /** The process ends by itself. */
  crash(signal: string | null = 'SIGKILL'): void {
    this.#exit.resolve({ code: signal === null ? 0 : null, signal });
    this.server.hangUp();
  }

  async terminate() {
    this.signals.push('SIGTERM');
    this.crash(null);
    await this.exited;
  }
}

const MIB = 1024 * 1024;
/** The chain of the machine's disk. */
export const TOP: ImageRef = { index: 3, path: '/img/top.qcow2', format: 'qcow2' };
export const BASE: ImageRef = { index: 4, path: '/img/base.qcow2', format: 'qcow2' };
/** Where copies go. */
export const COPY: ImageRef = { index: 6, path: '/img/copy.qcow2', format: 'qcow2' };

export const SPEC: MachineSpec = {
  name: 'unit',
  uuid: '00000000-0000-4000-8000-000000000001',
  memoryBytes: 32 * MIB,
  disks: [
    {
      target: 'vda',
      alias: 'virtio-disk0',
      bus: 'virtio',
      device: 'disk',
      readonly: false,
      chain: [TOP, BASE],
    },
  ],
};

/** Sends the events of a job that takes these states, for a job id. */
export function jobStates(server: FakeServer, id: string, ...states: string[]): void {
  for (const status of states) server.event('JOB_STATUS_CHANGE', { id, status });
}

/** What a QEMU answers where nothing goes wrong; create jobs end before their reply, as fast ones do. */
export const GOOD: Readonly<Record<string, Answer>> = {
  cont: () => ({}),
  'blockdev-add': () => ({}),
  'blockdev-del': () => ({}),
  'blockdev-create': (args, server) => {
    jobStates(server, String(args['job-id']), 'created', 'running', 'waiting', 'pending', 'concluded');
    return {};
  },
  'query-jobs': () => [
    { id: 'create-libvirt-6-format', type: 'create', status: 'concluded' },
    { id: 'create-libvirt-6-storage', type: 'create', status: 'concluded' },
    { id: 'job', type: 'mirror', status: 'concluded' },
  ],
  'query-named-block-nodes': () => [
    { 'node-name': 'libvirt-3-format', image: { 'virtual-size': 64 * MIB, 'cluster-size': 65536 } },
    { 'node-name': 'libvirt-3-storage', image: { 'virtual-size': MIB, 'cluster-size': 512 } },
  ],
  'job-dismiss': () => ({}),
  'job-complete': () => ({}),
  'block-job-cancel': () => ({}),
  'block-job-set-speed': () => ({}),
  'blockdev-mirror': () => ({}),
  'block-commit': () => ({}),
  'block-stream': () => ({}),
  transaction: () => ({}),
};

/** A machine that has been started, with everything around it and its events from the start. */
export async function startFake(answers: Record<string, Answer> = {}, dialect: Dialect = modernDialect()) {
  const started = await startUnheard(answers, dialect);
  const events: DriverEvent[] = [];
  started.machine.onEvent((event) => events.push(event));
  return { ...started, events };
}

/** A machine that has been started and that nobody listens to yet. */
export async function startUnheard(answers: Record<string, Answer> = {}, dialect: Dialect = modernDialect()) {
  const server = new FakeServer({ ...GOOD, ...answers });
  const emulator = new FakeEmulator(server);
  const files = new FakeFiles();
  const client = await QmpClient.connect(() => emulator.connect(), { timers: wallClock });
  const host = { files, timers: wallClock };
  const capabilities = { ...dialect.capabilities, hypervisor: 'QEMU 7.2.22', version: 7_002_022 };
  const machine = new QemuMachine({ spec: SPEC, emulator, client, dialect, capabilities, host });
  await machine.run();
  server.received.length = 0;
  return { server, emulator, files, client, machine };
}

export function modernDialect(): Dialect {
  return createBlockdevDialect({ flat: true, writeOnlyOverlay: true, copyMode: true });
}

/** Names of the commands that were received, in order. */
export function names(received: readonly QmpObject[]): string[] {
  return received.map(({ execute }) => String(execute));
}
