/** One simulated QEMU with a disk and a client, without any layer above QMP. */
import type { ExtentMap } from '../mock-qemu/core/extents.ts';
import { format } from '../mock-qemu/core/jobs/create.ts';
import { createMemoryStore } from '../mock-qemu/images/memory.ts';
import { DEFAULT_PROFILE, profileNamed } from '../mock-qemu/profiles/index.ts';
import { MockQemu } from '../mock-qemu/qmp/machine.ts';
import { assert } from '../src/util/assert.ts';

/** A fully written disk. */
export interface DiskShape {
  readonly sizeBytes: number;
  /** In how many stretches of equal content it was written. */
  readonly extents: number;
}

const JOB = 'mirror-0';
const HEADER = { clusterSizeBytes: 65536 };

/** The machine; its disk is node `disk`, the destination node `copy`. */
export class BenchMachine {
  readonly #qemu: MockQemu;
  readonly #decoder = new TextDecoder();
  #reply: object | undefined;
  /** Names of the events that came. */
  readonly events = new Set<string>();

  constructor({ sizeBytes, extents }: DiskShape) {
    const images = createMemoryStore();
    for (const path of ['/disk', '/copy'])
      format(images.create(path), { format: 'qcow2', sizeBytes, header: HEADER });
    fill(images.open('/disk').extents, sizeBytes, extents);
    const nodes = ['disk', 'copy'].flatMap((name) => [
      '-blockdev',
      JSON.stringify({
        driver: 'qcow2',
        'node-name': name,
        file: { driver: 'file', filename: `/${name}` },
      }),
    ]);
    const device = ['-device', '{"driver":"virtio-blk-pci","drive":"disk","id":"disk0"}'];
    this.#qemu = new MockQemu({
      profile: profileNamed(DEFAULT_PROFILE),
      argv: [...nodes, ...device],
      seed: 1,
      images,
    });
    this.#qemu.step({ type: 'connect', connection: 1 });
    this.run('qmp_capabilities');
  }

  get nowNs(): number {
    return this.#qemu.vm.clock.now();
  }

  /** Executes a command; time moves as far as it needs. */
  run(execute: string, args: object = {}): void {
    this.#reply = undefined;
    const bytes = Buffer.from(JSON.stringify({ execute, arguments: args }));
    this.#qemu.step({ type: 'data', connection: 1, bytes });
    this.#take();
    while (this.#reply === undefined) assert(this.#jump(), `${execute} is answered`);
    assert(!('error' in this.#reply), `${execute}: ${JSON.stringify(this.#reply)}`);
  }

  /** Starts to mirror the whole disk. */
  mirror(speedBytesPerSecond = 0): void {
    const speed = speedBytesPerSecond === 0 ? {} : { speed: speedBytesPerSecond };
    this.run('blockdev-mirror', { 'job-id': JOB, device: 'disk', target: 'copy', sync: 'full', ...speed });
  }

  /** Lets the copy go until it is READY. */
  untilReady(): void {
    while (!this.events.has('BLOCK_JOB_READY')) assert(this.#jump(), 'the mirror becomes READY');
  }

  /** Ends the mirror with the guest on the copy. */
  pivot(): void {
    this.run('job-complete', { id: JOB });
    while (!this.events.has('BLOCK_JOB_COMPLETED')) assert(this.#jump(), 'the mirror completes');
  }

  /** Lets virtual time pass. */
  advance(ns: number): void {
    this.#qemu.advance(ns);
    this.#take();
  }

  /** From now on the guest writes, round and round through the first `hotBytes` of its disk. */
  load(bytesPerSecond: number, hotBytes: number): void {
    this.#qemu.control({ control: 'guest-load', disk: 'disk0', bytesPerSecond, hotBytes });
  }

  #jump(): boolean {
    const at = this.#qemu.nextTimerAt();
    if (at === undefined) return false;
    this.#qemu.advance(at - this.nowNs);
    this.#take();
    return true;
  }

  #take(): void {
    for (const output of this.#qemu.takeOutputs()) {
      assert(output.type !== 'exit', `the machine goes on: ${JSON.stringify(output)}`);
      // What qemu-io prints is nobody's business here.
      if (output.type !== 'data') continue;
      for (const line of this.#decoder.decode(output.bytes).trimEnd().split('\r\n'))
        this.#hear(JSON.parse(line));
    }
  }

  #hear(message: { readonly event?: string }): void {
    if (message.event === undefined) this.#reply = message;
    else this.events.add(message.event);
  }
}

/** Neighbours differ, so that they stay extents of their own. */
function fill(map: ExtentMap, sizeBytes: number, extents: number): void {
  const stepBytes = Math.floor(sizeBytes / extents / 65536) * 65536;
  for (let index = 0; index < extents; index++) {
    const end = index === extents - 1 ? sizeBytes : (index + 1) * stepBytes;
    map.set(index * stepBytes, end, 1 + (index % 2));
  }
}
