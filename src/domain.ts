/** A domain as users hold it: lifecycle and the block-job family of libvirt. */
import { type Access, requireFullAccess, requirePlainXml } from './access.ts';
import { blockCommit } from './calls/block-commit.ts';
import { type BlockCopyParams, blockCopy } from './calls/block-copy.ts';
import {
  type BlockIoTune,
  type BlockIoTuneParams,
  getBlockIoTune,
  setBlockIoTune,
} from './calls/block-iotune.ts';
import { type BlockJobInfo, blockJobAbort, blockJobSetSpeed, getBlockJobInfo } from './calls/block-job.ts';
import { blockPull } from './calls/block-pull.ts';
import { blockRebase } from './calls/block-rebase.ts';
import { blockResize } from './calls/block-resize.ts';
import { setBlockThreshold } from './calls/block-threshold.ts';
import { checkpointCreate, checkpointNames, checkXmlGiven, requireCheckpoint } from './calls/checkpoints.ts';
import { checkFlags, noSupport } from './calls/checks.ts';
import { createDomain, setAutostart, undefineDomain } from './calls/define.ts';
import { changeDevice } from './calls/devices.ts';
import { backupBegin, coreDump, migrate, rename } from './calls/refused.ts';
import { hasManagedSave, managedSave, removeManagedSave, save } from './calls/save.ts';
import { snapshotCreate } from './calls/snapshot-create.ts';
import { requireSnapshot, snapshotNames, snapshotRevert } from './calls/snapshot-delete.ts';
import { DomainCheckpoint } from './domain-checkpoint.ts';
import { DomainSnapshot } from './domain-snapshot.ts';
import { ErrorCode, ErrorDomain, VirtError } from './errors.ts';
import {
  DomainDestroyFlags,
  DomainRebootFlags,
  DomainShutdownFlags,
  DomainXMLFlags,
  MonitorCommandFlags,
} from './flags.ts';
import { destroyDomain, resumeDomain, stateOf, suspendDomain } from './lifecycle.ts';
import type { DomainRecord } from './record.ts';
import type { StateAndReason } from './running.ts';

/**
 * A handle to a domain (libvirt: virDomainPtr). Every call rejects with a VirtError; on a domain that is shut off
 * most give OPERATION_INVALID `domain is not running`.
 */
export class Domain {
  readonly #record: DomainRecord;
  readonly #access: Access;
  #reader: Domain | undefined;
  readonly name: string;
  readonly uuid: string;

  /** Domains come from a Connection; this is not for users. */
  constructor(record: DomainRecord, access: Access = 'full') {
    this.#record = record;
    this.#access = access;
    this.name = record.name;
    this.uuid = record.uuid;
  }

  /** The same domain for those who may only look: every call that changes anything is refused OPERATION_DENIED. */
  readOnly(): Domain {
    if (this.#access === 'read-only') return this;
    this.#reader ??= new Domain(this.#record, 'read-only');
    return this.#reader;
  }

  #changes(publicFunction: string, part?: ErrorDomain): void {
    requireFullAccess(this.#access, publicFunction, part);
  }

  #snapshot(name: string): DomainSnapshot {
    return new DomainSnapshot(this.#record, name, this.#access);
  }

  #checkpoint(name: string): DomainCheckpoint {
    return new DomainCheckpoint(this.#record, name, this.#access);
  }

  /**
   * Starts a defined domain (virDomainCreateWithFlags); goes on from its managed save if it has one.
   * @param flags DomainCreateFlags: START_PAUSED, START_FORCE_BOOT to throw the managed save away
   * @throws VirtError OPERATION_INVALID if it runs, SYSTEM_ERROR for a missing image or emulator
   */
  async create(flags = 0): Promise<void> {
    this.#changes('virDomainCreateWithFlags');
    await createDomain(this.#record, flags);
  }

  /** Ends the domain at once (virDomainDestroyFlags); its block jobs end with it, without an event of theirs. */
  async destroy(flags = 0): Promise<void> {
    this.#changes('virDomainDestroyFlags');
    checkFlags(flags, DomainDestroyFlags, 'qemuDomainDestroyFlags');
    await destroyDomain(this.#record);
  }

  /** Asks the guest to power down (virDomainShutdownFlags). */
  async shutdown(flags = 0): Promise<void> {
    this.#changes('virDomainShutdownFlags');
    checkFlags(flags, DomainShutdownFlags, 'qemuDomainShutdownFlags');
    await this.#record.locked('DomainShutdown', async () => {
      const { machine } = this.#record.requireRunning(ErrorDomain.QEMU);
      this.#record.guard('shutdown');
      await machine.powerdown();
    });
  }

  /** Asks the guest to start again by powering down (virDomainReboot); the machine is reset when it has. */
  async reboot(flags = 0): Promise<void> {
    this.#changes('virDomainReboot');
    checkFlags(flags, DomainRebootFlags, 'qemuDomainReboot');
    await this.#record.locked('DomainReboot', async () => {
      const { machine } = this.#record.requireRunning();
      if (!machine.reboot) throw noSupport('virDomainReboot');
      await machine.reboot();
    });
  }

  /** Resets the machine as its button would (virDomainReset); block jobs go on. */
  async reset(flags = 0): Promise<void> {
    this.#changes('virDomainReset');
    checkFlags(flags, {}, 'qemuDomainReset');
    await this.#record.locked('DomainReset', async () => {
      const { machine } = this.#record.requireRunning();
      this.#record.guard('reset');
      if (!machine.reset) throw noSupport('virDomainReset');
      await machine.reset();
    });
  }

  /** Pauses the guest's CPUs (virDomainSuspend); block jobs go on. */
  async suspend(): Promise<void> {
    this.#changes('virDomainSuspend');
    await this.#record.locked('DomainSuspend', () => suspendDomain(this.#record));
  }

  /** Lets the guest's CPUs run (virDomainResume). */
  async resume(): Promise<void> {
    this.#changes('virDomainResume');
    await this.#record.locked('DomainResume', () => resumeDomain(this.#record));
  }

  /**
   * Removes the persistent definition (virDomainUndefineFlags); a running domain becomes transient.
   * @param flags DomainUndefineFlags: MANAGED_SAVE, SNAPSHOTS_METADATA
   * @throws VirtError OPERATION_INVALID for a transient domain, one with a managed save, or a shut-off one with snapshots
   */
  async undefine(flags = 0): Promise<void> {
    this.#changes('virDomainUndefineFlags');
    await undefineDomain(this.#record, flags);
  }

  /**
   * Writes the guest's state to a file and ends the domain (virDomainSaveFlags); Connection.restore goes on with it.
   * @param path absolute
   * @param flags DomainSaveRestoreFlags: whether the guest will run or be paused when it is restored
   * @throws VirtError OPERATION_INVALID during a block job; the guest goes on if it could not be saved
   */
  async save(path: string, flags = 0): Promise<void> {
    this.#changes('virDomainSaveFlags');
    await save(this.#record, path, flags);
  }

  /** As save, into a file of the connection's own, from which create goes on (virDomainManagedSave). */
  async managedSave(flags = 0): Promise<void> {
    this.#changes('virDomainManagedSave');
    await managedSave(this.#record, flags);
  }

  /** virDomainHasManagedSaveImage. */
  async hasManagedSaveImage(flags = 0): Promise<boolean> {
    checkFlags(flags, {}, 'qemuDomainHasManagedSaveImage');
    this.#record.requireKnown();
    return hasManagedSave(this.#record);
  }

  /** virDomainManagedSaveRemove. @throws VirtError SYSTEM_ERROR if there is none */
  async managedSaveRemove(flags = 0): Promise<void> {
    this.#changes('virDomainManagedSaveRemove');
    checkFlags(flags, {}, 'qemuDomainManagedSaveRemove');
    this.#record.requireKnown();
    await removeManagedSave(this.#record);
  }

  /** virDomainGetID; -1 while it is shut off. */
  getID(): number {
    return this.#record.running?.id ?? -1;
  }

  /** virDomainIsActive. */
  isActive(): boolean {
    return this.#record.running !== undefined;
  }

  /** virDomainIsPersistent. */
  isPersistent(): boolean {
    return this.#record.persistent !== undefined;
  }

  /** virDomainGetAutostart: whether it is to be started with its host. */
  async getAutostart(): Promise<boolean> {
    this.#record.requireKnown();
    return this.#record.autostart;
  }

  /**
   * Keeps whether a persistent domain is to be started with its host (virDomainSetAutostart). Here it is kept and told;
   * nothing is started by it, as in a libvirt whose host has started already.
   * @throws VirtError OPERATION_INVALID for a transient domain
   */
  async setAutostart(autostart: boolean): Promise<void> {
    this.#changes('virDomainSetAutostart');
    await setAutostart(this.#record, autostart);
  }

  /** virDomainGetState. */
  async getState(flags = 0): Promise<StateAndReason> {
    checkFlags(flags, {}, 'qemuDomainGetState');
    this.#record.requireKnown();
    return stateOf(this.#record);
  }

  /**
   * The domain's XML (virDomainGetXMLDesc): live with indexes and mirrors while it runs, else as defined.
   * @param flags DomainXMLFlags: INACTIVE for what the next start will use
   */
  async getXMLDesc(flags = 0): Promise<string> {
    const { SECURE, MIGRATABLE } = DomainXMLFlags;
    requirePlainXml(this.#access, flags, SECURE | MIGRATABLE, 'virDomainGetXMLDesc');
    checkFlags(flags, DomainXMLFlags, 'qemuDomainGetXMLDesc');
    this.#record.requireKnown();
    return this.#record.toXml((flags & DomainXMLFlags.INACTIVE) !== 0);
  }

  /**
   * Copies the backing chain's data into the active image and drops the chain (virDomainBlockPull, QAPI block-stream).
   * @param disk target (`vda`) or path of the active image
   * @param bandwidth MiB/s, with BlockPullFlags.BANDWIDTH_BYTES bytes/s; 0: unlimited
   * @throws VirtError INVALID_ARG, OVERFLOW, BLOCK_COPY_ACTIVE or OPERATION_UNSUPPORTED while another job has the disk
   */
  async blockPull(disk: string, bandwidth: number | bigint = 0, flags = 0): Promise<void> {
    this.#changes('virDomainBlockPull');
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
    this.#changes('virDomainBlockRebase');
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
    this.#changes('virDomainBlockCommit');
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
    this.#changes('virDomainBlockCopy');
    await blockCopy(this.#record, disk, destinationXml, params, flags);
  }

  /**
   * Ends a job (virDomainBlockJobAbort): cancels it, or with BlockJobAbortFlags.PIVOT switches the disk to what a
   * ready copy or active commit has made. Waits for the end unless ASYNC is given.
   * @throws VirtError INVALID_ARG without a job, BLOCK_COPY_ACTIVE when a pivot comes too early, OPERATION_INVALID
   * while it is being ended, OPERATION_FAILED when the pivot failed (the disk stays on its source then)
   */
  async blockJobAbort(disk: string, flags = 0): Promise<void> {
    this.#changes('virDomainBlockJobAbort');
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
    this.#changes('virDomainBlockJobSetSpeed');
    await blockJobSetSpeed(this.#record, disk, bandwidth, flags);
  }

  /**
   * Changes a disk's capacity (virDomainBlockResize); qcow2 and qed sizes are rounded up to 512 bytes.
   * @param disk target, or path of an active image that only one disk has
   * @param size KiB, with BlockResizeFlags.BYTES bytes
   * @throws VirtError OVERFLOW, OPERATION_UNSUPPORTED for an empty or read-only drive
   */
  async blockResize(disk: string, size: number | bigint, flags = 0): Promise<void> {
    this.#changes('virDomainBlockResize');
    await blockResize(this.#record, disk, size, flags);
  }

  /**
   * Asks for one BLOCK_THRESHOLD event when a write goes beyond an offset of the image file
   * (virDomainSetBlockThreshold).
   * @param device `vda`, which gives two events, or `vda[N]`
   * @param threshold bytes; 0 asks no longer
   */
  async setBlockThreshold(device: string, threshold: number | bigint, flags = 0): Promise<void> {
    this.#changes('virDomainSetBlockThreshold');
    await setBlockThreshold(this.#record, device, threshold, flags);
  }

  /**
   * Limits how fast a disk may be (virDomainSetBlockIoTune); a TUNABLE event tells of it.
   * @param disk target, or path of the active image
   * @param params per second, 0 for no limit; of bytes, of requests, and of each's bursts the whole or the two directions
   * are set together, and what no parameter is about stays as it was
   * @param flags DomainModificationImpact: LIVE, CONFIG, or 0 for what the domain is now
   * @throws VirtError ARGUMENT_UNSUPPORTED, INVALID_ARG, CONFIG_UNSUPPORTED for limits that contradict each other
   */
  async setBlockIoTune(disk: string, params: BlockIoTuneParams, flags = 0): Promise<void> {
    this.#changes('virDomainSetBlockIoTune');
    await setBlockIoTune(this.#record, disk, params, flags);
  }

  /** All limits of a disk (virDomainGetBlockIoTune). @param flags DomainModificationImpact: one of LIVE, CONFIG, or 0 */
  async getBlockIoTune(disk: string, flags = 0): Promise<BlockIoTune> {
    return getBlockIoTune(this.#record, disk, flags);
  }

  /**
   * Plugs a disk in (virDomainAttachDeviceFlags).
   * @param xml a `<disk>`; of a cdrom drive that is there it changes the medium
   * @param flags DeviceModifyFlags: LIVE, CONFIG, or 0 for what the domain is now
   */
  async attachDeviceFlags(xml: string, flags = 0): Promise<void> {
    this.#changes('virDomainAttachDeviceFlags');
    await changeDevice(this.#record, 'attach', xml, flags);
  }

  /**
   * Unplugs a disk, found by its target (virDomainDetachDeviceFlags). Returns after 5 s even if the guest has not let go
   * of it; DEVICE_REMOVED tells when it has.
   */
  async detachDeviceFlags(xml: string, flags = 0): Promise<void> {
    this.#changes('virDomainDetachDeviceFlags');
    await changeDevice(this.#record, 'detach', xml, flags);
  }

  /** Puts another medium into a cdrom drive, or none (virDomainUpdateDeviceFlags). FORCE: even if the guest locks it. */
  async updateDeviceFlags(xml: string, flags = 0): Promise<void> {
    this.#changes('virDomainUpdateDeviceFlags');
    await changeDevice(this.#record, 'update', xml, flags);
  }

  /**
   * Takes a disk-only snapshot: a new image on top of each disk that is not left out (virDomainSnapshotCreateXML).
   * @param xml a `<domainsnapshot>`
   * @param flags SnapshotCreateFlags; DISK_ONLY is needed, NO_METADATA keeps no record, REUSE_EXT uses existing overlays
   */
  async snapshotCreateXML(xml: string, flags = 0): Promise<DomainSnapshot> {
    this.#changes('virDomainSnapshotCreateXML', ErrorDomain.DOMAIN_SNAPSHOT);
    return this.#snapshot(await snapshotCreate(this.#record, xml, flags));
  }

  /** virDomainListAllSnapshots. @param flags SnapshotListFlags */
  async listAllSnapshots(flags = 0): Promise<DomainSnapshot[]> {
    const names = snapshotNames(this.#record, flags, 'qemuDomainListAllSnapshots');
    return names.map((name) => this.#snapshot(name));
  }

  /** virDomainSnapshotNum. @param flags SnapshotListFlags */
  async snapshotNum(flags = 0): Promise<number> {
    return snapshotNames(this.#record, flags, 'qemuDomainSnapshotNum').length;
  }

  /** virDomainSnapshotLookupByName. @throws VirtError NO_DOMAIN_SNAPSHOT */
  async snapshotLookupByName(name: string, flags = 0): Promise<DomainSnapshot> {
    checkFlags(flags, {}, 'qemuDomainSnapshotLookupByName');
    this.#record.requireKnown();
    return this.#snapshot(requireSnapshot(this.#record, name).definition.name);
  }

  /** virDomainSnapshotCurrent. @throws VirtError NO_DOMAIN_SNAPSHOT */
  async snapshotCurrent(flags = 0): Promise<DomainSnapshot> {
    checkFlags(flags, {}, 'qemuDomainSnapshotCurrent');
    this.#record.requireKnown();
    const { current } = this.#record.snapshots;
    if (current) return this.#snapshot(current.definition.name);
    throw new VirtError(ErrorCode.NO_DOMAIN_SNAPSHOT, 'the domain does not have a current snapshot');
  }

  /** virDomainHasCurrentSnapshot. */
  async hasCurrentSnapshot(flags = 0): Promise<boolean> {
    checkFlags(flags, {}, 'qemuDomainHasCurrentSnapshot');
    this.#record.requireKnown();
    return this.#record.snapshots.current !== undefined;
  }

  /**
   * Begins to record what changes on some disks (virDomainCheckpointCreateXML): in a persistent dirty bitmap of each, with
   * the checkpoint's name.
   * @param xml a `<domaincheckpoint>`
   * @param flags CheckpointCreateFlags: REDEFINE for one that exists, REDEFINE_VALIDATE to look for its bitmaps then
   * @throws VirtError OPERATION_UNSUPPORTED for a domain that is shut off, CONFIG_UNSUPPORTED for an image that is not qcow2
   */
  async checkpointCreateXML(xml: string, flags = 0): Promise<DomainCheckpoint> {
    checkXmlGiven(xml);
    this.#changes('virDomainCheckpointCreateXML', ErrorDomain.DOMAIN_CHECKPOINT);
    return this.#checkpoint(await checkpointCreate(this.#record, xml, flags));
  }

  /** virDomainListAllCheckpoints, each behind the one that it came from. @param flags CheckpointListFlags */
  async listAllCheckpoints(flags = 0): Promise<DomainCheckpoint[]> {
    const names = checkpointNames(this.#record, flags, 'qemuDomainListAllCheckpoints');
    return names.map((name) => this.#checkpoint(name));
  }

  /** virDomainCheckpointLookupByName. @throws VirtError NO_DOMAIN_CHECKPOINT */
  async checkpointLookupByName(name: string, flags = 0): Promise<DomainCheckpoint> {
    checkFlags(flags, {}, 'qemuDomainCheckpointLookupByName');
    return this.#checkpoint(requireCheckpoint(this.#record, name).definition.name);
  }

  /** virDomainCoreDump: refused during a block job as in libvirt, else NO_SUPPORT. */
  async coreDump(_path: string, flags = 0): Promise<void> {
    this.#changes('virDomainCoreDump');
    await coreDump(this.#record, flags);
  }

  /** virDomainMigrateToURI: refused during a block job as in libvirt, else NO_SUPPORT. */
  async migrateToURI(_uri: string): Promise<void> {
    this.#changes('virDomainMigrateToURI');
    await migrate(this.#record);
  }

  /** virDomainBackupBegin: refused for disks with a block job as in libvirt, else NO_SUPPORT. */
  async backupBegin(): Promise<void> {
    this.#changes('virDomainBackupBegin');
    await backupBegin(this.#record);
  }

  /** virDomainRename: refused while the domain runs as in libvirt, else NO_SUPPORT. */
  async rename(_name: string): Promise<void> {
    this.#changes('virDomainRename');
    await rename(this.#record);
  }

  /** virDomainRevertToSnapshot: libvirt 9.0 refuses it for every snapshot that can be taken here. */
  async revertToSnapshot(snapshot: DomainSnapshot, flags = 0): Promise<void> {
    this.#changes('virDomainRevertToSnapshot', ErrorDomain.DOMAIN_SNAPSHOT);
    await snapshotRevert(this.#record, snapshot.name, flags);
  }

  /**
   * Sends a command to the hypervisor's monitor, past all bookkeeping (virDomainQemuMonitorCommand).
   * @param flags MonitorCommandFlags.HMP: `command` is a human monitor line, else one QMP object as JSON
   * @returns the reply's text: QMP's as JSON, HMP's as printed
   */
  async qemuMonitorCommand(command: string, flags = 0): Promise<string> {
    this.#changes('virDomainQemuMonitorCommand', ErrorDomain.NONE);
    checkFlags(flags, MonitorCommandFlags, 'qemuDomainQemuMonitorCommand');
    const { machine } = this.#record.requireRunning();
    return machine.monitorCommand(command, (flags & MonitorCommandFlags.HMP) !== 0);
  }
}
