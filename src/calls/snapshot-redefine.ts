/** virDomainSnapshotCreateXML with VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE: a snapshot that exists is told of. */
import { domainFromXml } from '../conf/domain.ts';
import { toldSnapshotFromXml } from '../conf/snapshot.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { SnapshotCreateFlags } from '../flags.ts';
import type { DomainRecord } from '../record.ts';
import { parentOf } from './moment-parent.ts';

const invalid = (domain: ErrorDomain, detail: string): VirtError =>
  new VirtError(ErrorCode.INVALID_ARG, detail, { domain });

/**
 * Keeps a snapshot as its XML says it is; nothing is done to any image.
 * @returns its name
 * @throws VirtError in libvirt's order: its XML, its domain, its state, its parent
 */
export function snapshotRedefine(record: DomainRecord, xml: string, flags: number): string {
  const told = toldSnapshotFromXml(xml);
  const { name, state, domainXml } = told.definition;
  const { uuid } = domainFromXml(domainXml);
  if (uuid !== record.uuid) {
    throw invalid(
      ErrorDomain.DOMAIN_SNAPSHOT,
      `definition for snapshot ${name} must use uuid ${record.uuid}`,
    );
  }
  if ((flags & SnapshotCreateFlags.DISK_ONLY) !== 0 && state !== 'disk-snapshot') {
    throw invalid(
      ErrorDomain.DOMAIN_SNAPSHOT,
      `disk-only flag for snapshot ${name} requires disk-snapshot state`,
    );
  }
  const entry = record.snapshots.put(
    told.definition,
    parentOf(record.snapshots, told.definition.name, told.parent),
  );
  if ((flags & SnapshotCreateFlags.CURRENT) !== 0) record.snapshots.makeCurrent(entry);
  record.journal();
  return name;
}
