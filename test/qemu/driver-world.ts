/** A directory, a host and a driver for one test, and the proof that nothing of them is left. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import { createProcessHost, type ProcessHost, type ProcessHostOptions } from '../../drivers/qemu/launch.ts';
import type { DriverEvent, HypervisorDriver, ImageRef, Machine } from '../../src/driver.ts';

export const MIB = 1024 * 1024;
export const CAPACITY_BYTES = 16 * MIB;
const QEMU = 'qemu-system-x86_64';

/** What a test has at hand. */
export interface World {
  readonly host: ProcessHost;
  readonly driver: HypervisorDriver;
  readonly path: (name: string) => string;
  /** Every process that was ever started. */
  readonly started: ReadonlySet<number>;
}

/** Builds a world; when the test has finished, no process and no socket of it may be left. */
export function createWorld(options: ProcessHostOptions = {}): World {
  const root = mkdtempSync(join(tmpdir(), 'mv-'));
  const runtimeDir = join(root, 'run');
  mkdirSync(runtimeDir);
  const real = createProcessHost({ emulator: QEMU, runtimeDir, ...options });
  const started = new Set<number>();
  const host: ProcessHost = {
    ...real,
    async launch(emulator, argv) {
      const child = await real.launch(emulator, argv);
      for (const pid of real.pids) started.add(pid);
      return child;
    },
  };
  const driver = createQemuDriver({ host });
  onTestFinished(async () => {
    await driver.close();
    expect([...real.pids]).toEqual([]);
    for (const pid of started) expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect(readdirSync(runtimeDir)).toEqual([]);
    rmSync(root, { recursive: true });
  });
  return { host, driver, started, path: (name) => join(root, name) };
}

/** A machine with one disk of two images, which both exist. */
export async function startWithChain({ driver, path }: World) {
  const base: ImageRef = { index: 4, path: path('base.qcow2'), format: 'qcow2' };
  const top: ImageRef = { index: 3, path: path('top.qcow2'), format: 'qcow2' };
  await driver.volumes.create({ ...base, capacityBytes: CAPACITY_BYTES });
  await driver.volumes.create({ ...top, capacityBytes: CAPACITY_BYTES, backing: base });
  const machine = await driver.start({
    name: 'chain, with a comma',
    uuid: '11111111-2222-4333-8444-555555555555',
    memoryBytes: 16 * MIB,
    disks: [
      {
        target: 'vda',
        alias: 'virtio-disk0',
        bus: 'virtio',
        device: 'disk',
        readonly: false,
        chain: [top, base],
      },
      { target: 'hdc', alias: 'ide0-1-0', bus: 'ide', device: 'cdrom', readonly: true, chain: [] },
    ],
  });
  return { machine, top, base };
}

/** Collects a machine's events and waits for facts among them. */
export function listen(machine: Machine) {
  const events: DriverEvent[] = [];
  const waiting = new Set<() => void>();
  machine.onEvent((event) => {
    events.push(event);
    for (const look of [...waiting]) look();
  });
  const until = (type: DriverEvent['type']): Promise<DriverEvent> =>
    new Promise((resolve) => {
      const look = () => {
        const found = events.find((event) => event.type === type);
        if (found === undefined) return;
        waiting.delete(look);
        resolve(found);
      };
      waiting.add(look);
      look();
    });
  return { events, until };
}

/** Names of the nodes that QEMU has open and that the driver gave it. */
export async function openNodes(machine: Machine): Promise<string[]> {
  const reply = await machine.monitorCommand('{"execute":"query-named-block-nodes"}', false);
  const nodes: { readonly 'node-name': string }[] = JSON.parse(reply).return;
  return nodes
    .map((node) => node['node-name'])
    .filter((name) => name.startsWith('libvirt-'))
    .sort();
}

/** Runs qemu-io on a node of the machine, as the guest would. */
export async function guestIo(machine: Machine, alias: string, command: string): Promise<void> {
  await machine.monitorCommand(`qemu-io -d /machine/peripheral/${alias}/virtio-backend "${command}"`, true);
}
