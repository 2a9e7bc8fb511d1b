/** Rows of copy. */
import { BlockCopyFlags, ErrorCode, VirtError } from '../../../../src/index.ts';
import { COPY } from '../lab.ts';
import { BEYOND, CONFIG, copy, destination, INTERNAL, INVALID, type Row, STATE, UNSUPPORTED } from './row.ts';

export const COPIES: readonly Row[] = [
  {
    api: 'copy',
    when: 'flags',
    call: (lab) => copy(lab, COPY, 0x10),
    gives: [8, 10, 'unsupported flags (0x10) in function qemuDomainBlockCopy'],
  },
  {
    api: 'copy',
    when: 'unknown parameter',
    call: ({ domain }) => domain.blockCopy('vda', COPY, { foo: 1 } as object),
    gives: [74, 0, "argument unsupported: parameter 'foo' not supported"],
  },
  {
    api: 'copy',
    when: 'granularity',
    call: ({ domain }) => domain.blockCopy('vda', COPY, { granularity: 3 }),
    gives: [8, 10, `${INVALID}granularity must be power of 2`],
  },
  {
    api: 'copy',
    when: 'other root',
    call: (lab) => copy(lab, '<foo/>'),
    gives: [27, 5, "XML error: expecting root element of 'disk', not 'foo'"],
  },
  {
    api: 'copy',
    when: 'no source',
    call: (lab) => copy(lab, '<disk/>'),
    gives: [19, 20, 'missing source information for device'],
  },
  {
    api: 'copy',
    when: 'unknown type',
    call: (lab) => copy(lab, "<disk type='zz'><source file='/x'/></disk>"),
    gives: [27, 5, "XML error: Invalid value for attribute 'type' in element 'disk': 'zz'."],
  },
  {
    api: 'copy',
    when: 'unknown format',
    call: (lab) => copy(lab, destination('/x', { format: 'zz' })),
    gives: [67, 20, `${CONFIG}unknown driver format value 'zz'`],
  },
  {
    api: 'copy',
    when: 'destination path not absolute',
    call: (lab) => copy(lab, destination('x')),
    gives: [8, 10, `${INVALID}absolute path must be used as block copy target`],
  },
  {
    api: 'copy',
    when: 'bytes overflow',
    call: ({ domain }) => domain.blockCopy('vda', COPY, { bandwidth: BEYOND }),
    gives: [
      8,
      10,
      `${INVALID}bandwidth must be less than '9223372036854775807' bytes/s (8796093022207 MiB/s)`,
    ],
  },
  {
    api: 'copy',
    when: 'persistent domain without TRANSIENT_JOB',
    persistent: true,
    call: (lab) => copy(lab),
    gives: [55, 10, `${STATE}domain is not transient`],
  },
  {
    api: 'copy',
    when: 'persistent domain with TRANSIENT_JOB',
    persistent: true,
    call: (lab) => copy(lab, COPY, BlockCopyFlags.TRANSIENT_JOB),
    gives: undefined,
  },
  {
    api: 'copy',
    when: 'backingStore without SHALLOW',
    call: (lab) =>
      copy(
        lab,
        destination('/n', {
          extra: "<backingStore type='file'><format type='qcow2'/><source file='/img/mid'/></backingStore>",
        }),
      ),
    gives: [
      8,
      10,
      `${INVALID}backingStore of mirror without VIR_DOMAIN_BLOCK_COPY_SHALLOW doesn't make sense`,
    ],
  },
  {
    api: 'copy',
    when: 'an empty backingStore without SHALLOW',
    call: (lab) => copy(lab, destination('/n', { extra: '<backingStore/>' })),
    gives: undefined,
  },
  {
    api: 'copy',
    when: 'shallow to raw',
    call: (lab) => copy(lab, destination('/n', { format: 'raw' }), BlockCopyFlags.SHALLOW),
    gives: [67, 10, `${CONFIG}shallow copy of disk 'vda' into a raw file is not possible`],
  },
  {
    api: 'copy',
    when: 'destination exists',
    call: (lab) => copy(lab, destination('/img/other')),
    gives: [
      67,
      10,
      `${CONFIG}external destination file for disk vda already exists and is not a block device: /img/other`,
    ],
  },
  {
    api: 'copy',
    when: 'REUSE, path missing',
    call: (lab) => copy(lab, COPY, BlockCopyFlags.REUSE_EXT),
    gives: [38, 10, 'missing destination file for disk vda: /img/copy: No such file or directory'],
  },
  {
    api: 'copy',
    when: 'type block, path missing',
    call: (lab) => copy(lab, destination('/n', { type: 'block' })),
    gives: [38, 10, 'missing destination file for disk vda: /n: No such file or directory'],
  },
  {
    api: 'copy',
    when: 'type block and REUSE onto a file',
    call: (lab) => copy(lab, destination('/img/other', { type: 'block' }), BlockCopyFlags.REUSE_EXT),
    gives: [
      8,
      10,
      `${INVALID}blockdev flag requested for disk vda, but file '/img/other' is not a block device`,
    ],
  },
  {
    api: 'copy',
    when: 'shared disk, format that cannot be shared',
    call: (lab) => copy(lab, destination('/n'), 0, 'vds'),
    gives: [84, 10, `${UNSUPPORTED}can't pivot a shared disk to a storage volume not supporting sharing`],
  },
  {
    api: 'copy',
    when: 'shared disk to raw',
    call: (lab) => copy(lab, destination('/n', { format: 'raw' }), 0, 'vds'),
    gives: undefined,
  },
  {
    api: 'copy',
    when: 'empty cdrom',
    call: (lab) => copy(lab, COPY, 0, 'hdc'),
    gives: [1, 10, `${INTERNAL}failed to update capacity data for block node '(null)'`],
  },
  {
    api: 'copy',
    when: 'empty file in the way',
    given: async ({ driver }) => driver.files.set('/img/copy', { kind: 'file', sizeBytes: 0 }),
    call: (lab) => copy(lab),
    gives: undefined,
  },
  {
    api: 'copy',
    when: 'cannot create',
    given: async ({ machine }) => {
      machine.on.prepareTarget = () => {
        throw new VirtError(
          ErrorCode.SYSTEM_ERROR,
          'failed to create copy target: No such file or directory',
          { errno: 2 },
        );
      };
    },
    call: (lab) => copy(lab),
    gives: [38, 10, 'failed to create copy target: No such file or directory'],
  },
];
