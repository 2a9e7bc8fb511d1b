/** A snapshot as users hold it. */
import { type Access, requireFullAccess, requirePlainXml } from './access.ts';
import { checkFlags } from './calls/checks.ts';
import { requireSnapshot, snapshotDelete } from './calls/snapshot-delete.ts';
import { snapshotToXml } from './conf/snapshot.ts';
import { ErrorCode, ErrorDomain, VirtError } from './errors.ts';
import { DomainXMLFlags } from './flags.ts';
import type { DomainRecord } from './record.ts';

/** A handle to a snapshot (libvirt: virDomainSnapshotPtr); it names one, which may be gone by the time it is used. */
export class DomainSnapshot {
  readonly #record: DomainRecord;
  readonly #access: Access;
  readonly name: string;

  /** Snapshots come from a Domain; this is not for users. */
  constructor(record: DomainRecord, name: string, access: Access) {
    this.#record = record;
    this.#access = access;
    this.name = name;
  }

  /** virDomainSnapshotGetXMLDesc. @throws VirtError NO_DOMAIN_SNAPSHOT */
  async getXMLDesc(flags = 0): Promise<string> {
    const { SECURE } = DomainXMLFlags;
    requirePlainXml(this.#access, flags, SECURE, 'virDomainSnapshotGetXMLDesc', ErrorDomain.DOMAIN_SNAPSHOT);
    checkFlags(flags, { SECURE }, 'qemuDomainSnapshotGetXMLDesc');
    const { definition, parent } = requireSnapshot(this.#record, this.name);
    return snapshotToXml(definition, parent?.definition.name);
  }

  /** virDomainSnapshotGetParent. @throws VirtError NO_DOMAIN_SNAPSHOT if there is none */
  async getParent(flags = 0): Promise<DomainSnapshot> {
    checkFlags(flags, {}, 'qemuDomainSnapshotGetParent');
    const { parent } = requireSnapshot(this.#record, this.name);
    if (parent) return new DomainSnapshot(this.#record, parent.definition.name, this.#access);
    throw new VirtError(ErrorCode.NO_DOMAIN_SNAPSHOT, `snapshot '${this.name}' does not have a parent`);
  }

  /** virDomainSnapshotListAllChildren. */
  async listAllChildren(): Promise<DomainSnapshot[]> {
    const children = this.#record.snapshots.childrenOf(requireSnapshot(this.#record, this.name));
    return children.map(({ definition }) => new DomainSnapshot(this.#record, definition.name, this.#access));
  }

  /** virDomainSnapshotIsCurrent. */
  async isCurrent(): Promise<boolean> {
    return this.#record.snapshots.current === requireSnapshot(this.#record, this.name);
  }

  /** virDomainSnapshotHasMetadata: what has none is not found. */
  async hasMetadata(): Promise<boolean> {
    requireSnapshot(this.#record, this.name);
    return true;
  }

  /**
   * Merges the snapshot's overlays into what is below them and forgets the snapshot (virDomainSnapshotDelete).
   * @param flags SnapshotDeleteFlags: METADATA_ONLY only forgets it
   * @throws VirtError CONFIG_UNSUPPORTED for children of external snapshots, OPERATION_UNSUPPORTED beside a block job
   */
  async delete(flags = 0): Promise<void> {
    requireFullAccess(this.#access, 'virDomainSnapshotDelete', ErrorDomain.DOMAIN_SNAPSHOT);
    await snapshotDelete(this.#record, this.name, flags);
  }
}
