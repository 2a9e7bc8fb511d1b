/** Disks and jobs of the `qmp/` contracts, put together by QMP commands alone. */
import { expect, expectEqual } from '../expect.ts';
import type { FaultPlan, QmpOptions, QmpServer, Write } from '../target.ts';
import { isObject, type WireMessage } from '../wire.ts';
import type { World } from '../world.ts';
import { Monitor } from './monitor.ts';

const KIB = 1024;
/** The size of the disks of a bench. */
export const DISK_BYTES = 1024 * KIB;
/** The id of the job that a contract is about. */
export const JOB = 'job';
/** So slow that a job which has to move anything stays where it is. */
export const HELD_SPEED = 1024;

/** What every source image holds. */
export const DATA: Write = { offsetBytes: 0, lengthBytes: 512 * KIB, byte: 0x5a };

/** The size of the images of a chain. */
export const CHAIN_BYTES = 2 * DISK_BYTES;
/** Keeps a job that is held back from being done after its first steps. */
const TAIL: Write = { offsetBytes: DISK_BYTES, lengthBytes: DISK_BYTES, byte: 0x77 };

/** A QMP server with disks: a chain `base <- mid <- top` of qcow2, and raw `target`s. */
export class Bench {
  readonly monitor: Monitor;
  readonly world: World;
  /** The server, where it was started for this bench. */
  readonly server: QmpServer | undefined;

  constructor(monitor: Monitor, server?: QmpServer) {
    this.monitor = monitor;
    this.world = monitor.world;
    this.server = server;
  }

  /** A negotiated server with nothing in it. */
  static async empty(world: World): Promise<Bench> {
    return new Bench(await Monitor.ready(world));
  }

  /** A negotiated server whose machine takes disks, and stands still until `cont`. */
  static withBus(world: World, faults?: FaultPlan): Promise<Bench> {
    return Bench.on(world, { machine: 'pc', ...(faults && { faults }) });
  }

  /** A negotiated server that is started as asked. */
  static async on(world: World, options: QmpOptions): Promise<Bench> {
    const { monitor, server } = await Monitor.start(world, options);
    await monitor.succeed('qmp_capabilities');
    return new Bench(monitor, server);
  }

  path(name: string): string {
    return `${this.world.session.directory}/${name}`;
  }

  /** Opens a raw image as node `name`; `writes` are in it. */
  async raw(name: string, writes: readonly Write[] = [], capacityBytes = DISK_BYTES): Promise<void> {
    const path = this.path(`${name}.raw`);
    await this.world.session.createImage({ path, format: 'raw', capacityBytes, writes });
    await this.open('raw', name, path);
  }

  /** {@link raw} below a blkdebug node, which fails requests as `rules` say (`inject-error`, `set-state`). */
  async debugged(name: string, rules: WireMessage, writes: readonly Write[] = []): Promise<void> {
    const path = this.path(`${name}.raw`);
    await this.world.session.createImage({ path, format: 'raw', capacityBytes: DISK_BYTES, writes });
    const image = { driver: 'file', filename: path };
    await this.monitor.succeed('blockdev-add', { driver: 'blkdebug', 'node-name': name, image, ...rules });
  }

  /** Opens a chain of qcow2 images as nodes, the base first; each image's data begins 512 KiB further up. */
  async chain(names: readonly string[]): Promise<void> {
    let below: string | undefined;
    for (const [index, name] of names.entries()) {
      const path = this.path(`${name}.qcow2`);
      await this.world.session.createImage({
        path,
        format: 'qcow2',
        capacityBytes: CHAIN_BYTES,
        ...(below === undefined ? {} : { backing: { path: below, format: 'qcow2' as const } }),
        writes: [
          { ...DATA, offsetBytes: (index % 2) * DATA.lengthBytes, byte: 0x11 * (index + 1) },
          ...(index === 0 ? [TAIL] : []),
        ],
      });
      below = path;
    }
    // Opened only now: the tools that fill an image want its backing file for themselves.
    for (const [index, name] of names.entries())
      await this.open('qcow2', name, this.path(`${name}.qcow2`), names[index - 1] ?? null);
  }

  /** Opens an image that is there. */
  async open(driver: 'raw' | 'qcow2', name: string, path: string, backing?: string | null): Promise<void> {
    await this.monitor.succeed('blockdev-add', {
      driver,
      'node-name': name,
      file: { driver: 'file', filename: path },
      ...(backing === undefined ? {} : { backing }),
    });
  }

  /** `source`, with data, and `target`, without. */
  async pair(): Promise<void> {
    await this.raw('source', [DATA]);
    await this.raw('target');
  }

  /** Starts the mirror of the pair. */
  async mirror(more: WireMessage = {}): Promise<void> {
    await this.monitor.succeed('blockdev-mirror', {
      'job-id': JOB,
      device: 'source',
      target: 'target',
      sync: 'full',
      'buf-size': 64 * KIB,
      granularity: 64 * KIB,
      ...more,
    });
  }

  /** Waits until a held job has moved its first bytes: from then on it sleeps. */
  async moving(): Promise<void> {
    const { monitor, world } = this;
    await world.until('the first bytes of the held job', async () => {
      const job = await monitor.job(JOB);
      return job !== undefined && Number(job['current-progress']) > 0;
    });
  }

  /** Waits for READY. */
  async ready(): Promise<void> {
    await this.monitor.reach(JOB, 'ready');
  }

  /** The guest's end of a node. */
  async write(node: string, { offsetBytes, lengthBytes, byte }: Write): Promise<void> {
    await this.monitor.human(`qemu-io ${node} "write -P ${byte} ${offsetBytes} ${lengthBytes}"`);
  }

  /** The names of all nodes that the server knows, without those that it made up itself. */
  async nodes(): Promise<string[]> {
    const names = (await this.monitor.list('query-named-block-nodes')).map((node) =>
      String(node['node-name']),
    );
    return names.filter((name) => !name.startsWith('#')).sort();
  }

  /** What a job looks like in query-block-jobs. */
  async blockJob(id = JOB): Promise<WireMessage> {
    const job = (await this.monitor.list('query-block-jobs')).find((each) => each.device === id);
    expect(isObject(job), `query-block-jobs does not show the job ${id}`);
    return job;
  }
}

const MANUAL = { 'auto-dismiss': false } as const;

/** How a job with the id {@link JOB} is brought into a state, where it then stays. */
export const STATES = {
  async running(bench: Bench) {
    await bench.pair();
    await bench.mirror({ ...MANUAL, speed: HELD_SPEED });
    await bench.moving();
  },
  async paused(bench: Bench) {
    await STATES.running(bench);
    await bench.monitor.succeed('block-job-pause', { device: JOB });
    await bench.monitor.reach(JOB, 'paused');
  },
  async ready(bench: Bench) {
    await bench.pair();
    await bench.mirror(MANUAL);
    await bench.ready();
  },
  async standby(bench: Bench) {
    await STATES.ready(bench);
    await bench.monitor.succeed('block-job-pause', { device: JOB });
    await bench.monitor.reach(JOB, 'standby');
  },
  async waiting(bench: Bench) {
    await bench.pair();
    await bench.raw('other', [DATA, { ...DATA, offsetBytes: DATA.lengthBytes }]);
    await bench.raw('other-target');
    await bench.raw('small', [], 64 * KIB);
    await bench.raw('small-target', [], 64 * KIB);
    const backup = (id: string, device: string, target: string, more: WireMessage = {}) => ({
      type: 'blockdev-backup',
      data: { 'job-id': id, device, target, sync: 'full', ...MANUAL, ...more },
    });
    await bench.monitor.succeed('transaction', {
      actions: [
        backup(JOB, 'small', 'small-target'),
        // A backup may overrun its limit by 1 MiB before it first sleeps.
        backup('held', 'other', 'other-target', {
          speed: HELD_SPEED,
          'x-perf': { 'max-chunk': 65_536, 'max-workers': 1 },
        }),
      ],
      properties: { 'completion-mode': 'grouped' },
    });
    await bench.monitor.reach(JOB, 'waiting');
  },
  async pending(bench: Bench) {
    await bench.pair();
    await bench.mirror({ ...MANUAL, 'auto-finalize': false });
    await bench.ready();
    await bench.monitor.succeed('job-complete', { id: JOB });
    await bench.monitor.until(
      'BLOCK_JOB_PENDING',
      () => bench.monitor.eventData('BLOCK_JOB_PENDING').length > 0,
    );
  },
  async concluded(bench: Bench) {
    await STATES.ready(bench);
    await bench.monitor.succeed('job-complete', { id: JOB });
    await bench.monitor.reach(JOB, 'concluded');
  },
} as const;

/** A state that a job can be held in. */
export type JobState = keyof typeof STATES;

/** A server whose job is in `state`, which the server confirms. */
export async function benchIn(world: World, state: JobState): Promise<Bench> {
  const bench = await Bench.empty(world);
  await STATES[state](bench);
  expectEqual((await bench.monitor.job(JOB))?.status, state, 'status of the job before the command');
  return bench;
}
