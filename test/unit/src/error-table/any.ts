/** Rows of every job call. */
import { startJob } from '../lab.ts';
import { ACTIVE, BUSY, INVALID, jobCalls, type Row, STATE, starters, UNSUPPORTED } from './row.ts';

export const ANY: readonly Row[] = [
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
