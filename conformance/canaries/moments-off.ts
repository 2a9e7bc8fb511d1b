/** Snapshots that are taken, merged or gone back to, and are not. */
import type { Domain, DomainSnapshot } from '../../src/index.ts';
import { brokenDomain, type Canary, overlay } from '../canary.ts';

/** A domain whose snapshots have one call replaced. */
function withSnapshots(
  domain: Domain,
  replace: (snapshot: DomainSnapshot) => Partial<DomainSnapshot>,
): Partial<Domain> {
  const wrap = (snapshot: DomainSnapshot) => overlay(snapshot, replace(snapshot));
  return {
    snapshotCreateXML: async (xml, flags) => wrap(await domain.snapshotCreateXML(xml, flags)),
    snapshotCurrent: async () => wrap(await domain.snapshotCurrent()),
    snapshotLookupByName: async (name) => wrap(await domain.snapshotLookupByName(name)),
  };
}

/** Canaries of `api/snapshot-off*`, `api/snapshot-memory*` and what goes with them. */
export const offMomentCanaries: readonly Canary[] = [
  brokenDomain('revert-off-does-nothing', 'snapshot-off', 'Images stay as they are', () => ({
    revertToSnapshot: async () => undefined,
  })),
  brokenDomain('revert-off-never-starts', 'snapshot-off-started', 'RUNNING is ignored', (domain) => ({
    revertToSnapshot: (snapshot, flags = 0) => domain.revertToSnapshot(snapshot, flags & ~0x1),
  })),
  brokenDomain('revert-off-never-paused', 'snapshot-off-started', 'PAUSED is ignored', (domain) => ({
    revertToSnapshot: (snapshot, flags = 0) => domain.revertToSnapshot(snapshot, flags & ~0x2),
  })),
  brokenDomain('delete-off-forgets-only', 'snapshot-off-deleted', 'Images keep their snapshots', (domain) =>
    withSnapshots(domain, (snapshot) => ({ delete: (flags = 0) => snapshot.delete(flags | 0x2) })),
  ),
  brokenDomain('merge-off-forgets-only', 'snapshot-off-merged', 'Overlays are left', (domain) =>
    withSnapshots(domain, (snapshot) => ({ delete: (flags = 0) => snapshot.delete(flags | 0x2) })),
  ),
  brokenDomain('mixed-parents-merged', 'snapshot-mixed-parents', 'Whatever is asked is done', (domain) =>
    withSnapshots(domain, () => ({ delete: async () => undefined })),
  ),
  brokenDomain('memory-file-forgotten', 'snapshot-memory-file', 'Memory is not kept', (domain) => ({
    snapshotCreateXML: (xml, flags = 0) =>
      domain.snapshotCreateXML(xml.replace(/<memory[^>]*>/, ''), (flags & ~0x100) | 0x10),
  })),
  brokenDomain(
    'memory-file-live-ignored',
    'snapshot-memory-file-refused',
    'Memory is kept nowhere',
    (domain) => ({
      snapshotCreateXML: (xml, flags = 0) =>
        domain.snapshotCreateXML(xml.replace(/<memory[^>]*>/, ''), flags | 0x10),
    }),
  ),
  brokenDomain(
    'inactive-domain-forgotten',
    'snapshot-inactive-domain',
    'The definition is not kept',
    (domain) =>
      withSnapshots(domain, (snapshot) => ({
        getXMLDesc: async () =>
          (await snapshot.getXMLDesc()).replace(/<inactiveDomain .*<\/inactiveDomain>/s, ''),
      })),
  ),
];
