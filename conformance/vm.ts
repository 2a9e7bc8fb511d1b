/** One running domain of a case: its disk, what the guest wrote to it, and the calls that many contracts share. */
import type { Domain } from '../src/index.ts';
import {
  BlockCopyFlags,
  BlockJobInfoFlags,
  BlockJobSetSpeedFlags,
  BlockJobStatus,
  BlockPullFlags,
  ErrorCode,
  EventId,
  isVirtError,
} from '../src/index.ts';
import type { CopyPlan, PullPlan } from './arbitraries.ts';
import { expect, Violation } from './expect.ts';
import type { DiskModel } from './model.ts';
import type { Guest, Write } from './target.ts';
import type { World } from './world.ts';
import { type DiskView, readDisk } from './xml.ts';

/** Slow enough that 256 KiB take four seconds. */
export const HELD_BYTES_PER_SECOND = 64 * 1024;

/** What a {@link Vm} is made of. */
export interface VmParts {
  readonly world: World;
  readonly domain: Domain;
  readonly model: DiskModel;
  /** Active image first. */
  readonly chain: readonly string[];
  readonly guest: Guest;
}

/** A job's progress as virDomainGetBlockJobInfo gives it. */
export type JobInfo = NonNullable<Awaited<ReturnType<Domain['getBlockJobInfo']>>>;

/** A running domain with the one disk `vda`. */
export class Vm {
  readonly disk = 'vda';
  readonly world: World;
  readonly domain: Domain;
  /** What the guest must read back. */
  readonly model: DiskModel;
  /** The images it was started with, active first. */
  readonly chain: readonly string[];
  readonly #guest: Guest;
  #isSuspended = false;

  constructor({ world, domain, model, chain, guest }: VmParts) {
    this.world = world;
    this.domain = domain;
    this.model = model;
    this.chain = chain;
    this.#guest = guest;
  }

  /** The path of the image that the domain was started with. */
  get source(): string {
    return this.chain[0] ?? '';
  }

  /** Where this domain's copies go; `suffix` tells several apart. */
  target(suffix = 'copy'): string {
    return `${this.world.session.directory}/${this.domain.name}-${suffix}`;
  }

  /** Lets the guest write, and the model with it. */
  async write(writes: readonly Write[]): Promise<void> {
    for (const write of writes) {
      await this.#guest.write(write);
      this.model.write(write);
    }
  }

  /** Starts a copy (virDomainBlockCopy); resolves to the destination's path. */
  async copy(plan: CopyPlan, suffix?: string): Promise<string> {
    const path = this.target(suffix);
    const speed = await this.#startSpeed(plan);
    const isTuned = this.world.session.limits?.copyTuning ?? true;
    await this.domain.blockCopy(
      this.disk,
      copyTargetXml(path, plan.format),
      {
        ...(speed > 0 ? { bandwidth: speed } : {}),
        ...(isTuned && plan.granularityBytes > 0 ? { granularity: plan.granularityBytes } : {}),
        ...(isTuned && plan.bufSizeBytes > 0 ? { 'buf-size': plan.bufSizeBytes } : {}),
      },
      plan.shallow ? BlockCopyFlags.SHALLOW : 0,
    );
    return path;
  }

  /** Starts a pull of the whole chain (virDomainBlockPull). */
  async pull(plan: PullPlan): Promise<void> {
    const speed = await this.#startSpeed(plan);
    await this.domain.blockPull(this.disk, speed, BlockPullFlags.BANDWIDTH_BYTES);
  }

  /**
   * The speed that a job is started with. Before one that is held back the CPUs are stopped: a booting firmware resets
   * its disks, and in some QEMUs that cuts short the sleep of a throttled job.
   */
  async #startSpeed({ held, speedBytesPerSecond }: CopyPlan | PullPlan): Promise<number> {
    if (!held) return speedBytesPerSecond;
    if (!this.#isSuspended) await this.domain.suspend();
    this.#isSuspended = true;
    return HELD_BYTES_PER_SECOND;
  }

  /** Lets a held job go, and the CPUs run. A job that has ended by itself is left alone. */
  async letGo(speedBytesPerSecond = 0): Promise<void> {
    if (this.#isSuspended) await this.domain.resume();
    this.#isSuspended = false;
    try {
      await this.domain.blockJobSetSpeed(
        this.disk,
        speedBytesPerSecond,
        BlockJobSetSpeedFlags.BANDWIDTH_BYTES,
      );
    } catch (error) {
      if (!isVirtError(error, ErrorCode.INVALID_ARG)) throw error;
    }
  }

  /** The copy's life up to READY: started, written to, let go, ready, written to again. */
  async copyUntilReady(plan: CopyPlan): Promise<string> {
    const path = await this.copy(plan);
    await this.write(plan.during);
    if (plan.held) await this.letGo(plan.speedBytesPerSecond);
    await this.ready();
    await this.write(plan.later);
    return path;
  }

  /** The pull's whole life, with the guest writing meanwhile. */
  async pullUntilEnded(plan: PullPlan): Promise<void> {
    await this.pull(plan);
    await this.write(plan.during);
    if (plan.held) await this.letGo(plan.speedBytesPerSecond);
    await this.write(plan.later);
    await this.ended(BlockJobStatus.COMPLETED);
  }

  /** The statuses of the disk's job events (BLOCK_JOB_2) so far. */
  statuses(): number[] {
    return this.world.jobEvents(this.domain.name).map(({ status }) => status);
  }

  /** The statuses of the same jobs as BLOCK_JOB, which names the disk by its path. */
  statusesByPath(): number[] {
    return this.world.events.flatMap((event) =>
      event.id === EventId.BLOCK_JOB && event.domain === this.domain.name ? [event.status] : [],
    );
  }

  /** Waits for READY; a job that ends before it breaks the contract at once. */
  async ready(): Promise<void> {
    await this.world.until(`READY of ${this.disk}`, () => {
      const statuses = this.statuses();
      const ended = statuses.find((status) => status !== BlockJobStatus.READY);
      expect(ended === undefined, `the job ended with status ${ended} instead of becoming READY`);
      return statuses.includes(BlockJobStatus.READY);
    });
  }

  /** Waits for the job's end, which must be the given one. */
  async ended(expected: number): Promise<void> {
    const status = await this.world.until(`the end (status ${expected}) of the job on ${this.disk}`, () => {
      const found = this.statuses().find((item) => item !== BlockJobStatus.READY);
      return found === undefined ? undefined : { found };
    });
    expect(status.found === expected, `the job ended with status ${status.found}, expected ${expected}`);
  }

  /** Progress with the speed in bytes per second; null without a job. */
  info(): Promise<JobInfo | null> {
    return this.domain.getBlockJobInfo(this.disk, BlockJobInfoFlags.BANDWIDTH_BYTES);
  }

  /** The disk as the live XML shows it. */
  async view(): Promise<DiskView> {
    return readDisk(await this.domain.getXMLDesc(), this.disk);
  }

  /** Breaks the contract unless the image at `path` reads as the model says; flushes the guest's writes first. */
  async expectContents(path: string, model: DiskModel, what: string): Promise<void> {
    await this.#guest.flush();
    await expectImage(this.world, path, model, what);
  }
}

/** Breaks the contract unless an image that no domain writes to reads as the model says. */
export async function expectImage(world: World, path: string, model: DiskModel, what: string): Promise<void> {
  const difference = model.firstDifference(await world.session.contents(path));
  if (!difference) return;
  const { offsetBytes, expected, found } = difference;
  throw new Violation(
    `${what} differs from what the guest wrote at byte ${offsetBytes}: expected ${expected}, found ${found}`,
  );
}

/** A copy's destination, as virDomainBlockCopy takes it. */
export function copyTargetXml(path: string, format: string): string {
  return `<disk type='file'><driver type='${format}'/><source file='${path}'/></disk>`;
}
