/** Rows of resize and threshold. */
import { BlockResizeFlags } from '../../../../src/index.ts';
import { startJob } from '../lab.ts';
import { INTERNAL, INVALID, OVERFLOW, qemuRefuses, type Row, STATE, UNSUPPORTED } from './row.ts';

export const SIZES: readonly Row[] = [
  {
    api: 'resize',
    when: 'flags',
    call: ({ domain }) => domain.blockResize('vda', 1, 2),
    gives: [8, 10, 'unsupported flags (0x2) in function qemuDomainBlockResize'],
  },
  {
    api: 'resize',
    when: 'unknown disk',
    call: ({ domain }) => domain.blockResize('vdz', 1),
    gives: [8, 10, `${INVALID}disk 'vdz' was not found in the domain config`],
  },
  {
    api: 'resize',
    when: 'a path that two disks share',
    given: async () => undefined,
    call: ({ domain }) => domain.blockResize('/nope', 1),
    gives: [8, 10, `${INVALID}disk '/nope' was not found in the domain config`],
  },
  {
    api: 'resize',
    when: 'KiB overflow comes before the domain',
    given: ({ domain }) => domain.destroy(),
    call: ({ domain }) => domain.blockResize('vdz', 18014398509481984n),
    gives: [82, 10, `${OVERFLOW}size must be less than 18014398509481983`],
  },
  {
    api: 'resize',
    when: 'empty',
    call: ({ domain }) => domain.blockResize('hdc', 1),
    gives: [84, 10, `${UNSUPPORTED}can't resize empty or readonly disk 'hdc'`],
  },
  {
    api: 'resize',
    when: 'read-only',
    call: ({ domain }) => domain.blockResize('vdr', 1),
    gives: [84, 10, `${UNSUPPORTED}can't resize empty or readonly disk 'vdr'`],
  },
  {
    api: 'resize',
    when: 'not running',
    persistent: true,
    given: ({ domain }) => domain.destroy(),
    call: ({ domain }) => domain.blockResize('vda', 1),
    gives: [55, 20, `${STATE}domain is not running`],
  },
  {
    api: 'resize',
    when: 'active job on the disk',
    given: async (lab) => {
      await startJob(lab, 'copy');
      qemuRefuses(lab, 'resizeDisk', 'block_resize', "Device '(null)' is in use");
    },
    call: ({ domain }) => domain.blockResize('vda', 1),
    gives: [1, 10, `${INTERNAL}unable to execute QEMU command 'block_resize': Device '(null)' is in use`],
  },
  {
    api: 'resize',
    when: 'the rounding would wrap (libvirt lets it)',
    call: ({ domain }) => domain.blockResize('vda', 2n ** 64n - 1n, BlockResizeFlags.BYTES),
    gives: [82, 10, `${OVERFLOW}size must be less than 18446744073709551104`],
  },
  {
    api: 'threshold',
    when: 'flags',
    call: ({ domain }) => domain.setBlockThreshold('vda', 1, 1),
    gives: [8, 10, 'unsupported flags (0x1) in function qemuDomainSetBlockThreshold'],
  },
  ...(['vdz', '/path', 'vda[77]', ''] as const).map(
    (device): Row => ({
      api: 'threshold',
      when: `'${device}'`,
      call: ({ domain }) => domain.setBlockThreshold(device, 1),
      gives: [8, 10, `${INVALID}failed to find disk '${device}'`],
    }),
  ),
  ...(['vda[]', 'vda[x]', 'vda[1'] as const).map(
    (device): Row => ({
      api: 'threshold',
      when: `'${device}'`,
      call: ({ domain }) => domain.setBlockThreshold(device, 1),
      gives: [8, 10, `${INVALID}failed to parse block device '${device}'`],
    }),
  ),
  {
    api: 'threshold',
    when: 'empty drive',
    call: ({ domain }) => domain.setBlockThreshold('hdc', 1),
    gives: [1, 0, `${INTERNAL}argument key 'node-name' must not have null value`],
  },
];
