/** A checkpoint as users hold it. */
import { type Access, requireFullAccess, requirePlainXml } from './access.ts';
import { checkpointDelete, checkpointNames, checkpointXml, requireCheckpoint } from './calls/checkpoints.ts';
import { checkFlags } from './calls/checks.ts';
import { ErrorCode, ErrorDomain, VirtError } from './errors.ts';
import { CheckpointXMLFlags } from './flags.ts';
import type { DomainRecord } from './record.ts';

/**
 * A handle to a checkpoint (libvirt: virDomainCheckpointPtr): a moment since which the changes of some disks are recorded.
 * It names one, which may be gone by the time it is used.
 */
export class DomainCheckpoint {
  readonly #record: DomainRecord;
  readonly #access: Access;
  readonly name: string;

  /** Checkpoints come from a Domain; this is not for users. */
  constructor(record: DomainRecord, name: string, access: Access) {
    this.#record = record;
    this.#access = access;
    this.name = name;
  }

  /**
   * virDomainCheckpointGetXMLDesc.
   * @param flags CheckpointXMLFlags: NO_DOMAIN, SIZE for how much has changed since, of a domain that runs
   * @throws VirtError NO_DOMAIN_CHECKPOINT
   */
  async getXMLDesc(flags = 0): Promise<string> {
    const { SECURE } = CheckpointXMLFlags;
    const part = ErrorDomain.DOMAIN_CHECKPOINT;
    requirePlainXml(this.#access, flags, SECURE, 'virDomainCheckpointGetXMLDesc', part);
    return checkpointXml(this.#record, this.name, flags);
  }

  /** virDomainCheckpointGetParent. @throws VirtError NO_DOMAIN_CHECKPOINT if there is none */
  async getParent(flags = 0): Promise<DomainCheckpoint> {
    checkFlags(flags, {}, 'qemuDomainCheckpointGetParent');
    const { parent } = requireCheckpoint(this.#record, this.name);
    if (parent) return new DomainCheckpoint(this.#record, parent.definition.name, this.#access);
    const detail = `checkpoint '${this.name}' does not have a parent`;
    throw new VirtError(ErrorCode.NO_DOMAIN_CHECKPOINT, detail);
  }

  /** virDomainCheckpointListAllChildren. @param flags CheckpointListFlags: DESCENDANTS for children's children too */
  async listAllChildren(flags = 0): Promise<DomainCheckpoint[]> {
    const driverFunction = 'qemuDomainCheckpointListAllChildren';
    const names = checkpointNames(this.#record, flags, driverFunction, this.name);
    return names.map((name) => new DomainCheckpoint(this.#record, name, this.#access));
  }

  /**
   * Stops recording for it and forgets it (virDomainCheckpointDelete).
   * @param flags CheckpointDeleteFlags: METADATA_ONLY only forgets it
   * @throws VirtError OPERATION_UNSUPPORTED for a domain that is shut off
   */
  async delete(flags = 0): Promise<void> {
    requireFullAccess(this.#access, 'virDomainCheckpointDelete', ErrorDomain.DOMAIN_CHECKPOINT);
    await checkpointDelete(this.#record, this.name, flags);
  }
}
