/** A machine with a chain of three 8 MiB images under one disk, driven command by command. */

import type { ImageStore } from '../../../../mock-qemu/core/images.ts';
import { format } from '../../../../mock-qemu/core/jobs/create.ts';
import type { Input } from '../../../../mock-qemu/core/surface.ts';
import { createMemoryStore } from '../../../../mock-qemu/images/memory.ts';
import { profileNamed } from '../../../../mock-qemu/profiles/index.ts';
import { MockQemu } from '../../../../mock-qemu/qmp/machine.ts';
import type { JsonObject } from '../../../../src/qmp/messages.ts';

export const MIB = 2 ** 20;
export const GUEST = '/machine/peripheral/virtio-disk0/virtio-backend';
const CHAIN = [
  { index: 3, name: 'base', start: 0, end: 2 * MIB, byte: 1 },
  { index: 2, name: 'mid', start: MIB, end: 2 * MIB, byte: 2 },
  { index: 1, name: 'top', start: 3 * MIB, end: 3 * MIB + 65536, byte: 3 },
] as const;

/** Creates the files; each names the one before it as backing file. */
function makeImages(store: ImageStore): void {
  let below: string | undefined;
  for (const { name, start, end, byte } of CHAIN) {
    const path = `/img/${name}`;
    const backing = below === undefined ? {} : { backingName: below, backingFormat: 'qcow2' };
    const image = store.create(path);
    format(image, { format: 'qcow2', sizeBytes: 8 * MIB, header: { clusterSizeBytes: 65536, ...backing } });
    image.extents.set(start, end, byte);
    below = path;
  }
}

export function chainArgv(): string[] {
  const argv = ['-S'];
  let backing: string | null = null;
  for (const { index, name } of CHAIN) {
    const storage = { driver: 'file', filename: `/img/${name}`, 'node-name': `libvirt-${index}-storage` };
    const node = {
      driver: 'qcow2',
      file: `libvirt-${index}-storage`,
      'node-name': `libvirt-${index}-format`,
    };
    argv.push('-blockdev', JSON.stringify(storage));
    argv.push('-blockdev', JSON.stringify({ ...node, 'read-only': index !== 1, backing }));
    backing = node['node-name'];
  }
  argv.push('-device', '{"driver":"virtio-blk-pci","drive":"libvirt-1-format","id":"virtio-disk0"}');
  return argv;
}

/** One machine and one client. */
export class Bench {
  readonly store: ImageStore;
  readonly qemu: MockQemu;
  readonly trace: string[] = [];
  /** What came, in short: `{}` for a reply, `id:status` for a job's states, else the event's name. */
  log: string[] = [];
  printed = '';
  exit: number | null | undefined;
  signal: string | null | undefined;
  /** Everything that came, as it came. */
  readonly heardBytes: string[] = [];
  /** What came after the process had ended, which is nothing. */
  readonly afterExit: string[] = [];
  #reply: JsonObject | undefined;

  constructor(argv = chainArgv(), seed = 1, profile = profileNamed('qemu-7.2'), store?: ImageStore) {
    this.store = store ?? createMemoryStore();
    if (store === undefined) makeImages(this.store);
    const trace = (line: string) => this.trace.push(line);
    this.qemu = new MockQemu({ profile, argv, seed, images: this.store, trace });
    this.#take();
    this.qemu.step({ type: 'connect', connection: 1 });
    if (this.exit === undefined) this.run('qmp_capabilities');
    this.log = [];
  }

  /** Anything from outside. */
  input(input: Input): void {
    this.qemu.step(input);
    this.#take();
  }

  /** Executes a command and returns its reply; time moves no further than that. */
  send(execute: string, args?: JsonObject): JsonObject {
    this.#reply = undefined;
    const bytes = new TextEncoder().encode(JSON.stringify({ execute, ...(args && { arguments: args }) }));
    this.qemu.step({ type: 'data', connection: 1, bytes });
    this.#take();
    while (this.#reply === undefined && this.jump());
    return this.#reply ?? {};
  }

  /** As {@link send}; the return value, or the error's text. */
  run(execute: string, args?: JsonObject): unknown {
    const reply = this.send(execute, args);
    return reply.return ?? (reply.error as JsonObject | undefined)?.desc;
  }

  /** Moves to the next thing that falls due. */
  jump(): boolean {
    const at = this.qemu.nextTimerAt();
    if (at === undefined) return false;
    this.qemu.advance(at - this.qemu.vm.clock.now());
    this.#take();
    return true;
  }

  /** Lets everything happen that happens by itself. */
  idle(): void {
    while (this.jump());
  }

  /** The log so far, which then starts anew. */
  heard(): string[] {
    const { log } = this;
    this.log = [];
    return log;
  }

  guest(command: string): string {
    const before = this.printed;
    this.run('human-monitor-command', { 'command-line': `qemu-io -d ${GUEST} "${command}"` });
    return this.printed.slice(before.length);
  }

  /** Whether the guest reads only this byte in the range. */
  reads(byte: number, offset: number, bytes: number): boolean {
    return !this.guest(`read -P ${byte} ${offset} ${bytes}`).includes('failed');
  }

  /** An empty qcow2 target, open as node `t`. */
  addTarget(options: JsonObject = {}, sizeBytes = 8 * MIB): void {
    format(this.store.create('/img/t'), {
      format: 'qcow2',
      sizeBytes,
      header: { clusterSizeBytes: 65536 },
    });
    const file = { driver: 'file', filename: '/img/t' };
    this.run('blockdev-add', { driver: 'qcow2', 'node-name': 't', file, backing: null, ...options });
    this.heard();
  }

  /** Paths of the guest's images, top first. */
  chain(): string[] {
    const [disk] = this.run('query-block') as readonly { inserted: { image: unknown } }[];
    const paths: string[] = [];
    let image = disk?.inserted.image as { filename: string; 'backing-image'?: unknown } | undefined;
    while (image) {
      paths.push(image.filename);
      image = image['backing-image'] as typeof image;
    }
    this.heard();
    return paths;
  }

  #take(): void {
    for (const output of this.qemu.takeOutputs()) {
      if (this.exit !== undefined) this.afterExit.push(output.type);
      else if (output.type === 'data') this.#hear(new TextDecoder().decode(output.bytes));
      else if (output.type === 'close') this.log.push('closed');
      else if (output.type === 'print') this.printed += output.text;
      else if (output.type === 'exit') ({ code: this.exit, signal: this.signal } = output);
    }
  }

  #hear(text: string): void {
    this.heardBytes.push(text);
    if (!text.endsWith('\r\n')) return;
    for (const line of text.split('\r\n').filter((each) => each !== '')) {
      const message = JSON.parse(line) as JsonObject;
      if (message.return !== undefined || message.error !== undefined) {
        this.#reply = message;
        this.log.push(message.error === undefined ? '{}' : 'error');
      } else if (message.event !== undefined) {
        const data = (message.data ?? {}) as JsonObject;
        this.log.push(
          message.event === 'JOB_STATUS_CHANGE' ? `${data.id}:${data.status}` : String(message.event),
        );
      }
    }
  }
}
