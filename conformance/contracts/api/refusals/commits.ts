/** What commit, set-speed, resize and threshold refuse. */
import {
  BlockCommitFlags,
  BlockJobSetSpeedFlags,
  BlockResizeFlags,
  ErrorCode,
  ErrorDomain,
} from '../../../../src/index.ts';
import { BEYOND, MIB_OVERFLOW, NEGATIVE_SPEED, TOO_MANY_MIB } from './overflow.ts';
import type { RefusalRow } from './row.ts';

const C = BlockCommitFlags;
const { INVALID_ARG, OVERFLOW, OPERATION_UNSUPPORTED, OPERATION_INVALID, INTERNAL_ERROR } = ErrorCode;

const commit = { call: 'blockCommit', code: INVALID_ARG } as const;
const looking = { ...commit, domain: ErrorDomain.STORAGE } as const;

const names: readonly RefusalRow[] = [
  {
    ...looking,
    id: 'commit-top-without-backing',
    act: (lab) => lab.domain.blockCommit('vda', null, lab.path('base')),
    says: "could not find base image in chain for 'vda'",
  },
  {
    ...looking,
    id: 'commit-single-image',
    act: ({ domain }) => domain.blockCommit('vdb', null, null, 0, C.ACTIVE),
    says: "could not find base image in chain for 'vdb'",
  },
  {
    ...looking,
    id: 'commit-empty-drive',
    options: { disks: ['empty'] },
    act: ({ domain }) => domain.blockCommit('hdc'),
    says: "could not find base image in chain for 'hdc'",
  },
  {
    ...looking,
    id: 'commit-unknown-base',
    act: ({ domain }) => domain.blockCommit('vda', 'nope', 'mid'),
    says: (lab) => `could not find image 'nope' beneath '${lab.path('mid')}' in chain for 'vda'`,
  },
  {
    ...looking,
    id: 'commit-base-is-top',
    act: (lab) => lab.domain.blockCommit('vda', lab.path('mid'), lab.path('mid')),
    says: (lab) =>
      `could not find image '${lab.path('mid')}' beneath '${lab.path('mid')}' in chain for 'vda'`,
  },
  {
    ...looking,
    id: 'commit-unknown-top',
    act: ({ domain }) => domain.blockCommit('vda', null, '/nope', 0, C.ACTIVE),
    says: "could not find image '/nope' in chain for 'vda'",
  },
  {
    ...looking,
    id: 'commit-empty-names',
    act: ({ domain }) => domain.blockCommit('vda', '', ''),
    says: "could not find image '' in chain for 'vda'",
  },
];

const rules: readonly RefusalRow[] = [
  {
    ...commit,
    id: 'commit-unflagged-active',
    act: ({ domain }) => domain.blockCommit('vda'),
    says: "commit of 'vda' active layer requires active flag",
  },
  {
    ...commit,
    id: 'commit-active-of-inactive',
    act: (lab) => lab.domain.blockCommit('vda', null, lab.path('mid'), 0, C.ACTIVE),
    says: (lab) => `active commit requested but '${lab.path('mid')}' is not active`,
  },
  {
    ...commit,
    id: 'commit-shallow-top-without-backing',
    act: (lab) => lab.domain.blockCommit('vda', null, lab.path('base'), 0, C.SHALLOW),
    says: (lab) => `top '${lab.path('base')}' in chain for '${lab.path('top')}' has no backing file`,
  },
  {
    ...commit,
    id: 'commit-shallow-base-further-down',
    act: (lab) => lab.domain.blockCommit('vda', lab.path('base'), null, 0, C.ACTIVE | C.SHALLOW),
    says: (lab) =>
      `base '${lab.path('base')}' is not immediately below '${lab.path('top')}' in chain for '${lab.path('top')}'`,
  },
  {
    id: 'commit-relative-absolute-names',
    call: 'blockCommit',
    options: { data: true },
    act: (lab) => lab.domain.blockCommit('vda', lab.path('base'), lab.path('mid'), 0, C.RELATIVE),
    code: OPERATION_INVALID,
    says: "can't keep relative backing relationship",
  },
  {
    id: 'commit-shallow-empty-drive',
    call: 'blockCommit',
    options: { disks: ['empty'] },
    act: ({ domain }) => domain.blockCommit('hdc', null, null, 0, C.SHALLOW),
    code: ErrorCode.CONFIG_UNSUPPORTED,
    says: 'disk hdc has no source file to be committed',
  },
  {
    id: 'commit-overflow-before-disk',
    call: 'blockCommit',
    act: ({ domain }) => domain.blockCommit('vdz', null, null, TOO_MANY_MIB),
    ...MIB_OVERFLOW,
  },
  {
    id: 'commit-bytes-overflow',
    call: 'blockCommit',
    act: ({ domain }) => domain.blockCommit('vda', null, null, BEYOND, C.ACTIVE | C.BANDWIDTH_BYTES),
    ...NEGATIVE_SPEED,
  },
];

const speeds: readonly RefusalRow[] = [
  {
    id: 'set-speed-overflow',
    call: 'blockJobSetSpeed',
    job: 'ready-copy',
    act: ({ domain }) => domain.blockJobSetSpeed('vda', TOO_MANY_MIB),
    ...MIB_OVERFLOW,
  },
  {
    id: 'set-speed-overflow-before-domain',
    call: 'blockJobSetSpeed',
    given: ({ domain }) => domain.destroy(),
    act: ({ domain }) => domain.blockJobSetSpeed('vdz', TOO_MANY_MIB),
    ...MIB_OVERFLOW,
  },
  {
    id: 'set-speed-bytes-overflow',
    call: 'blockJobSetSpeed',
    job: 'ready-copy',
    act: ({ domain }) => domain.blockJobSetSpeed('vda', BEYOND, BlockJobSetSpeedFlags.BANDWIDTH_BYTES),
    ...NEGATIVE_SPEED,
  },
];

const resize = { call: 'blockResize' } as const;

const sizes: readonly RefusalRow[] = [
  ...(['vdz', '/nope'] as const).map(
    (disk): RefusalRow => ({
      ...resize,
      id: disk === 'vdz' ? 'resize-unknown-disk' : 'resize-unknown-path',
      act: ({ domain }) => domain.blockResize(disk, 4096),
      code: INVALID_ARG,
      says: `disk '${disk}' was not found in the domain config`,
    }),
  ),
  {
    ...resize,
    id: 'resize-unknown-flag',
    act: ({ domain }) => domain.blockResize('vda', 4096, BlockResizeFlags.BYTES | 0x2),
    code: INVALID_ARG,
    says: 'unsupported flags (0x2) in function qemuDomainBlockResize',
    bare: true,
  },
  {
    ...resize,
    id: 'resize-overflow-before-domain',
    given: ({ domain }) => domain.destroy(),
    act: ({ domain }) => domain.blockResize('vdz', 18_014_398_509_481_984n),
    code: OVERFLOW,
    says: 'size must be less than 18014398509481983',
  },
  {
    ...resize,
    id: 'resize-that-would-wrap',
    act: ({ domain }) => domain.blockResize('vda', 2n ** 64n - 1n, BlockResizeFlags.BYTES),
    code: OVERFLOW,
    says: 'size must be less than 18446744073709551104',
  },
  ...(['empty', 'readonly'] as const).map((kind): RefusalRow => {
    const disk = kind === 'empty' ? 'hdc' : 'vdr';
    return {
      ...resize,
      id: `resize-${kind}`,
      options: { disks: [kind] },
      act: ({ domain }) => domain.blockResize(disk, 1),
      code: OPERATION_UNSUPPORTED,
      says: `can't resize empty or readonly disk '${disk}'`,
    };
  }),
  {
    ...resize,
    id: 'resize-not-running',
    options: { inactive: true },
    act: ({ domain }) => domain.blockResize('vda', 4096),
    code: OPERATION_INVALID,
    domain: ErrorDomain.DOMAIN,
    says: 'domain is not running',
  },
];

const threshold = { call: 'setBlockThreshold' } as const;

const thresholds: readonly RefusalRow[] = [
  {
    ...threshold,
    id: 'threshold-unknown-flag',
    act: ({ domain }) => domain.setBlockThreshold('vda', 1, 1),
    code: INVALID_ARG,
    says: 'unsupported flags (0x1) in function qemuDomainSetBlockThreshold',
    bare: true,
  },
  ...(
    [
      ['unknown-disk', 'vdz'],
      ['path', '/path'],
      ['unknown-index', 'vda[77]'],
      ['empty-name', ''],
    ] as const
  ).map(
    ([id, device]): RefusalRow => ({
      ...threshold,
      id: `threshold-${id}`,
      act: ({ domain }) => domain.setBlockThreshold(device, 4096),
      code: INVALID_ARG,
      says: `failed to find disk '${device}'`,
    }),
  ),
  ...(
    [
      ['no-index', 'vda[]'],
      ['letter-as-index', 'vda[x]'],
      ['open-bracket', 'vda[1'],
    ] as const
  ).map(
    ([id, device]): RefusalRow => ({
      ...threshold,
      id: `threshold-${id}`,
      act: ({ domain }) => domain.setBlockThreshold(device, 4096),
      code: INVALID_ARG,
      says: `failed to parse block device '${device}'`,
    }),
  ),
  {
    ...threshold,
    id: 'threshold-empty-drive',
    options: { disks: ['empty'] },
    act: ({ domain }) => domain.setBlockThreshold('hdc', 1),
    code: INTERNAL_ERROR,
    domain: ErrorDomain.NONE,
    says: "argument key 'node-name' must not have null value",
  },
];

/** Rows of commit, and of what takes sizes. */
export const commitRows: readonly RefusalRow[] = [...names, ...rules, ...speeds, ...sizes, ...thresholds];
