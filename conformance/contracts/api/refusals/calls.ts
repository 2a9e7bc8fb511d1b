/** What every call of the family refuses: unknown disks, flags, domains that do not run, disks that are busy. */
import { BlockCommitFlags, BlockJobAbortFlags, ErrorCode, ErrorDomain } from '../../../../src/index.ts';
import type { Lab, LabJob } from '../../../lab.ts';
import { copyTargetXml } from '../../../vm.ts';
import type { DomainCall, RefusalRow } from './row.ts';

const { INVALID_ARG, OPERATION_INVALID, BLOCK_COPY_ACTIVE, OPERATION_UNSUPPORTED } = ErrorCode;

interface Call {
  readonly name: string;
  readonly call: DomainCall;
  readonly run: (lab: Lab, disk: string, flags: number) => Promise<unknown>;
  readonly starts?: true;
  readonly unknownFlag: readonly [flag: number, where: string];
}

const CALLS: readonly Call[] = [
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
    run: ({ domain }, disk, flags) =>
      domain.blockCommit(disk, null, null, 0, flags | BlockCommitFlags.ACTIVE),
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

const any: readonly RefusalRow[] = CALLS.flatMap(({ name, call, run, unknownFlag: [flag, where] }) => [
  ...(
    [
      ['unknown-disk', 'vdz'],
      ['empty-disk', ''],
      ['index-is-no-disk', 'vda[3]'],
    ] as const
  ).map(
    ([why, disk]): RefusalRow => ({
      id: `${name}-${why}`,
      call,
      act: (lab) => run(lab, disk, 0),
      code: INVALID_ARG,
      says: `disk '${disk}' not found in domain`,
    }),
  ),
  {
    id: `${name}-unknown-flag`,
    call,
    act: (lab) => run(lab, 'vda', flag),
    code: INVALID_ARG,
    says: `unsupported flags (0x${flag.toString(16)}) in function ${where}`,
    bare: true,
  },
  {
    id: `${name}-not-running`,
    call,
    options: { inactive: true },
    act: (lab) => run(lab, 'vda', 0),
    // The names of a commit are looked up first, and the chain of a domain that is off is not known.
    ...(name === 'commit'
      ? {
          code: INVALID_ARG,
          domain: ErrorDomain.STORAGE,
          says: "could not find base image in chain for 'vda'",
        }
      : { code: OPERATION_INVALID, domain: ErrorDomain.DOMAIN, says: 'domain is not running' }),
  },
  {
    id: `${name}-vanished`,
    call,
    given: ({ domain }) => domain.destroy(),
    act: (lab) => run(lab, 'vda', 0),
    code: ErrorCode.NO_DOMAIN,
    says: ({ domain }) => `no domain with matching uuid '${domain.uuid}' (${domain.name})`,
  },
]);

const BUSY: readonly (readonly [LabJob, number])[] = [
  ['ready-copy', BLOCK_COPY_ACTIVE],
  ['ready-active-commit', BLOCK_COPY_ACTIVE],
  ['pull', OPERATION_UNSUPPORTED],
];
const DURING: Partial<Record<LabJob, string>> = {
  'ready-copy': 'copy',
  'ready-active-commit': 'active-commit',
};

const whileBusy: readonly RefusalRow[] = CALLS.filter(({ starts }) => starts).flatMap(({ name, call, run }) =>
  BUSY.map(
    ([job, code]): RefusalRow => ({
      id: `${name}-during-${DURING[job] ?? job}`,
      call,
      options: { data: true },
      job,
      act: (lab) => run(lab, 'vda', 0),
      code,
      says: "disk 'vda' already in active block job",
    }),
  ),
);

/** Disks on the bus `sd` and those of other processes are refused as well: see `elsewhere.ts`. */
const unfit: readonly RefusalRow[] = CALLS.filter(({ starts, name }) => starts && name !== 'commit').map(
  ({ name, call, run }) => ({
    id: `${name}-of-transient-disk`,
    call,
    options: { disks: ['transient'] },
    act: (lab) => run(lab, 'vdt', 0),
    code: OPERATION_UNSUPPORTED,
    says: "block jobs are not supported on transient disk 'vdt'",
  }),
);

const { ASYNC, PIVOT } = BlockJobAbortFlags;

/** A call that waits for the domain's lock while another one holds it. */
const locked: readonly RefusalRow[] = [
  {
    id: 'info-lock-held',
    call: 'getBlockJobInfo',
    needs: ['faults', 'virtualTime', 'extras'],
    job: 'ready-copy',
    async given(lab) {
      await lab.addFaults({ at: 'monitor.event', event: 'JOB_STATUS_CHANGE', do: 'drop' });
      // It waits for an end that nobody tells of.
      lab.domain.blockJobAbort('vda').catch(() => undefined);
    },
    act: ({ domain }) => domain.getBlockJobInfo('vda'),
    code: ErrorCode.OPERATION_TIMEOUT,
    domain: ErrorDomain.NONE,
    says: 'cannot acquire state change lock (held by monitor=remoteDispatchDomainBlockJobAbort)',
  },
];

const ending: readonly RefusalRow[] = (
  [
    ['aborting', ASYNC],
    ['pivoting', ASYNC | PIVOT],
  ] as const
).map(([state, flags]) => ({
  id: `abort-while-${state}`,
  call: 'blockJobAbort',
  needs: ['faults', 'extras'],
  job: 'ready-copy',
  async given(lab) {
    await lab.addFaults({ at: 'monitor.event', event: 'JOB_STATUS_CHANGE', do: 'drop' });
    await lab.domain.blockJobAbort('vda', flags);
  },
  act: ({ domain }) => domain.blockJobAbort('vda'),
  code: OPERATION_INVALID,
  says: "block job on disk 'vda' is still being ended",
}));

/** Somebody cancels a copy past the API, and the API does not hear of it. */
async function cancelUnheard(lab: Lab): Promise<void> {
  await lab.addFaults({ at: 'monitor.event', event: 'JOB_STATUS_CHANGE', do: 'drop' });
  await lab.monitor('job-cancel', { id: lab.jobName });
  await lab.world.until('the end', async () => (await lab.monitor('query-jobs')).includes('concluded'));
}

const ends: readonly RefusalRow[] = [
  ...(['blockJobAbort', 'blockJobSetSpeed'] as const).map(
    (call): RefusalRow => ({
      id: call === 'blockJobAbort' ? 'abort-without-job' : 'set-speed-without-job',
      call,
      act: ({ domain }) => (call === 'blockJobAbort' ? domain[call]('vda') : domain[call]('vda', 1)),
      code: INVALID_ARG,
      says: 'disk vda does not have an active block job',
    }),
  ),
  {
    id: 'pivot-without-job',
    call: 'blockJobAbort',
    act: ({ domain }) => domain.blockJobAbort('vda', PIVOT),
    code: INVALID_ARG,
    says: 'disk vda does not have an active block job',
  },
  ...(['copy', 'active-commit', 'pull', 'commit'] as const).map(
    (job): RefusalRow => ({
      id: `pivot-of-running-${job}`,
      call: 'blockJobAbort',
      options: { data: true },
      job,
      act: ({ domain }) => domain.blockJobAbort('vda', PIVOT),
      code: BLOCK_COPY_ACTIVE,
      says: (lab) => `block job '${lab.jobName}' not ready for pivot yet`,
    }),
  ),
  {
    id: 'pivot-refused-by-qemu',
    call: 'blockJobAbort',
    needs: ['faults', 'extras'],
    job: 'ready-copy',
    given: cancelUnheard,
    act: ({ domain }) => domain.blockJobAbort('vda', PIVOT),
    code: ErrorCode.INTERNAL_ERROR,
    says: ({ jobName }) =>
      `unable to execute QEMU command 'job-complete': Job '${jobName}' in state 'concluded' cannot accept command verb 'complete'`,
  },
  {
    id: 'set-speed-unknown-to-qemu',
    call: 'blockJobSetSpeed',
    needs: ['faults', 'extras'],
    job: 'ready-copy',
    async given(lab) {
      await cancelUnheard(lab);
      await lab.monitor('job-dismiss', { id: lab.jobName });
    },
    act: ({ domain }) => domain.blockJobSetSpeed('vda', 1),
    code: OPERATION_INVALID,
    says: ({ jobName }) => `No active block job '${jobName}'`,
  },
  {
    id: 'pivot-that-fails',
    call: 'blockJobAbort',
    needs: ['faults', 'extras'],
    leavesTraces: true,
    job: 'ready-copy',
    async given(lab) {
      await lab.addFaults({ at: 'pivot.before-graph-change', do: 'error', errno: 'ENOSPC' });
    },
    act: ({ domain }) => domain.blockJobAbort('vda', PIVOT),
    code: ErrorCode.OPERATION_FAILED,
    says: (lab) => `block job '${lab.jobName}' failed while pivoting: No space left on device`,
  },
  {
    id: 'abort-of-destroyed',
    call: 'blockJobAbort',
    // The end of the job must not be found by looking before the domain is gone.
    needs: ['faults', 'virtualTime'],
    leavesTraces: true,
    job: 'ready-copy',
    async given(lab) {
      await lab.addFaults({ at: 'monitor.event', event: 'JOB_STATUS_CHANGE', do: 'drop' });
    },
    async act(lab) {
      const { domain } = lab;
      const abort = domain.blockJobAbort('vda');
      abort.catch(() => undefined);
      await lab.world.until('the cancelling', async () => (await lab.stateXml()).includes("ready='abort'"));
      // What is asked later is answered later: the cancelling has been accepted.
      await lab.monitor('query-jobs');
      await domain.destroy();
      return abort;
    },
    code: ErrorCode.OPERATION_FAILED,
    says: 'domain is not running',
  },
];

/** Rows that all calls share, and those of abort and set-speed. */
export const callRows: readonly RefusalRow[] = [
  ...any,
  ...whileBusy,
  ...unfit,
  ...locked,
  ...ending,
  ...ends,
];
