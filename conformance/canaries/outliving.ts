/** Backends that forget with their management process. */
import { type Canary, withDomains } from '../canary.ts';
import { doubleEvent } from '../stream-mutations.ts';

/** Canaries for what outlives a connection. */
export const outlivingCanaries: readonly Canary[] = [
  {
    id: 'outliving-threshold-told-twice',
    contract: 'api/outlives/threshold',
    title: 'A threshold is armed as vda where vda[N] was asked for',
    api: (connection) =>
      withDomains(connection, (domain) => ({
        setBlockThreshold: (device, bytes) => domain.setBlockThreshold(device.replace(/\[.*/, ''), bytes),
      })),
  },
  {
    id: 'outliving-threshold-doubled',
    contract: 'api/outlives/threshold',
    title: 'QEMU tells of a write beyond the threshold twice',
    wire: () => doubleEvent('BLOCK_WRITE_THRESHOLD'),
  },
  {
    id: 'outliving-snapshot-without-metadata',
    contract: 'api/outlives/snapshots',
    title: 'Snapshots are listed as if there were none',
    api: (connection) => withDomains(connection, () => ({ listAllSnapshots: async () => [] })),
  },
];
