/** What the block-job calls refuse, with libvirt's code and words: one contract per row. */
import {
  BlockCommitFlags,
  BlockCopyFlags,
  BlockJobAbortFlags,
  BlockRebaseFlags,
  BlockResizeFlags,
  type Domain,
  ErrorCode,
  SnapshotCreateFlags,
} from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expectEqual, expectRefused } from '../../expect.ts';
import { diskXml, Lab, type LabOptions } from '../../lab.ts';
import { copyTargetXml } from '../../vm.ts';

/** A call of the block-job family that canaries know by name. */
export type DomainCall = {
  [K in keyof Domain]: Domain[K] extends (...args: never[]) => Promise<unknown> ? K : never;
}[keyof Domain];

/** One refusal. */
export interface RefusalRow {
  readonly id: string;
  readonly call: DomainCall;
  readonly options?: LabOptions;
  /** Brings the domain into the situation. */
  readonly given?: (lab: Lab) => Promise<unknown>;
  readonly act: (lab: Lab) => Promise<unknown>;
  readonly code: number;
  /** The words behind the code's own. */
  readonly says: string;
}

const R = BlockRebaseFlags;
const C = BlockCommitFlags;
const HUGE = 8_796_093_022_208;
const { INVALID_ARG, OPERATION_INVALID, BLOCK_COPY_ACTIVE, OVERFLOW, XML_ERROR } = ErrorCode;

type Job = (lab: Lab, disk: string, flags: number) => Promise<unknown>;
const CALLS: readonly {
  readonly name: string;
  readonly call: DomainCall;
  readonly run: Job;
  readonly starts?: true;
  readonly unknownFlag: readonly [flag: number, where: string];
}[] = [
  {
    name: 'pull',
    call: 'blockPull',
    starts: true,
    unknownFlag: [0x1, 'qemuDomainBlockPull'],
    run: ({ domain }, disk, flags) => domain.blockPull(disk, 0, flags),
  },
  {
    name: 'rebase',
    call: 'blockRebase',
    starts: true,
    unknownFlag: [0x80, 'qemuDomainBlockRebase'],
    run: ({ domain }, disk, flags) => domain.blockRebase(disk, null, 0, flags),
  },
  {
    name: 'copy',
    call: 'blockCopy',
    starts: true,
    unknownFlag: [0x10, 'qemuDomainBlockCopy'],
    run: (lab, disk, flags) => lab.domain.blockCopy(disk, copyTargetXml(lab.path('new'), 'qcow2'), {}, flags),
  },
  {
    name: 'commit',
    call: 'blockCommit',
    starts: true,
    unknownFlag: [0x20, 'qemuDomainBlockCommit'],
    run: ({ domain }, disk, flags) => domain.blockCommit(disk, null, null, 0, flags | C.ACTIVE),
  },
  {
    name: 'abort',
    call: 'blockJobAbort',
    unknownFlag: [0x4, 'qemuDomainBlockJobAbort'],
    run: ({ domain }, disk, flags) => domain.blockJobAbort(disk, flags),
  },
  {
    name: 'info',
    call: 'getBlockJobInfo',
    unknownFlag: [0x2, 'qemuDomainGetBlockJobInfo'],
    run: ({ domain }, disk, flags) => domain.getBlockJobInfo(disk, flags),
  },
  {
    name: 'set-speed',
    call: 'blockJobSetSpeed',
    unknownFlag: [0x2, 'qemuDomainBlockJobSetSpeed'],
    run: ({ domain }, disk, flags) => domain.blockJobSetSpeed(disk, 1, flags),
  },
];

const anyCall: readonly RefusalRow[] = CALLS.flatMap(({ name, call, run, unknownFlag: [flag, where] }) => [
  {
    id: `${name}-unknown-disk`,
    call,
    act: (lab) => run(lab, 'vdz', 0),
    code: INVALID_ARG,
    says: "disk 'vdz' not found in domain",
  },
  {
    id: `${name}-empty-disk`,
    call,
    act: (lab) => run(lab, '', 0),
    code: INVALID_ARG,
    says: "disk '' not found in domain",
  },
  {
    id: `${name}-index-is-no-disk`,
    call,
    act: (lab) => run(lab, 'vda[3]', 0),
    code: INVALID_ARG,
    says: "disk 'vda[3]' not found in domain",
  },
  {
    id: `${name}-unknown-flag`,
    call,
    act: (lab) => run(lab, 'vda', flag),
    code: INVALID_ARG,
    says: `unsupported flags (0x${flag.toString(16)}) in function ${where}`,
  },
  {
    id: `${name}-not-running`,
    call,
    options: { inactive: true },
    act: (lab) => run(lab, 'vda', 0),
    ...(name === 'commit'
      ? { code: INVALID_ARG, says: "could not find base image in chain for 'vda'" }
      : { code: OPERATION_INVALID, says: 'domain is not running' }),
  },
]);

const BUSY = "disk 'vda' already in active block job";
const startCopy = async (lab: Lab) => {
  await lab.copy();
  await lab.ready();
};
const startActiveCommit = async (lab: Lab) => {
  await lab.domain.blockCommit('vda', null, null, 0, C.ACTIVE);
  await lab.ready();
};

const whileBusy: readonly RefusalRow[] = CALLS.filter(({ starts }) => starts).flatMap(
  ({ name, call, run }) => [
    {
      id: `${name}-during-copy`,
      call,
      given: startCopy,
      act: (lab) => run(lab, 'vda', 0),
      code: BLOCK_COPY_ACTIVE,
      says: BUSY,
    },
    {
      id: `${name}-during-active-commit`,
      call,
      given: startActiveCommit,
      act: (lab) => run(lab, 'vda', 0),
      code: BLOCK_COPY_ACTIVE,
      says: BUSY,
    },
  ],
);

const guards: readonly RefusalRow[] = [
  {
    id: 'snapshot-during-copy',
    call: 'snapshotCreateXML',
    given: startCopy,
    act: (lab) => lab.snapshot(SnapshotCreateFlags.DISK_ONLY),
    code: BLOCK_COPY_ACTIVE,
    says: BUSY,
  },
  {
    id: 'detach-during-copy',
    call: 'detachDeviceFlags',
    given: startCopy,
    act: (lab) => lab.domain.detachDeviceFlags(diskXml('vda', lab.path('top'))),
    code: BLOCK_COPY_ACTIVE,
    says: BUSY,
  },
  {
    id: 'save-during-copy',
    call: 'save',
    given: startCopy,
    act: (lab) => lab.domain.save(lab.path('state')),
    code: OPERATION_INVALID,
    says: 'domain has active block job',
  },
  {
    id: 'migrate-during-copy',
    call: 'migrateToURI',
    given: startCopy,
    act: (lab) => lab.domain.migrateToURI('qemu:///x'),
    code: OPERATION_INVALID,
    says: 'domain has active block job',
  },
];

const rebases: readonly RefusalRow[] = [
  ...(['SHALLOW', 'REUSE_EXT', 'COPY_RAW', 'COPY_DEV'] as const).map(
    (flag): RefusalRow => ({
      id: `rebase-${flag.toLowerCase().replace('_', '-')}-without-copy`,
      call: 'blockRebase',
      act: ({ domain }) => domain.blockRebase('vda', null, 0, R[flag]),
      code: INVALID_ARG,
      says: 'use of flags requires a copy job',
    }),
  ),
  {
    id: 'rebase-copy-without-base',
    call: 'blockRebase',
    act: ({ domain }) => domain.blockRebase('vda', null, 0, R.COPY),
    code: INVALID_ARG,
    says: 'base in virDomainBlockRebase must not be NULL',
  },
  {
    id: 'rebase-relative-without-base',
    call: 'blockRebase',
    act: ({ domain }) => domain.blockRebase('vda', null, 0, R.RELATIVE),
    code: INVALID_ARG,
    says: 'flag VIR_DOMAIN_BLOCK_REBASE_RELATIVE is valid only with non-null base',
  },
  {
    id: 'rebase-copy-relative',
    call: 'blockRebase',
    act: (lab) => lab.domain.blockRebase('vda', lab.path('new'), 0, R.COPY | R.RELATIVE),
    code: ErrorCode.ARGUMENT_UNSUPPORTED,
    says: 'Relative backing during copy not supported yet',
  },
  {
    id: 'rebase-overflow',
    call: 'blockRebase',
    act: ({ domain }) => domain.blockRebase('vda', null, HUGE),
    code: OVERFLOW,
    says: 'bandwidth must be less than 8796093022207',
  },
  {
    id: 'rebase-unknown-index',
    call: 'blockRebase',
    act: ({ domain }) => domain.blockRebase('vda', 'vda[77]'),
    code: INVALID_ARG,
    says: "could not find backing store index '77' in chain for 'vda'",
  },
  {
    id: 'rebase-index-of-other-disk',
    call: 'blockRebase',
    act: ({ domain }) => domain.blockRebase('vda', 'vdb[4]'),
    code: INVALID_ARG,
    says: "requested target 'vdb' does not match target 'vda'",
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

const others: readonly RefusalRow[] = [
  {
    id: 'pull-overflow',
    call: 'blockPull',
    act: ({ domain }) => domain.blockPull('vda', HUGE),
    code: OVERFLOW,
    says: 'bandwidth must be less than 8796093022207',
  },
  {
    id: 'copy-granularity',
    call: 'blockCopy',
    act: (lab) => lab.domain.blockCopy('vda', copyTargetXml(lab.path('new'), 'qcow2'), { granularity: 3 }),
    code: INVALID_ARG,
    says: 'granularity must be power of 2',
  },
  {
    id: 'copy-other-root',
    call: 'blockCopy',
    act: ({ domain }) => domain.blockCopy('vda', '<foo/>'),
    code: XML_ERROR,
    says: "expecting root element of 'disk', not 'foo'",
  },
  {
    id: 'copy-relative-path',
    call: 'blockCopy',
    act: ({ domain }) => domain.blockCopy('vda', copyTargetXml('x', 'qcow2')),
    code: INVALID_ARG,
    says: 'absolute path must be used as block copy target',
  },
  {
    id: 'copy-persistent',
    call: 'blockCopy',
    options: { persistent: true },
    act: (lab) => lab.copy(),
    code: OPERATION_INVALID,
    says: 'domain is not transient',
  },
  {
    id: 'commit-unflagged-active',
    call: 'blockCommit',
    act: ({ domain }) => domain.blockCommit('vda'),
    code: INVALID_ARG,
    says: "commit of 'vda' active layer requires active flag",
  },
  {
    id: 'commit-single-image',
    call: 'blockCommit',
    act: ({ domain }) => domain.blockCommit('vdb', null, null, 0, C.ACTIVE),
    code: INVALID_ARG,
    says: "could not find base image in chain for 'vdb'",
  },
  {
    id: 'commit-unknown-base',
    call: 'blockCommit',
    act: ({ domain }) => domain.blockCommit('vda', 'nope', 'mid'),
    code: INVALID_ARG,
    says: "could not find image 'nope' beneath",
  },
  {
    id: 'abort-without-job',
    call: 'blockJobAbort',
    act: ({ domain }) => domain.blockJobAbort('vda'),
    code: INVALID_ARG,
    says: 'disk vda does not have an active block job',
  },
  {
    id: 'pivot-without-job',
    call: 'blockJobAbort',
    act: ({ domain }) => domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT),
    code: INVALID_ARG,
    says: 'disk vda does not have an active block job',
  },
  {
    id: 'set-speed-without-job',
    call: 'blockJobSetSpeed',
    act: ({ domain }) => domain.blockJobSetSpeed('vda', 1),
    code: INVALID_ARG,
    says: 'disk vda does not have an active block job',
  },
  {
    id: 'set-speed-overflow',
    call: 'blockJobSetSpeed',
    given: startCopy,
    act: ({ domain }) => domain.blockJobSetSpeed('vda', HUGE),
    code: OVERFLOW,
    says: 'bandwidth must be less than 8796093022207',
  },
  {
    id: 'resize-unknown-disk',
    call: 'blockResize',
    act: ({ domain }) => domain.blockResize('vdz', 4096),
    code: INVALID_ARG,
    says: 'vdz',
  },
  {
    id: 'resize-unknown-flag',
    call: 'blockResize',
    act: ({ domain }) => domain.blockResize('vda', 4096, BlockResizeFlags.BYTES | 0x2),
    code: INVALID_ARG,
    says: 'unsupported flags (0x2) in function qemuDomainBlockResize',
  },
  {
    id: 'threshold-unknown-disk',
    call: 'setBlockThreshold',
    act: ({ domain }) => domain.setBlockThreshold('vdz', 4096),
    code: INVALID_ARG,
    says: 'vdz',
  },
];

/** Every refusal. */
export const refusalRows: readonly RefusalRow[] = [
  ...anyCall,
  ...whileBusy,
  ...guards,
  ...rebases,
  ...others,
].map((row) => ({
  ...row,
  id: `api/refused/${row.id}`,
}));

/** One contract per refusal. */
export const refusalContracts: readonly Contract[] = refusalRows.map(
  ({ id, call, options, given, act, code, says }) =>
    example({
      id,
      title: `${call} is refused with code ${code}: ${says}`,
      source: 'libvirt 9.0 qemu_driver.c, qemu_domain.c, qemu_block.c: the checks before a block job starts',
      needs: ['copy', 'pull', 'commit', 'activeCommit', 'readyEvent', 'extras'],
      async check(world) {
        const lab = await Lab.start(world, options);
        await given?.(lab);
        const before = await lab.domain.getXMLDesc();
        const error = await expectRefused(act(lab), code, call);
        if (!error.message.includes(says))
          expectEqual(error.message, says, `words of the refusal of ${call}`);
        expectEqual(await lab.domain.getXMLDesc(), before, 'domain XML after the refusal');
        expectEqual(await lab.present(['new']), [], 'files after the refusal');
      },
    }),
);

/** Flags that no row names are held here: a copy of a persistent domain that says TRANSIENT_JOB is taken. */
export const transientJob = example({
  id: 'api/copy-transient-job',
  title: 'A persistent domain is copied with TRANSIENT_JOB, and after an abort stands on its source',
  source: 'virDomainBlockCopy: VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB',
  needs: ['copy', 'readyEvent', 'extras'],
  async check(world) {
    const lab = await Lab.start(world, { persistent: true });
    await lab.copy(BlockCopyFlags.TRANSIENT_JOB);
    await lab.ready();
    await lab.domain.blockJobAbort('vda');
    expectEqual(await lab.chain(), ['top', 'mid', 'low', 'base'], 'chain after the abort');
  },
});
