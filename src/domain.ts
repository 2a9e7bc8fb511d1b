/** A domain as users hold it: lifecycle and the block-job family of libvirt. */
import { blockCommit } from './calls/block-commit.ts';
import { type BlockCopyParams, blockCopy } from './calls/block-copy.ts';
import { type BlockJobInfo, blockJobAbort, blockJobSetSpeed, getBlockJobInfo } from './calls/block-job.ts';
import { blockPull } from './calls/block-pull.ts';
import { blockRebase } from './calls/block-rebase.ts';
import { blockResize } from './calls/block-resize.ts';
import { setBlockThreshold } from './calls/block-threshold.ts';
import { checkFlags } from './calls/checks.ts';
import { ErrorCode, VirtError } from './errors.ts';
import { DomainXMLFlags, LifecycleEvent, MonitorCommandFlags } from './flags.ts';
import {
  destroyDomain,
  emitLifecycle,
  resumeDomain,
  startDomain,
  stateOf,
  suspendDomain,
} from './lifecycle.ts';
import type { DomainRecord } from './record.ts';
import type { StateAndReason } from './running.ts';

/**
 * A handle to a domain (libvirt: virDomainPtr). Every call rejects with a VirtError; on a domain that is shut off
 * most give OPERATION_INVALID `domain is not running`.
 */
export class Domain {
  readonly #record: DomainRecord;
  readonly name: string;
  readonly uuid: string;

  /** Domains come from a Connection; this is not for users. */
  constructor(record: DomainRecord) {
    this.#record = record;
    this.name = record.name;
    this.uuid = record.uuid;
  }

  /**
   * Starts a defined domain (virDomainCreate).
   * @throws VirtError OPERATION_INVALID if it runs, SYSTEM_ERROR for a missing image or emulator
   */
  async create(): Promise<void> {
    const record = this.#record;
    await record.locked('DomainCreate', async () => {
      if (record.running) throw new VirtError(ErrorCode.OPERATION_INVALID, 'domain is already running');
      if (!record.persistent) throw gone(record);
      await startDomain(record, record.persistent);
    });
  }

  /** Ends the domain at once (virDomainDestroy); its block jobs end with it, without an event of theirs. */
  async destroy(): Promise<void> {
    await destroyDomain(this.#record);
  }

  /** Asks the guest to power down (virDomainShutdown). */
  async shutdown(): Promise<void> {
    await this.#record.requireRunning().machine.powerdown();
  }

  /** Pauses the guest's CPUs (virDomainSuspend); block jobs go on. */
  async suspend(): Promise<void> {
    await this.#record.locked('DomainSuspend', () => suspendDomain(this.#record));
  }

  /** Lets the guest's CPUs run (virDomainResume). */
  async resume(): Promise<void> {
    await this.#record.locked('DomainResume', () => resumeDomain(this.#record));
  }

  /** Removes the persistent definition (virDomainUndefine); a running domain becomes transient. */
  async undefine(): Promise<void> {
    const record = this.#record;
    if (!record.persistent) {
      throw new VirtError(ErrorCode.OPERATION_INVALID, 'cannot undefine transient domain');
    }
    record.persistent = undefined;
    emitLifecycle(record, LifecycleEvent.UNDEFINED, 0);
    if (!record.running) record.services.forget(record);
  }

  /** virDomainIsActive. */
  isActive(): boolean {
    return this.#record.running !== undefined;
  }

  /** virDomainIsPersistent. */
  isPersistent(): boolean {
    return this.#record.persistent !== undefined;
  }

  /** virDomainGetState. */
  async getState(): Promise<StateAndReason> {
    return stateOf(this.#record);
  }

  /**
   * The domain's XML (virDomainGetXMLDesc): live with indexes and mirrors while it runs, else as defined.
   * @param flags DomainXMLFlags: INACTIVE for what the next start will use
   */
  async getXMLDesc(flags = 0): Promise<string> {
    checkFlags(flags, DomainXMLFlags, 'qemuDomainGetXMLDesc');
    return this.#record.toXml((flags & DomainXMLFlags.INACTIVE) !== 0);
  }

  /**
   * Copies the backing chain's data into the active image and drops the chain (virDomainBlockPull, QAPI block-stream).
   * @param disk target (`vda`) or path of the active image
   * @param bandwidth MiB/s, with BlockPullFlags.BANDWIDTH_BYTES bytes/s; 0: unlimited
   * @throws VirtError INVALID_ARG, OVERFLOW, BLOCK_COPY_ACTIVE or OPERATION_UNSUPPORTED while another job has the disk
   */
  async blockPull(disk: string, bandwidth: number | bigint = 0, flags = 0): Promise<void> {
    await blockPull(this.#record, disk, bandwidth, flags);
  }

  /**
   * Pulls only what is above `base` and keeps that, or with BlockRebaseFlags.COPY copies the disk to the path `base`
   * (virDomainBlockRebase). A copy of a persistent domain is always refused: only blockCopy can say TRANSIENT_JOB.
   * @param base null: as blockPull. Name, path or `vda[N]` of an image of the chain; with COPY an absolute path
   * @param bandwidth MiB/s, with BlockRebaseFlags.BANDWIDTH_BYTES bytes/s; 0: unlimited
   * @param flags BlockRebaseFlags; RELATIVE keeps the backing file's name relative
   */
  async blockRebase(
    disk: string,
    base: string | null = null,
    bandwidth: number | bigint = 0,
    flags = 0,
  ): Promise<void> {
    await blockRebase(this.#record, disk, base, bandwidth, flags);
  }

  /**
   * Merges images of the chain downwards (virDomainBlockCommit, QAPI block-commit).
   * @param base name, path or `vda[N]` of the image to commit into; null: the deepest
   * @param top name, path or `vda[N]` of the image to commit; null: the active one, which needs ACTIVE
   * @param bandwidth MiB/s, with BlockCommitFlags.BANDWIDTH_BYTES bytes/s; 0: unlimited
   */
  async blockCommit(
    disk: string,
    base: string | null = null,
    top: string | null = null,
    bandwidth: number | bigint = 0,
    flags = 0,
  ): Promise<void> {
    await blockCommit(this.#record, disk, base, top, bandwidth, flags);
  }

  /**
   * Mirrors the disk into a destination until it is pivoted or aborted (virDomainBlockCopy, QAPI blockdev-mirror).
   * @param destinationXml a `<disk>` with the destination's source and driver
   * @param flags BlockCopyFlags; a persistent domain needs TRANSIENT_JOB
   */
  async blockCopy(
    disk: string,
    destinationXml: string,
    params: BlockCopyParams = {},
    flags = 0,
  ): Promise<void> {
    await blockCopy(this.#record, disk, destinationXml, params, flags);
  }

  /**
   * Ends a job (virDomainBlockJobAbort): cancels it, or with BlockJobAbortFlags.PIVOT switches the disk to what a
   * ready copy or active commit has made. Waits for the end unless ASYNC is given.
   * @throws VirtError INVALID_ARG without a job, BLOCK_COPY_ACTIVE when a pivot comes too early, OPERATION_INVALID
   * while it is being ended, OPERATION_FAILED when the pivot failed (the disk stays on its source then)
   */
  async blockJobAbort(disk: string, flags = 0): Promise<void> {
    await blockJobAbort(this.#record, disk, flags);
  }

  /** Progress of the disk's job, or null if it has none (virDomainGetBlockJobInfo). */
  async getBlockJobInfo(disk: string, flags = 0): Promise<BlockJobInfo | null> {
    return getBlockJobInfo(this.#record, disk, flags);
  }

  /**
   * Changes a job's speed (virDomainBlockJobSetSpeed).
   * @param bandwidth MiB/s, with BlockJobSetSpeedFlags.BANDWIDTH_BYTES bytes/s; 0: unlimited
   */
  async blockJobSetSpeed(disk: string, bandwidth: number | bigint, flags = 0): Promise<void> {
    await blockJobSetSpeed(this.#record, disk, bandwidth, flags);
  }

  /**
   * Changes a disk's capacity (virDomainBlockResize); qcow2 and qed sizes are rounded up to 512 bytes.
   * @param disk target, or path of an active image that only one disk has
   * @param size KiB, with BlockResizeFlags.BYTES bytes
   * @throws VirtError OVERFLOW, OPERATION_UNSUPPORTED for an empty or read-only drive
   */
  async blockResize(disk: string, size: number | bigint, flags = 0): Promise<void> {
    await blockResize(this.#record, disk, size, flags);
  }

  /**
   * Asks for one BLOCK_THRESHOLD event when a write goes beyond an offset of the image file
   * (virDomainSetBlockThreshold).
   * @param device `vda`, which gives two events, or `vda[N]`
   * @param threshold bytes; 0 asks no longer
   */
  async setBlockThreshold(device: string, threshold: number | bigint, flags = 0): Promise<void> {
    await setBlockThreshold(this.#record, device, threshold, flags);
  }

  /**
   * Sends a command to the hypervisor's monitor, past all bookkeeping (virDomainQemuMonitorCommand).
   * @param flags MonitorCommandFlags.HMP: `command` is a human monitor line, else one QMP object as JSON
   * @returns the reply's text: QMP's as JSON, HMP's as printed
   */
  async qemuMonitorCommand(command: string, flags = 0): Promise<string> {
    checkFlags(flags, MonitorCommandFlags, 'qemuDomainQemuMonitorCommand');
    const { machine } = this.#record.requireRunning();
    return machine.monitorCommand(command, (flags & MonitorCommandFlags.HMP) !== 0);
  }
}

function gone(record: DomainRecord): VirtError {
  return new VirtError(ErrorCode.NO_DOMAIN, `no domain with matching uuid '${record.uuid}' (${record.name})`);
}
