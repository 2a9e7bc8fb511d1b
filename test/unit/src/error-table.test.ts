/**
 * The error table of libvirt 9.0's block-job calls, row by row: code, domain and message of each refusal, or why the row
 * cannot be had here. Rows that succeed in libvirt are rows as well.
 */
import { describe, expect, test } from 'vitest';
import {
  BlockCommitFlags,
  BlockCopyFlags,
  BlockJobAbortFlags,
  BlockPullFlags,
  BlockRebaseFlags,
  BlockResizeFlags,
  ErrorCode,
  VirtError,
} from '../../../src/index.ts';
import { boot, COPY, diskXml, domainXml, type Lab, refusal, startJob } from './lab.ts';

const R = BlockRebaseFlags;
const C = BlockCommitFlags;
const { PIVOT, ASYNC } = BlockJobAbortFlags;
const BEYOND = 2n ** 63n;

interface Row {
  readonly api: string;
  readonly when: string;
  /** Puts the domain into the row's situation. */
  readonly given?: (lab: Lab) => Promise<unknown>;
  readonly persistent?: true;
  readonly call: (lab: Lab) => Promise<unknown>;
  /** Code, domain, message; undefined: succeeds. */
  readonly gives: readonly [number, number, string] | undefined;
}

const INVALID = 'invalid argument: ';
const STATE = 'Requested operation is not valid: ';
const CONFIG = 'unsupported configuration: ';
const UNSUPPORTED = 'Operation not supported: ';
const ACTIVE = 'block copy still active: ';
const INTERNAL = 'internal error: ';
const OVERFLOW = 'numerical overflow: ';
const BUSY = "disk 'vda' already in active block job";
const destination = (path: string, { type = 'file', format = 'qcow2', extra = '' } = {}): string =>
  `<disk type='${type}'><driver type='${format}'/><source ${type === 'file' ? 'file' : 'dev'}='${path}'/>${extra}</disk>`;
const copy = (lab: Lab, xml = COPY, flags = 0, disk = 'vda') => lab.domain.blockCopy(disk, xml, {}, flags);
const qemuRefuses = (lab: Lab, call: string, command: string, desc: string): void => {
  lab.machine.on[call] = () => {
    throw new VirtError(ErrorCode.INTERNAL_ERROR, `unable to execute QEMU command '${command}': ${desc}`);
  };
};
const jobCalls: readonly [string, (lab: Lab, disk: string) => Promise<unknown>][] = [
  ['pull', ({ domain }, disk) => domain.blockPull(disk)],
  ['rebase', ({ domain }, disk) => domain.blockRebase(disk)],
  ['rebase copy', ({ domain }, disk) => domain.blockRebase(disk, '/img/copy', 0, R.COPY)],
  ['copy', (lab, disk) => copy(lab, COPY, 0, disk)],
  ['commit', ({ domain }, disk) => domain.blockCommit(disk, null, null, 0, C.ACTIVE)],
  ['abort', ({ domain }, disk) => domain.blockJobAbort(disk)],
  ['info', ({ domain }, disk) => domain.getBlockJobInfo(disk)],
  ['set-speed', ({ domain }, disk) => domain.blockJobSetSpeed(disk, 1)],
];
const starters = jobCalls.slice(0, 5);

const ANY: readonly Row[] = [
  ...jobCalls.flatMap(([api, call]): Row[] => [
    {
      api,
      when: 'unknown disk',
      call: (lab) => call(lab, 'vdz'),
      gives: [8, 10, `${INVALID}disk 'vdz' not found in domain`],
    },
    {
      api,
      when: 'an empty name is no disk',
      call: (lab) => call(lab, ''),
      gives: [8, 10, `${INVALID}disk '' not found in domain`],
    },
    {
      api,
      when: 'an index is no disk',
      call: (lab) => call(lab, 'vda[3]'),
      gives: [8, 10, `${INVALID}disk 'vda[3]' not found in domain`],
    },
    {
      api,
      when: 'domain not running',
      persistent: true,
      given: ({ domain }) => domain.destroy(),
      call: (lab) => call(lab, 'vda'),
      gives:
        api === 'commit'
          ? [8, 18, `${INVALID}could not find base image in chain for 'vda'`]
          : [55, 20, `${STATE}domain is not running`],
    },
    {
      api,
      when: 'domain vanished',
      given: ({ domain }) => domain.destroy(),
      call: (lab) => call(lab, 'vda'),
      gives: [
        42,
        10,
        "Domain not found: no domain with matching uuid '00000000-0000-4000-8000-000000000001' (vm)",
      ],
    },
  ]),
  ...starters.flatMap(([api, call]): Row[] => [
    {
      api,
      when: 'the disk has a mirror',
      given: (lab) => startJob(lab, 'copy'),
      call: (lab) => call(lab, 'vda'),
      gives: [83, 10, ACTIVE + BUSY],
    },
    {
      api,
      when: 'the disk has a ready active commit',
      given: (lab) => startJob(lab, 'ready active commit'),
      call: (lab) => call(lab, 'vda'),
      gives: [83, 10, ACTIVE + BUSY],
    },
    {
      api,
      when: 'the disk has a plain job',
      given: (lab) => startJob(lab, 'pull'),
      call: (lab) => call(lab, 'vda'),
      gives: [84, 10, UNSUPPORTED + BUSY],
    },
  ]),
  ...(['pull', 'rebase', 'rebase copy', 'copy'] as const).flatMap((api): Row[] => {
    const call = starters.find(([name]) => name === api)?.[1] ?? (() => Promise.resolve());
    return [
      {
        api,
        when: 'bus sd',
        call: (lab) => call(lab, 'sdd'),
        gives: [84, 10, `${UNSUPPORTED}block jobs are not supported on disk 'sdd' using bus 'sd'`],
      },
      {
        api,
        when: 'transient disk',
        call: (lab) => call(lab, 'vdt'),
        gives: [84, 10, `${UNSUPPORTED}block jobs are not supported on transient disk 'vdt'`],
      },
    ];
  }),
  {
    api: 'any',
    when: 'lock held 30 s',
    given: async (lab) => {
      await startJob(lab, 'copy');
      void lab.domain.blockJobAbort('vda').catch(() => undefined);
    },
    call: async (lab) => {
      const info = lab.domain.getBlockJobInfo('vda');
      lab.driver.timers.advance(30_000);
      return info;
    },
    gives: [
      68,
      0,
      'Timed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainBlockJobAbort)',
    ],
  },
];

const PULLS: readonly Row[] = [
  {
    api: 'pull',
    when: 'flags',
    call: ({ domain }) => domain.blockPull('vda', 0, 1),
    gives: [8, 10, 'unsupported flags (0x1) in function qemuDomainBlockPull'],
  },
  {
    api: 'pull',
    when: 'empty cdrom',
    call: ({ domain }) => domain.blockPull('hdc'),
    gives: [1, 0, `${INTERNAL}argument key 'device' must not have null value`],
  },
  {
    api: 'pull',
    when: 'image without backing file',
    call: ({ domain }) => domain.blockPull('vdb'),
    gives: undefined,
  },
  {
    api: 'pull',
    when: 'MiB overflow',
    call: ({ domain }) => domain.blockPull('vda', 8796093022208),
    gives: [82, 10, `${OVERFLOW}bandwidth must be less than 8796093022207`],
  },
  {
    api: 'pull',
    when: 'bytes overflow',
    call: ({ domain }) => domain.blockPull('vda', BEYOND, BlockPullFlags.BANDWIDTH_BYTES),
    gives: [1, 0, `${INTERNAL}argument key 'speed' must not be negative`],
  },
  {
    api: 'rebase',
    when: 'flags',
    call: ({ domain }) => domain.blockRebase('vda', null, 0, 0x80),
    gives: [8, 10, 'unsupported flags (0x80) in function qemuDomainBlockRebase'],
  },
  ...([R.SHALLOW, R.REUSE_EXT, R.COPY_RAW, R.COPY_DEV] as const).map(
    (flag): Row => ({
      api: 'rebase',
      when: `copy-only flag ${flag} without COPY`,
      call: ({ domain }) => domain.blockRebase('vda', null, 0, flag),
      gives: [8, 20, 'use of flags requires a copy job'],
    }),
  ),
  {
    api: 'rebase',
    when: 'COPY with NULL base',
    call: ({ domain }) => domain.blockRebase('vda', null, 0, R.COPY),
    gives: [8, 20, 'base in virDomainBlockRebase must not be NULL'],
  },
  {
    api: 'rebase',
    when: 'RELATIVE with NULL base',
    call: ({ domain }) => domain.blockRebase('vda', null, 0, R.RELATIVE),
    gives: [8, 10, `${INVALID}flag VIR_DOMAIN_BLOCK_REBASE_RELATIVE is valid only with non-null base`],
  },
  {
    api: 'rebase',
    when: 'RELATIVE, absolute names',
    call: ({ domain }) => domain.blockRebase('vda', '/img/base', 0, R.RELATIVE),
    gives: [55, 10, `${STATE}can't keep relative backing relationship`],
  },
  {
    api: 'rebase',
    when: 'RELATIVE, relative names',
    call: ({ domain }) => domain.blockRebase('vdc', '/rel/base', 0, R.RELATIVE),
    gives: undefined,
  },
  {
    api: 'rebase',
    when: 'COPY and RELATIVE',
    call: ({ domain }) => domain.blockRebase('vda', '/img/copy', 0, R.COPY | R.RELATIVE),
    gives: [74, 10, 'argument unsupported: Relative backing during copy not supported yet'],
  },
  {
    api: 'rebase',
    when: 'MiB overflow comes after the base',
    call: ({ domain }) => domain.blockRebase('vda', '/nope', 8796093022208),
    gives: [8, 18, `${INVALID}could not find image '/nope' beneath '/img/top' in chain for 'vda'`],
  },
  {
    api: 'rebase',
    when: 'COPY: MiB overflow comes before all else',
    call: ({ domain }) => domain.blockRebase('vdz', 'x', 8796093022208, R.COPY),
    gives: [82, 10, `${OVERFLOW}bandwidth must be less than 8796093022207`],
  },
  {
    api: 'rebase',
    when: 'COPY: bytes overflow',
    call: ({ domain }) => domain.blockRebase('vda', '/img/copy', BEYOND, R.COPY | R.BANDWIDTH_BYTES),
    gives: [
      8,
      10,
      `${INVALID}bandwidth must be less than '9223372036854775807' bytes/s (8796093022207 MiB/s)`,
    ],
  },
  {
    api: 'rebase',
    when: 'base is the active image',
    call: ({ domain }) => domain.blockRebase('vda', '/img/top'),
    gives: [8, 18, `${INVALID}could not find image '/img/top' beneath '/img/top' in chain for 'vda'`],
  },
  {
    api: 'rebase',
    when: 'base is the target',
    call: ({ domain }) => domain.blockRebase('vda', 'vda'),
    gives: [8, 18, `${INVALID}could not find image 'vda' beneath '/img/top' in chain for 'vda'`],
  },
  {
    api: 'rebase',
    when: 'unknown index',
    call: ({ domain }) => domain.blockRebase('vda', 'vda[77]'),
    gives: [8, 18, `${INVALID}could not find backing store index '77' in chain for 'vda'`],
  },
  {
    api: 'rebase',
    when: 'index of another disk',
    call: ({ domain }) => domain.blockRebase('vda', 'vdb[4]'),
    gives: [8, 18, `${INVALID}requested target 'vdb' does not match target 'vda'`],
  },
  {
    api: 'rebase',
    when: 'index 0',
    call: ({ domain }) => domain.blockRebase('vda', 'vda[0]'),
    gives: [8, 18, `${INVALID}could not find image 'vda[0]' beneath '/img/top' in chain for 'vda'`],
  },
  {
    api: 'rebase',
    when: 'empty base',
    call: ({ domain }) => domain.blockRebase('vda', ''),
    gives: [8, 18, `${INVALID}could not find image '' beneath '/img/top' in chain for 'vda'`],
  },
  {
    api: 'rebase',
    when: 'base of an empty drive',
    call: ({ domain }) => domain.blockRebase('hdc', 'x'),
    gives: [8, 18, `${INVALID}could not find image 'x' beneath '<null>' in chain for 'hdc'`],
  },
  {
    api: 'rebase',
    when: 'COPY of a persistent domain',
    persistent: true,
    call: ({ domain }) => domain.blockRebase('vda', '/img/copy', 0, R.COPY),
    gives: [55, 10, `${STATE}domain is not transient`],
  },
];

const COPIES: readonly Row[] = [
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

const COMMITS: readonly Row[] = [
  {
    api: 'commit',
    when: 'flags',
    call: ({ domain }) => domain.blockCommit('vda', null, null, 0, 0x20),
    gives: [8, 10, 'unsupported flags (0x20) in function qemuDomainBlockCommit'],
  },
  {
    api: 'commit',
    when: 'MiB overflow comes before the disk',
    call: ({ domain }) => domain.blockCommit('vdz', null, null, 8796093022208),
    gives: [82, 10, `${OVERFLOW}bandwidth must be less than 8796093022207`],
  },
  {
    api: 'commit',
    when: 'bytes overflow',
    call: ({ domain }) => domain.blockCommit('vda', null, null, BEYOND, C.ACTIVE | C.BANDWIDTH_BYTES),
    gives: [1, 0, `${INTERNAL}argument key 'speed' must not be negative`],
  },
  {
    api: 'commit',
    when: 'top is active, no ACTIVE',
    call: ({ domain }) => domain.blockCommit('vda'),
    gives: [8, 10, `${INVALID}commit of 'vda' active layer requires active flag`],
  },
  {
    api: 'commit',
    when: 'ACTIVE but top is not',
    call: ({ domain }) => domain.blockCommit('vda', null, '/img/mid', 0, C.ACTIVE),
    gives: [8, 10, `${INVALID}active commit requested but '/img/mid' is not active`],
  },
  {
    api: 'commit',
    when: 'top has no backing, SHALLOW',
    call: ({ domain }) => domain.blockCommit('vda', null, '/img/base', 0, C.SHALLOW),
    gives: [8, 10, `${INVALID}top '/img/base' in chain for '/img/top' has no backing file`],
  },
  {
    api: 'commit',
    when: 'top has no backing',
    call: ({ domain }) => domain.blockCommit('vda', null, '/img/base'),
    gives: [8, 18, `${INVALID}could not find base image in chain for 'vda'`],
  },
  {
    api: 'commit',
    when: 'SHALLOW and base further down',
    call: ({ domain }) => domain.blockCommit('vda', '/img/base', null, 0, C.ACTIVE | C.SHALLOW),
    gives: [8, 10, `${INVALID}base '/img/base' is not immediately below '/img/top' in chain for '/img/top'`],
  },
  {
    api: 'commit',
    when: 'RELATIVE, absolute names',
    call: ({ domain }) => domain.blockCommit('vda', '/img/base', '/img/mid', 0, C.RELATIVE),
    gives: [55, 10, `${STATE}can't keep relative backing relationship`],
  },
  {
    api: 'commit',
    when: 'RELATIVE, active',
    call: ({ domain }) => domain.blockCommit('vda', null, null, 0, C.ACTIVE | C.RELATIVE),
    gives: undefined,
  },
  {
    api: 'commit',
    when: 'empty drive, SHALLOW',
    call: ({ domain }) => domain.blockCommit('hdc', null, null, 0, C.SHALLOW),
    gives: [67, 10, `${CONFIG}disk hdc has no source file to be committed`],
  },
  {
    api: 'commit',
    when: 'empty drive',
    call: ({ domain }) => domain.blockCommit('hdc'),
    gives: [8, 18, `${INVALID}could not find base image in chain for 'hdc'`],
  },
  {
    api: 'commit',
    when: 'single image',
    call: ({ domain }) => domain.blockCommit('vdb', null, null, 0, C.ACTIVE),
    gives: [8, 18, `${INVALID}could not find base image in chain for 'vdb'`],
  },
  {
    api: 'commit',
    when: 'base is top',
    call: ({ domain }) => domain.blockCommit('vda', '/img/mid', '/img/mid'),
    gives: [8, 18, `${INVALID}could not find image '/img/mid' beneath '/img/mid' in chain for 'vda'`],
  },
  {
    api: 'commit',
    when: 'top missing',
    call: ({ domain }) => domain.blockCommit('vda', null, '/nope', 0, C.ACTIVE),
    gives: [8, 18, `${INVALID}could not find image '/nope' in chain for 'vda'`],
  },
  {
    api: 'commit',
    when: 'empty names',
    call: ({ domain }) => domain.blockCommit('vda', '', ''),
    gives: [8, 18, `${INVALID}could not find image '' in chain for 'vda'`],
  },
  {
    api: 'commit',
    when: 'top is the target',
    call: ({ domain }) => domain.blockCommit('vda', '/img/base', 'vda', 0, C.ACTIVE),
    gives: undefined,
  },
  {
    api: 'commit',
    when: 'relative names are found',
    call: ({ domain }) => domain.blockCommit('vdc', 'base', 'mid'),
    gives: undefined,
  },
];

const ENDS: readonly Row[] = [
  {
    api: 'abort',
    when: 'flags',
    call: ({ domain }) => domain.blockJobAbort('vda', 4),
    gives: [8, 10, 'unsupported flags (0x4) in function qemuDomainBlockJobAbort'],
  },
  {
    api: 'abort',
    when: 'no job',
    call: ({ domain }) => domain.blockJobAbort('vda'),
    gives: [8, 10, `${INVALID}disk vda does not have an active block job`],
  },
  {
    api: 'set-speed',
    when: 'no job',
    call: ({ domain }) => domain.blockJobSetSpeed('vda', 1),
    gives: [8, 10, `${INVALID}disk vda does not have an active block job`],
  },
  {
    api: 'set-speed',
    when: 'flags',
    call: ({ domain }) => domain.blockJobSetSpeed('vda', 1, 2),
    gives: [8, 10, 'unsupported flags (0x2) in function qemuDomainBlockJobSetSpeed'],
  },
  {
    api: 'set-speed',
    when: 'MiB overflow comes before the domain',
    given: ({ domain }) => domain.destroy(),
    call: ({ domain }) => domain.blockJobSetSpeed('vdz', 8796093022208),
    gives: [82, 10, `${OVERFLOW}bandwidth must be less than 8796093022207`],
  },
  {
    api: 'set-speed',
    when: 'bytes overflow',
    given: (lab) => startJob(lab, 'pull'),
    call: ({ domain }) => domain.blockJobSetSpeed('vda', BEYOND, 1),
    gives: [1, 0, `${INTERNAL}argument key 'speed' must not be negative`],
  },
  {
    api: 'info',
    when: 'flags',
    call: ({ domain }) => domain.getBlockJobInfo('vda', 2),
    gives: [8, 10, 'unsupported flags (0x2) in function qemuDomainGetBlockJobInfo'],
  },
  { api: 'info', when: 'no job', call: ({ domain }) => domain.getBlockJobInfo('vda'), gives: undefined },
  {
    api: 'abort',
    when: 'already aborting',
    given: async (lab) => {
      await startJob(lab, 'copy');
      await lab.domain.blockJobAbort('vda', ASYNC);
    },
    call: ({ domain }) => domain.blockJobAbort('vda'),
    gives: [55, 10, `${STATE}block job on disk 'vda' is still being ended`],
  },
  {
    api: 'abort',
    when: 'already pivoting',
    given: async (lab) => {
      await startJob(lab, 'ready copy');
      await lab.domain.blockJobAbort('vda', ASYNC | PIVOT);
    },
    call: ({ domain }) => domain.blockJobAbort('vda', PIVOT),
    gives: [55, 10, `${STATE}block job on disk 'vda' is still being ended`],
  },
  ...(['copy', 'active commit', 'pull', 'commit'] as const).map((kind): Row => {
    const id = {
      copy: 'copy-vda-libvirt-9-format',
      'active commit': 'commit-vda-libvirt-9-format',
      pull: 'pull-vda-libvirt-9-format',
      commit: 'commit-vda-libvirt-12-format',
    }[kind];
    return {
      api: 'abort PIVOT',
      when: `a ${kind} that is not ready`,
      given: (lab) => startJob(lab, kind),
      call: ({ domain }) => domain.blockJobAbort('vda', PIVOT),
      gives: [83, 10, `${ACTIVE}block job '${id}' not ready for pivot yet`],
    };
  }),
  ...(
    [
      ['No space left on device', ': No space left on device'],
      [undefined, ''],
    ] as const
  ).map(
    ([error, suffix]): Row => ({
      api: 'abort PIVOT sync',
      when: `the job concluded with ${error ?? 'an error without text'}`,
      given: async (lab) => {
        const id = await startJob(lab, 'ready copy');
        lab.machine.on.concludeJob = () =>
          lab.machine.emit({ type: 'job-ended', id, outcome: 'failed', ...(error && { error }) });
      },
      call: ({ domain }) => domain.blockJobAbort('vda', PIVOT),
      gives: [
        9,
        10,
        `operation failed: block job 'copy-vda-libvirt-9-format' failed while pivoting${suffix}`,
      ],
    }),
  ),
  {
    api: 'abort PIVOT',
    when: 'job-complete rejected by QEMU',
    given: async (lab) => {
      await startJob(lab, 'ready copy');
      qemuRefuses(lab, 'concludeJob', 'job-complete', 'busy');
    },
    call: ({ domain }) => domain.blockJobAbort('vda', PIVOT),
    gives: [1, 10, `${INTERNAL}unable to execute QEMU command 'job-complete': busy`],
  },
  {
    api: 'abort sync',
    when: 'domain destroyed while waiting',
    given: (lab) => startJob(lab, 'copy'),
    call: async ({ domain }) => {
      const abort = domain.blockJobAbort('vda');
      abort.catch(() => undefined);
      await domain.destroy();
      return abort;
    },
    gives: [9, 10, 'operation failed: domain is not running'],
  },
  {
    api: 'pull',
    when: 'any QMP failure',
    given: async (lab) => qemuRefuses(lab, 'startJob', 'block-stream', 'no'),
    call: ({ domain }) => domain.blockPull('vda'),
    gives: [1, 10, `${INTERNAL}unable to execute QEMU command 'block-stream': no`],
  },
];

const SIZES: readonly Row[] = [
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

/** Rows of the table that this project cannot get into, each with its reason. */
const OUT_OF_REACH: readonly (readonly [api: string, when: string, why: string])[] = [
  ['any', 'read-only connection', 'connections are always read-write: there is no second socket to open'],
  [
    'pull/rebase/copy/commit',
    'checkpoints exist and QEMU lacks incremental backup',
    'there are no checkpoints',
  ],
  ['pull/rebase/copy/commit', 'vhost-user disk', 'such a disk is refused when the domain is defined'],
  ['resize', 'vhost-user disk', 'such a disk is refused when the domain is defined'],
  ['copy', 'REUSE, format unknown and not probeable', 'every file can be probed: what is not qcow2 is raw'],
  ['copy', 'destination passed as fd group', 'file descriptors cannot be passed'],
  [
    'copy',
    'read-only disk on QEMU without blockdev-reopen',
    'every QEMU of the blockdev dialect that is driven has it',
  ],
  [
    'abort PIVOT',
    'READY but of a type without pivot',
    'practically unreachable in libvirt as well: no backup jobs here',
  ],
  ['abort', 'QMP error class DeviceNotActive', 'a matter of the driver: tested there'],
];

describe.each([
  ['every job call', ANY],
  ['pull and rebase', PULLS],
  ['copy', COPIES],
  ['commit', COMMITS],
  ['abort, set-speed, info', ENDS],
  ['resize and threshold', SIZES],
])('%s', (_family, rows) => {
  test.each(rows.map((row) => [`${row.api}: ${row.when}`, row] as const))('%s', async (_name, row) => {
    const lab = await boot({ persistent: row.persistent ?? false });
    await row.given?.(lab);
    const xml = await lab.domain.getXMLDesc().catch(() => undefined);
    expect(await refusal(row.call(lab))).toEqual(row.gives);
    // A refusal leaves the domain as it was; a failure after the fact (9) does not.
    const refused = row.gives && row.gives[0] !== ErrorCode.OPERATION_FAILED;
    if (refused && xml && lab.domain.isActive()) expect(await lab.domain.getXMLDesc()).toBe(xml);
  });
});

test.each(OUT_OF_REACH)('%s: %s is out of reach', (_api, _when, why) => {
  expect(why).not.toBe('');
});

test('a name of two disks is none for a resize, and the first of them for a job', async () => {
  const disks = `${diskXml('vda', '/img/other')}${diskXml('vdb', '/img/other')}`;
  const { domain, machine } = await boot({ disks });
  expect(domainXml(disks)).toContain('vdb');
  expect(await refusal(domain.blockResize('/img/other', 1))).toEqual([
    8,
    10,
    `${INVALID}disk '/img/other' was not found in the domain config`,
  ]);
  await domain.blockPull('/img/other');
  expect(machine.calls.at(-1)?.argument).toMatchObject({ disk: 'vda' });
});
