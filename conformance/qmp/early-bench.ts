/** A machine of before nodes, put together by its command line; what is done to it is rows. */
import { expectEqual } from '../expect.ts';
import type { Write } from '../target.ts';
import { objectAt, type WireMessage } from '../wire.ts';
import type { World } from '../world.ts';
import { Monitor, type Reply } from './monitor.ts';

const MIB = 1024 * 1024;
/** The size of its images. */
export const SIZE = 16 * MIB;
/** The drive, and its job: until names came, a drive has one job. */
export const DISK = { device: 'disk' };
const BASE: Write = { offsetBytes: 0, lengthBytes: SIZE, byte: 0x11 };
const TOP: Write = { offsetBytes: MIB, lengthBytes: 64 * 1024, byte: 0x22 };
const MERGED: readonly Write[] = [
  { ...BASE, lengthBytes: TOP.offsetBytes },
  TOP,
  {
    ...BASE,
    offsetBytes: TOP.offsetBytes + TOP.lengthBytes,
    lengthBytes: SIZE - TOP.offsetBytes - TOP.lengthBytes,
  },
];
/** So slow that a job moves one chunk in each tenth of a second, and no less. */
export const HELD_SPEED = 1;

/** A machine with a drive `disk`, a chain `base <- top` of qcow2, and an empty CD drive `cd0`. */
export class EarlyBench {
  readonly monitor: Monitor;
  readonly world: World;

  private constructor(monitor: Monitor) {
    this.monitor = monitor;
    this.world = monitor.world;
  }

  static async start(world: World): Promise<EarlyBench> {
    const path = (name: string) => `${world.session.directory}/${name}.qcow2`;
    const image = { format: 'qcow2', capacityBytes: SIZE } as const;
    await world.session.createImage({ ...image, path: path('base'), writes: [BASE] });
    const backing = { path: path('base'), format: 'qcow2' } as const;
    await world.session.createImage({ ...image, path: path('top'), backing, writes: [TOP] });
    const drives = [{ id: DISK.device, path: path('top'), format: 'qcow2' }];
    const { monitor } = await Monitor.start(world, { cdrom: true, drives });
    await monitor.succeed('qmp_capabilities');
    return new EarlyBench(monitor);
  }

  path(name: string): string {
    return `${this.world.session.directory}/${name}.qcow2`;
  }

  /** The drive as query-block shows it: what it has open, and what is below. */
  async files(device = DISK.device): Promise<readonly unknown[]> {
    const found = (await this.monitor.list('query-block')).find((each) => each.device === device);
    const { file, backing_file: below } = objectAt(found ?? {}, 'inserted');
    return below === undefined ? [file] : [file, below];
  }

  async job(): Promise<WireMessage | undefined> {
    return (await this.monitor.list('query-block-jobs')).find(({ device }) => device === DISK.device);
  }

  /** The events of the drive's job so far. */
  events(): string[] {
    return this.monitor.received.flatMap(({ event }) =>
      typeof event === 'string' && event.startsWith('BLOCK_JOB_') ? [event] : [],
    );
  }

  async until(event: string): Promise<void> {
    await this.monitor.until(event, () => this.monitor.eventData(event).length > 0);
  }

  async expectContents(name: string): Promise<void> {
    expectEqual(await this.world.session.contents(this.path(name)), [...MERGED], `contents of ${name}`);
  }
}

/** One thing that such a machine does. */
export interface EarlyRow {
  readonly id: string;
  readonly title: string;
  check(bench: EarlyBench): Promise<void>;
}

/** Class and text of a refusal; false: it is none. */
export const refusalOf = (reply: Reply): unknown => 'error' in reply && [reply.error.class, reply.error.desc];
