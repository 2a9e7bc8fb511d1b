/** Rows of pull and rebase. */
import { BlockPullFlags } from '../../../../src/index.ts';
import { BEYOND, INTERNAL, INVALID, OVERFLOW, R, type Row, STATE } from './row.ts';

export const PULLS: readonly Row[] = [
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
