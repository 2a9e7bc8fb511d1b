/** Rows of abort, set-speed and info. */
import { startJob } from '../lab.ts';
import {
  ACTIVE,
  ASYNC,
  BEYOND,
  INTERNAL,
  INVALID,
  OVERFLOW,
  PIVOT,
  qemuRefuses,
  type Row,
  STATE,
} from './row.ts';

export const ENDS: readonly Row[] = [
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
