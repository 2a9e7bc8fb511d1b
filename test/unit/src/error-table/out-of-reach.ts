/** Rows of the table that this project cannot get into, each with its reason. */
export const OUT_OF_REACH: readonly (readonly [api: string, when: string, why: string])[] = [
  ['any', 'read-only connection', 'connections are always read-write: there is no second socket to open'],
  [
    'pull/rebase/copy/commit',
    'checkpoints exist and QEMU lacks incremental backup',
    'there are no checkpoints',
  ],
  ['pull/rebase/copy/commit', 'vhost-user disk', 'such a disk is refused when the domain is defined'],
  ['resize', 'vhost-user disk', 'such a disk is refused when the domain is defined'],
  [
    'copy',
    'REUSE, format unknown and not probeable',
    'libvirt says so of files that it cannot read and of network storage: here what cannot be read is missing',
  ],
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
];
