/** Limits on disks that are taken and not kept, or kept where nobody asked. */
import { brokenDomain, type Canary } from '../canary.ts';
import { answerCommand } from '../mutations.ts';
import { breakOf } from '../rows.ts';

/** Canaries of `api/iotune-*`. */
export const iotuneCanaries: readonly Canary[] = [
  {
    id: 'iotune-not-in-force',
    contract: 'api/iotune-in-force',
    title: 'QEMU takes limits and does nothing about them',
    wire: () => answerCommand('block_set_io_throttle', () => ({})),
  },
  {
    id: 'iotune-not-told',
    contract: 'api/iotune-in-force',
    ...breakOf({ kind: 'event', name: 'TUNABLE' }),
  },
  brokenDomain('iotune-told-by-target', 'iotune-in-force', 'Disks cannot be called by path', (domain) => ({
    setBlockIoTune: (disk, params, flags) =>
      domain.setBlockIoTune(disk.startsWith('/') ? 'vda' : disk, params, flags),
  })),
  brokenDomain('iotune-forgets-the-rest', 'iotune-families', 'What is not set is cleared', (domain) => ({
    setBlockIoTune: (disk, params, flags) =>
      domain.setBlockIoTune(disk, { total_bytes_sec: 0, total_iops_sec: 0, ...params }, flags),
  })),
  brokenDomain('iotune-without-groups', 'iotune-groups', 'Groups are ignored', (domain) => ({
    setBlockIoTune: (disk, { group_name: _, ...params }, flags) => domain.setBlockIoTune(disk, params, flags),
  })),
  brokenDomain('iotune-always-live', 'iotune-definitions', 'CONFIG is ignored', (domain) => ({
    setBlockIoTune: (disk, params, flags = 0) => domain.setBlockIoTune(disk, params, flags & ~0x2),
  })),
  brokenDomain(
    'iotune-lost-in-a-pivot',
    'iotune-outlives-pivot',
    'A pivot takes the limits away',
    (domain) => ({
      async blockJobAbort(disk, flags) {
        await domain.blockJobAbort(disk, flags);
        await domain.setBlockIoTune(disk, { total_bytes_sec: 0 });
      },
    }),
  ),
];
