/** A domain under a management process, whose guest writes and flushes while its disks pivot and things go wrong. */
import {
  BlockCommitFlags,
  BlockJobAbortFlags,
  type BlockJobOutcome,
  BlockJobStatus,
  type Domain,
  EventId,
  isVirtError,
} from '../src/index.ts';
import { expect, expectEqual, Violation } from './expect.ts';
import { diskXml } from './lab.ts';
import type { Manager, Run } from './target.ts';
import { copyTargetXml } from './vm.ts';
import { isObject, isObjectList, objectAt, type WireMessage, type WireValue } from './wire.ts';
import type { World } from './world.ts';
import { domainXml } from './xml.ts';

const MIB = 1024 * 1024;
const SLOT_BYTES = 4096;
const POLL_MS = 1;
/** Between two writes: a guest that never rests holds a pivot up. */
const PACE_MS = 4;
const MAX_SLOTS = 200;
/** How long what was on its way may take. */
const SETTLE_MS = 30;

/** What is pivoted. */
export interface PivotPlan {
  readonly kind: 'copy' | 'active-commit';
  readonly disks: number;
  readonly pause: boolean;
}

/** One disk of the lab. */
export interface LabDisk {
  readonly target: string;
  readonly alias: string;
  readonly source: string;
  readonly destination: string;
}

/** The domain, its jobs, and what its guest was promised. */
export class PivotLab {
  readonly world: World;
  readonly plan: PivotPlan;
  readonly name: string;
  readonly disks: readonly LabDisk[];
  readonly guests: readonly WritingGuest[];
  #manager: Manager;

  private constructor(world: World, plan: PivotPlan, name: string, manager: Manager) {
    this.world = world;
    this.plan = plan;
    this.name = name;
    this.#manager = manager;
    this.disks = Array.from({ length: plan.disks }, (_, index) => diskOf(world, name, plan, index));
    this.guests = this.disks.map(({ alias }) => new WritingGuest(this, alias));
  }

  /** Makes images and domain, and brings every disk's job to READY. */
  static async ready(world: World, plan: PivotPlan, name = 'pivoting'): Promise<PivotLab> {
    const manager = await world.manage({ pauseGuestAroundPivot: plan.pause });
    const lab = new PivotLab(world, plan, name, manager);
    await lab.#makeImages();
    const domain = await manager.connection.createXML(labXml(name, lab.disks));
    await lab.startJobs(domain);
    return lab;
  }

  /** The management process of now. */
  get manager(): Manager {
    return this.#manager;
  }

  domain(): Promise<Domain> {
    return this.#manager.connection.lookupByName(this.name);
  }

  async #makeImages(): Promise<void> {
    const { session } = this.world;
    const image = { format: 'qcow2', capacityBytes: MIB, writes: [] } as const;
    for (const { source, destination } of this.disks) {
      const isCommit = this.plan.kind === 'active-commit';
      if (isCommit) await session.createImage({ ...image, path: destination });
      const below = { backing: { path: destination, format: 'qcow2' as const } };
      await session.createImage({ ...image, path: source, ...(isCommit ? below : {}) });
    }
  }

  /** Starts the job of every disk; resolves when all are READY. */
  async startJobs(domain: Domain): Promise<void> {
    let ready = 0;
    const { connection } = this.#manager;
    const id = connection.domainEventRegister(EventId.BLOCK_JOB_2, null, ({ status }) => {
      if (status === BlockJobStatus.READY) ready++;
    });
    for (const { target, destination } of this.disks) {
      if (this.plan.kind === 'copy') await domain.blockCopy(target, copyTargetXml(destination, 'qcow2'));
      else await domain.blockCommit(target, null, null, 0, BlockCommitFlags.ACTIVE);
    }
    await this.world.until('READY of every disk', () => ready === this.disks.length);
    connection.domainEventDeregister(id);
  }

  /** Puts faults in force in the machine. */
  async fail(...faults: readonly WireMessage[]): Promise<void> {
    await this.ask({ control: 'add-faults', faults });
  }

  /** Asks the machine for what only a simulation can do. */
  async ask(request: WireMessage): Promise<WireValue> {
    const { control } = this.world.session;
    if (!control) throw new Error('the target takes no faults');
    return control(this.name, request);
  }

  /** Lets all guests write from now on. */
  write(): void {
    for (const guest of this.guests) void guest.run();
  }

  /** Pivots one disk after the other; what each caller was told: true, or why not. */
  async pivot(disks = this.disks): Promise<readonly (true | string)[]> {
    const told: (true | string)[] = [];
    const domain = await this.domain();
    for (const { target } of disks)
      told.push(
        await domain.blockJobAbort(target, BlockJobAbortFlags.PIVOT).then(
          () => true as const,
          (error: unknown) => {
            if (!isVirtError(error)) throw error;
            return error.message;
          },
        ),
      );
    return told;
  }

  /** Starts the domain again, on these images. */
  startAgain(paths: readonly string[]): Promise<Domain> {
    const disks = this.disks.map((disk, index) => ({ ...disk, source: paths[index] ?? disk.source }));
    return this.#manager.connection.createXML(labXml(this.name, disks));
  }

  /** The path of the image that the machine has open for a disk, by itself. */
  async open(): Promise<string> {
    const domain = await this.domain();
    const blocks = await domain.qemuMonitorCommand('{"execute":"query-block"}');
    const { source, destination } = this.disks[0] ?? { source: '', destination: '' };
    return blocks.includes(`"${source}"`) ? source : destination;
  }

  /** Lets what is on its way arrive. */
  settle(ms = SETTLE_MS): Promise<void> {
    return new Promise((resolve) => void this.world.timers.after(ms, resolve));
  }

  /** The management process dies, and another one begins on the same state. */
  async restart(): Promise<void> {
    this.#manager.die();
    this.#manager = await this.world.manage({ pauseGuestAroundPivot: this.plan.pause });
  }

  /** What the management process of now tells of the jobs of this domain. */
  outcomes(): readonly BlockJobOutcome[] {
    const all = this.#manager.connection.listBlockJobOutcomes();
    return all.filter(({ domainName }) => domainName === this.name);
  }

  /** Breaks the contract unless an image holds every write that the guest was told is safe. */
  async expectSafe(disk: number, path: string): Promise<void> {
    const guest = this.guests[disk];
    const runs = await this.world.session.contents(path);
    expect(guest?.isIn(runs), `${path} lacks one of ${guest?.acknowledged} writes that were flushed`);
  }
}

function diskOf(world: World, name: string, { kind }: PivotPlan, index: number): LabDisk {
  const path = (what: string) => `${world.session.directory}/${name}-${index}-${what}`;
  const destination = path(kind === 'copy' ? 'copy' : 'base');
  return { target: `vd${'abc'[index]}`, alias: `virtio-disk${index}`, source: path('top'), destination };
}

const UUIDS = '6d6f636b-7069-4274-8000-';

/** The domain of a lab; its uuid follows from its name, so that a seed repeats the trace to the byte. */
function labXml(name: string, disks: readonly LabDisk[]): string {
  const number = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 1e9, 7);
  const uuid = `${UUIDS}${String(number).padStart(12, '0')}`;
  const elements = disks.map(({ target, source }) => diskXml(target, source)).join('');
  return domainXml(name, uuid, elements);
}

/** A guest that writes and flushes for as long as its machine lives, and knows what it was promised. */
class WritingGuest {
  readonly #lab: PivotLab;
  readonly #alias: string;
  #acknowledged = 0;

  constructor(lab: PivotLab, alias: string) {
    this.#lab = lab;
    this.#alias = alias;
  }

  /** How many slots were written, and flushed. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Until its machine, or whoever asks it, is gone. */
  async run(): Promise<void> {
    const { world } = this.#lab;
    for (let slot = 0; slot < MAX_SLOTS; slot++) {
      const written = { op: 'write', offset: slot * SLOT_BYTES, bytes: SLOT_BYTES, byte: slot + 1 };
      if (!(await this.#does(written, 'wr_operations', slot + 1))) return;
      if (!(await this.#does({ op: 'flush' }, 'flush_operations', slot + 1))) return;
      this.#acknowledged = slot + 1;
      await new Promise<void>((resolve) => void world.timers.after(PACE_MS, resolve));
    }
  }

  /** Whether everything that was promised is there. */
  isIn(runs: readonly Run[]): boolean {
    const byteAt = (offset: number): number =>
      runs.find(({ offsetBytes: from, lengthBytes }) => offset >= from && offset < from + lengthBytes)
        ?.byte ?? 0;
    for (let slot = 0; slot < this.#acknowledged; slot++)
      if (byteAt(slot * SLOT_BYTES) !== slot + 1) return false;
    return true;
  }

  /** One request, and whether the disk has acknowledged it. */
  async #does(request: WireMessage, counter: string, count: number): Promise<boolean> {
    const { world } = this.#lab;
    try {
      await this.#lab.ask({ control: 'guest-io', disk: this.#alias, ...request });
      while ((await this.#counted(counter)) < count)
        await new Promise<void>((resolve) => void world.timers.after(POLL_MS, resolve));
      return true;
    } catch {
      // The machine is gone, or who could be asked about it.
      return false;
    }
  }

  async #counted(counter: string): Promise<number> {
    const domain = await this.#lab.domain();
    const reply: WireValue = JSON.parse(await domain.qemuMonitorCommand('{"execute":"query-blockstats"}'));
    const disks = isObject(reply) && isObjectList(reply.return) ? reply.return : [];
    const mine = disks.find(({ qdev, device }) => String(qdev ?? device).includes(this.#alias));
    return Number(objectAt(mine ?? {}, 'stats')[counter] ?? 0);
  }
}

type Told = Awaited<ReturnType<PivotLab['pivot']>>;
/** Longer than the guest is given to go on. */
const LATE_NS = 10e9;

/** QEMU dies when the last disk passes a point. */
export async function dieAt(lab: PivotLab, at: string): Promise<Told> {
  await lab.fail({ at, do: 'crash', after: lab.plan.disks - 1, times: 1 });
  return lab.pivot();
}

/** QEMU has pivoted the last disk, and the guest has gone on for a while, before QEMU dies with the news unsent. */
export async function dieUnheard(lab: PivotLab): Promise<Told> {
  const [last] = lab.disks.slice(-1);
  const first = await lab.pivot(lab.disks.slice(0, -1));
  const news = ['JOB_STATUS_CHANGE', 'BLOCK_JOB_COMPLETED'];
  await lab.fail(...news.map((event) => ({ at: 'monitor.event', event, do: 'delay', delayNs: LATE_NS })));
  const pivot = lab.pivot(last ? [last] : []);
  await lab.settle();
  await lab.fail({ at: 'monitor.command', command: 'query-version', do: 'crash' });
  const domain = await lab.domain();
  await domain.qemuMonitorCommand('{"execute":"query-version"}').catch(() => {});
  return [...first, ...(await pivot)];
}

/** What has to hold of each disk whose machine died; `told` is what the caller of its pivot was told. */
export async function expectTruth(lab: PivotLab, told: readonly (true | string)[]): Promise<void> {
  const outcomes = lab.outcomes();
  for (const [index, { target, source, destination }] of lab.disks.entries()) {
    const outcome = outcomes.find(({ disk }) => disk === target);
    if (told[index] === true) {
      expect(
        (outcome?.outcome ?? 'completed') === 'completed',
        `${target} completed, then ${outcome?.outcome}`,
      );
      await lab.expectSafe(index, destination);
      continue;
    }
    expect(outcome, `nobody tells what became of the job of ${target}`);
    expectEqual([outcome.source, outcome.destination], [source, destination], `images of ${target}`);
    const images = { completed: [destination], failed: [source], unknown: [source, destination] };
    const failures: string[] = [];
    for (const path of images[outcome.outcome])
      await lab.expectSafe(index, path).catch((error: unknown) => {
        if (!(error instanceof Violation)) throw error;
        failures.push(error.message);
      });
    const tolerated = outcome.outcome === 'unknown' ? 1 : 0;
    expect(failures.length <= tolerated, `${target} is told to have ${outcome.outcome}, but ${failures[0]}`);
    expect(
      !lab.plan.pause || outcome.outcome !== 'unknown',
      `${target}: unknown although the guest was paused`,
    );
  }
}
