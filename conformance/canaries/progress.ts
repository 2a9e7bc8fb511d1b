/** QEMUs that lie about progress and speed. */
import type { Canary } from '../canary.ts';
import { withDomains } from '../canary.ts';
import { alterCommand, alterEntries } from '../mutations.ts';

/** Canaries for the contracts about job info. */
export const progressCanaries: readonly Canary[] = [
  {
    id: 'complete-before-ready',
    contract: 'api/copy-complete-only-when-ready',
    title: 'query-block-jobs shows a running mirror as ready and complete',
    wire: () => alterEntries('query-block-jobs', (job) => ({ ...job, ready: true, offset: job.len ?? 0 })),
  },
  {
    id: 'info-without-job',
    contract: 'api/info-absent-without-job',
    title: 'A disk without a job has a job info of 0 of 1',
    api: (connection) =>
      withDomains(connection, (domain) => ({
        getBlockJobInfo: async (disk, flags) =>
          (await domain.getBlockJobInfo(disk, flags)) ?? { type: 0, bandwidth: 0, cur: 0, end: 1 },
      })),
  },
  {
    id: 'offset-beyond-length',
    contract: 'api/info-bounded',
    title: 'query-block-jobs shows more done than there is to do',
    wire: () =>
      alterEntries('query-block-jobs', (job) => ({ ...job, offset: Number(job.len ?? 0) + 65_536 })),
  },
  {
    id: 'progress-goes-back',
    contract: 'api/info-bounded',
    title: 'Every other look at a job shows half of its progress',
    wire: () => {
      let looks = 0;
      return alterEntries('query-block-jobs', (job) => ({
        ...job,
        offset: looks++ % 2 === 0 ? (job.offset ?? 0) : Math.floor(Number(job.offset ?? 0) / 2),
      }));
    },
  },
  {
    id: 'speed-divided',
    contract: 'api/speed-units',
    title: 'A speed set while the job runs is taken by QEMU as a thousandth',
    wire: () =>
      alterCommand('block-job-set-speed', (args) => ({
        ...args,
        speed: Math.floor(Number(args.speed ?? 0) / 1000),
      })),
  },
  {
    id: 'speed-rounded-down',
    contract: 'api/speed-units',
    title: 'Job info rounds MiB/s down',
    api: (connection) =>
      withDomains(connection, (domain) => ({
        async getBlockJobInfo(disk, flags = 0) {
          const info = await domain.getBlockJobInfo(disk, 1);
          if (info === null || flags === 1) return info;
          return { ...info, bandwidth: Math.floor(Number(info.bandwidth) / 1_048_576) };
        },
      })),
  },
];
