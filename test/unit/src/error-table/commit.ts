/** Rows of commit. */
import { BEYOND, C, CONFIG, INTERNAL, INVALID, OVERFLOW, type Row, STATE } from './row.ts';

export const COMMITS: readonly Row[] = [
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
