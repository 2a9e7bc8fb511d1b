/** What pull and rebase refuse. */
import { BlockPullFlags, BlockRebaseFlags, ErrorCode, ErrorDomain } from '../../../../src/index.ts';
import type { Lab } from '../../../lab.ts';
import { BEYOND, COPY_BYTES_OVERFLOW, MIB_OVERFLOW, NEGATIVE_SPEED, TOO_MANY_MIB } from './overflow.ts';
import type { RefusalRow } from './row.ts';

const R = BlockRebaseFlags;
const { INVALID_ARG, OPERATION_INVALID } = ErrorCode;

const looking = {
  call: 'blockRebase',
  code: INVALID_ARG,
  domain: ErrorDomain.STORAGE,
} as const;

/** What a base that is not below the active image is called. */
const notBelow =
  (name: (lab: Lab) => string) =>
  (lab: Lab): string =>
    `could not find image '${name(lab)}' beneath '${lab.path('top')}' in chain for 'vda'`;

const bases: readonly RefusalRow[] = [
  {
    ...looking,
    id: 'rebase-unknown-index',
    act: ({ domain }) => domain.blockRebase('vda', 'vda[77]'),
    says: "could not find backing store index '77' in chain for 'vda'",
  },
  {
    ...looking,
    id: 'rebase-index-of-other-disk',
    act: ({ domain }) => domain.blockRebase('vda', 'vdb[4]'),
    says: "requested target 'vdb' does not match target 'vda'",
  },
  {
    ...looking,
    id: 'rebase-onto-active-image',
    act: (lab) => lab.domain.blockRebase('vda', lab.path('top')),
    says: notBelow((lab) => lab.path('top')),
  },
  ...(
    [
      ['target', 'vda'],
      ['index-0', 'vda[0]'],
      ['empty-base', ''],
    ] as const
  ).map(
    ([id, base]): RefusalRow => ({
      ...looking,
      id: `rebase-onto-${id}`,
      act: ({ domain }) => domain.blockRebase('vda', base),
      says: notBelow(() => base),
    }),
  ),
  {
    ...looking,
    id: 'rebase-of-empty-drive',
    options: { disks: ['empty'] },
    act: ({ domain }) => domain.blockRebase('hdc', 'x'),
    says: "could not find image 'x' beneath '<null>' in chain for 'hdc'",
  },
];

const flags: readonly RefusalRow[] = [
  ...(['SHALLOW', 'REUSE_EXT', 'COPY_RAW', 'COPY_DEV'] as const).map(
    (flag): RefusalRow => ({
      id: `rebase-${flag.toLowerCase().replace('_', '-')}-without-copy`,
      call: 'blockRebase',
      act: ({ domain }) => domain.blockRebase('vda', null, 0, R[flag]),
      code: INVALID_ARG,
      domain: ErrorDomain.DOMAIN,
      says: 'use of flags requires a copy job',
      bare: true,
    }),
  ),
  {
    id: 'rebase-copy-without-base',
    call: 'blockRebase',
    act: ({ domain }) => domain.blockRebase('vda', null, 0, R.COPY),
    code: INVALID_ARG,
    domain: ErrorDomain.DOMAIN,
    says: 'base in virDomainBlockRebase must not be NULL',
    bare: true,
  },
  {
    id: 'rebase-relative-without-base',
    call: 'blockRebase',
    act: ({ domain }) => domain.blockRebase('vda', null, 0, R.RELATIVE),
    code: INVALID_ARG,
    says: 'flag VIR_DOMAIN_BLOCK_REBASE_RELATIVE is valid only with non-null base',
  },
  {
    id: 'rebase-relative-absolute-names',
    call: 'blockRebase',
    options: { data: true },
    act: (lab) => lab.domain.blockRebase('vda', lab.path('base'), 0, R.RELATIVE),
    code: OPERATION_INVALID,
    says: "can't keep relative backing relationship",
  },
  {
    id: 'rebase-copy-relative',
    call: 'blockRebase',
    act: (lab) => lab.domain.blockRebase('vda', lab.path('new'), 0, R.COPY | R.RELATIVE),
    code: ErrorCode.ARGUMENT_UNSUPPORTED,
    says: 'Relative backing during copy not supported yet',
  },
  {
    id: 'rebase-copy-persistent',
    call: 'blockRebase',
    options: { persistent: true },
    act: (lab) => lab.domain.blockRebase('vda', lab.path('new'), 0, R.COPY),
    code: OPERATION_INVALID,
    says: 'domain is not transient',
  },
];

const speeds: readonly RefusalRow[] = [
  {
    id: 'pull-overflow',
    call: 'blockPull',
    act: ({ domain }) => domain.blockPull('vda', TOO_MANY_MIB),
    ...MIB_OVERFLOW,
  },
  {
    id: 'pull-bytes-overflow',
    call: 'blockPull',
    act: ({ domain }) => domain.blockPull('vda', BEYOND, BlockPullFlags.BANDWIDTH_BYTES),
    ...NEGATIVE_SPEED,
  },
  {
    id: 'rebase-overflow',
    call: 'blockRebase',
    act: ({ domain }) => domain.blockRebase('vda', null, TOO_MANY_MIB),
    ...MIB_OVERFLOW,
  },
  {
    ...looking,
    id: 'rebase-overflow-after-base',
    act: ({ domain }) => domain.blockRebase('vda', '/nope', TOO_MANY_MIB),
    says: notBelow(() => '/nope'),
  },
  {
    id: 'rebase-copy-overflow-before-all-else',
    call: 'blockRebase',
    act: ({ domain }) => domain.blockRebase('vdz', 'x', TOO_MANY_MIB, R.COPY),
    ...MIB_OVERFLOW,
  },
  {
    id: 'rebase-copy-bytes-overflow',
    call: 'blockRebase',
    act: (lab) => lab.domain.blockRebase('vda', lab.path('new'), BEYOND, R.COPY | R.BANDWIDTH_BYTES),
    ...COPY_BYTES_OVERFLOW,
  },
];

/** Rows of pull and rebase. */
export const pullRows: readonly RefusalRow[] = [
  {
    id: 'pull-of-empty-drive',
    call: 'blockPull',
    options: { disks: ['empty'] },
    act: ({ domain }) => domain.blockPull('hdc'),
    code: ErrorCode.INTERNAL_ERROR,
    domain: ErrorDomain.NONE,
    says: "argument key 'device' must not have null value",
  },
  ...flags,
  ...bases,
  ...speeds,
];
