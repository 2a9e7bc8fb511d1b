/** Backends that lose saved states, or news of the lives of their domains. */
import {
  type Connection,
  DomainSaveRestoreFlags,
  SnapshotCreateFlags,
  SnapshotDeleteFlags,
} from '../../src/index.ts';
import { brokenDomain, type Canary, overlay } from '../canary.ts';
import { dropEvent } from '../stream-mutations.ts';

const restoring = (
  id: string,
  contract: string,
  title: string,
  restore: (connection: Connection) => Connection['restore'],
): Canary => ({
  id,
  contract: `api/${contract}`,
  title,
  api: (connection) => overlay(connection, { restore: restore(connection) }),
});

const untold = (contract: string, event: string): Canary => ({
  id: `${contract}-untold`,
  contract: `api/${contract}`,
  title: `QEMU does not tell ${event}`,
  wire: () => dropEvent(event),
});

/** Canaries for saved states and for the events of a life. */
export const savingCanaries: readonly Canary[] = [
  brokenDomain(
    'save-does-nothing',
    'save-and-restore',
    'A save says that it is done and does nothing',
    () => ({
      save: async () => undefined,
    }),
  ),
  restoring(
    'restore-stays-paused',
    'save-and-restore',
    'A restored domain stays paused',
    (connection) => (path) => connection.restore(path, DomainSaveRestoreFlags.PAUSED),
  ),
  restoring(
    'restore-always-runs',
    'save-of-paused',
    'A restored domain always runs',
    (connection) => (path) => connection.restore(path, DomainSaveRestoreFlags.RUNNING),
  ),
  brokenDomain(
    'managed-save-does-nothing',
    'managed-save',
    'A managed save says that it is done, and is not',
    () => ({
      managedSave: async () => undefined,
    }),
  ),
  brokenDomain(
    'managed-save-unguarded',
    'managed-save',
    'A domain is undefined with its managed save',
    (domain) => ({
      undefine: () => domain.undefine(0x1),
    }),
  ),
  restoring(
    'restore-of-nothing-accepted',
    'restore-of-missing-file',
    'A restore from nothing is accepted',
    (connection) => () => connection.lookupByName('lab'),
  ),
  brokenDomain(
    'crash-called-shutdown',
    'hypervisor-dies',
    'A killed hypervisor counts as shut down',
    (domain) => ({
      async getState() {
        const { state, reason } = await domain.getState();
        return { state, reason: state === 5 ? 1 : reason };
      },
    }),
  ),
  brokenDomain(
    'snapshot-without-stop',
    'internal-snapshot',
    'A snapshot keeps the disks alone',
    (domain) => ({
      snapshotCreateXML: (xml, flags = 0) =>
        domain.snapshotCreateXML(xml, flags | SnapshotCreateFlags.DISK_ONLY),
    }),
  ),
  brokenDomain('revert-does-nothing', 'internal-snapshot-revert', 'A revert does nothing', () => ({
    revertToSnapshot: async () => undefined,
  })),
  brokenDomain('deletion-forgets-only', 'internal-snapshot-deleted', 'A deletion only forgets', (domain) => ({
    async snapshotCreateXML(xml, flags) {
      const snapshot = await domain.snapshotCreateXML(xml, flags);
      return overlay(snapshot, { delete: () => snapshot.delete(SnapshotDeleteFlags.METADATA_ONLY) });
    },
  })),
  brokenDomain('redefinition-takes-one', 'snapshot-redefined', 'REDEFINE takes a new snapshot', (domain) => ({
    snapshotCreateXML: (xml, flags = 0) => domain.snapshotCreateXML(xml, flags & ~0x3),
  })),
  untold('io-error-pauses', 'BLOCK_IO_ERROR'),
  untold('io-error-reported', 'BLOCK_IO_ERROR'),
  untold('guest-shuts-down', 'SHUTDOWN'),
  untold('disk-goes-at-reset', 'DEVICE_DELETED'),
];
