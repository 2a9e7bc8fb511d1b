/** APIs that take a call and do something else, or nothing. */
import { BlockJobAbortFlags, BlockResizeFlags } from '../../src/index.ts';
import { brokenDomain, type Canary, withDomains } from '../canary.ts';
import { doubleEvent, dropEvent } from '../stream-mutations.ts';

/** Calls that forget their flags, or one of them. */
const forgetful: readonly Canary[] = [
  brokenDomain('rebase-goes-through', 'rebase-keeps-base', 'A rebase pulls the base as well', (domain) => ({
    blockRebase: (disk) => domain.blockRebase(disk, null),
  })),
  brokenDomain(
    'rebase-index-ignored',
    'rebase-bandwidth-bytes',
    'A base that is given as an index is pulled as well',
    (domain) => ({
      blockRebase: (disk) => domain.blockRebase(disk, null),
    }),
  ),
  brokenDomain('rebase-relative-forgotten', 'rebase-relative', 'RELATIVE is ignored', (domain) => ({
    blockRebase: (disk, base, bandwidth) => domain.blockRebase(disk, base, bandwidth, 0),
  })),
  brokenDomain('rebase-raw-forgotten', 'rebase-copy', 'COPY_RAW is ignored', (domain) => ({
    blockRebase: (disk, base, bandwidth, flags = 0) =>
      domain.blockRebase(disk, base, bandwidth, flags & ~0x4),
  })),
  brokenDomain('rebase-shallow-forgotten', 'rebase-copy-shallow-reused', 'SHALLOW is ignored', (domain) => ({
    blockRebase: (disk, base, bandwidth, flags = 0) =>
      domain.blockRebase(disk, base, bandwidth, flags & ~0x1),
  })),
  brokenDomain('commit-shallow-forgotten', 'commit-shallow', 'SHALLOW is ignored', (domain) => ({
    blockCommit: (disk, base, top, bandwidth, flags = 0) =>
      domain.blockCommit(disk, base, top, bandwidth, flags & ~0x1),
  })),
  brokenDomain('commit-relative-forgotten', 'commit-relative', 'RELATIVE is ignored', (domain) => ({
    blockCommit: (disk, base, top, bandwidth, flags = 0) =>
      domain.blockCommit(disk, base, top, bandwidth, flags & ~0x8),
  })),
  brokenDomain('commit-delete-forgotten', 'commit-delete', 'DELETE is ignored', (domain) => ({
    blockCommit: (disk, base, top, bandwidth, flags = 0) =>
      domain.blockCommit(disk, base, top, bandwidth, flags & ~0x2),
  })),
  brokenDomain(
    'commit-deletes-unasked',
    'commit-intermediate',
    'Committed images are unlinked without being asked for',
    (domain) => ({
      blockCommit: (disk, base, top, bandwidth, flags = 0) =>
        domain.blockCommit(disk, base, top, bandwidth, flags | 0x2),
    }),
  ),
  brokenDomain('resize-in-bytes', 'resize-kib', 'A size is always taken as bytes', (domain) => ({
    blockResize: (disk, size) => domain.blockResize(disk, size, BlockResizeFlags.BYTES),
  })),
  brokenDomain('resize-in-kib', 'resize-bytes', 'A size is always taken as KiB', (domain) => ({
    blockResize: (disk, size) => domain.blockResize(disk, size, 0),
  })),
  brokenDomain(
    'inactive-shows-live',
    'persistent-definition-follows',
    'The persistent definition is the live one',
    (domain) => ({
      getXMLDesc: async (flags = 0) => (await domain.getXMLDesc(flags)).replace('/top', '/copy'),
    }),
  ),
];

const pivotForgotten = (contract: string): Canary =>
  brokenDomain(`${contract}-pivot-forgotten`, contract, 'PIVOT is ignored', (domain) => ({
    blockJobAbort: (disk, flags = 0) => domain.blockJobAbort(disk, flags & ~BlockJobAbortFlags.PIVOT),
  }));

const pivotInvented = (contract: string): Canary =>
  brokenDomain(`${contract}-pivot-invented`, contract, 'Every abort is a pivot', (domain) => ({
    blockJobAbort: (disk, flags = 0) => domain.blockJobAbort(disk, flags | BlockJobAbortFlags.PIVOT),
  }));

/** A call that does nothing at all. */
const idle = (contract: string, call: 'blockPull' | 'snapshotCreateXML' | 'attachDeviceFlags'): Canary =>
  brokenDomain(`${contract}-does-nothing`, contract, `${call} does nothing`, () => ({
    [call]: async () => undefined,
  }));

/** Canaries for what the calls do. */
export const effectCanaries: readonly Canary[] = [
  ...forgetful,
  ...['copy-synchronous-writes', 'commit-active-pivot', 'jobs-on-two-disks'].map(pivotForgotten),
  ...['commit-active-abort', 'copy-transient-job'].map(pivotInvented),
  idle('pull-whole-chain', 'blockPull'),
  idle('snapshot-disk-only', 'snapshotCreateXML'),
  idle('disk-comes-and-goes', 'attachDeviceFlags'),
  {
    id: 'threshold-told-twice',
    contract: 'api/threshold-once',
    title: 'QEMU tells of a write beyond the threshold twice',
    wire: () => doubleEvent('BLOCK_WRITE_THRESHOLD'),
  },
  {
    id: 'threshold-not-told',
    contract: 'api/threshold-once',
    title: 'QEMU does not tell of a write beyond the threshold',
    wire: () => dropEvent('BLOCK_WRITE_THRESHOLD'),
  },
  brokenDomain(
    'suspend-ends-job',
    'lifecycle-around-a-job',
    'Suspending a domain cancels its jobs',
    (domain) => ({
      async suspend() {
        await domain.blockJobAbort('vda');
        await domain.suspend();
      },
    }),
  ),
  brokenDomain('resume-not-told', 'lifecycle-around-a-job', 'A resumed domain stays suspended', () => ({
    resume: async () => undefined,
  })),
  {
    id: 'reused-file-unlinked',
    contract: 'api/copy-reused',
    title: 'An abort unlinks the destination, whoever made it',
    api: (connection) =>
      withDomains(connection, (domain) => ({
        async blockJobAbort(disk, flags) {
          const [, path = ''] = /<mirror .*?<source file='([^']*)'/s.exec(await domain.getXMLDesc()) ?? [];
          await domain.blockJobAbort(disk, flags);
          await connection.volumes.remove(path);
        },
      })),
  },
];
