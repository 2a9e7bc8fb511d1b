/** Copies that go wrong inside QEMU. */
import type { Canary } from '../canary.ts';
import {
  alterCommand,
  answerCommand,
  followStatus,
  guestWriteText,
  jobsSeen,
  replaceCommand,
} from '../mutations.ts';
import { composeMutations } from '../wire.ts';

/** Canaries for the copy contracts. */
export const copyCanaries: readonly Canary[] = [
  {
    id: 'ready-too-early',
    contract: 'api/pivot-before-ready-refused',
    title: 'QEMU says that a job is ready as soon as it runs',
    wire: () => followStatus('running', 'ready', isCopy),
  },
  {
    id: 'pivot-becomes-abort',
    contract: 'api/pivot-swaps-chain',
    title: 'job-complete ends the mirror without switching to the destination',
    wire: () =>
      replaceCommand('job-complete', (args) => ({
        execute: 'block-job-cancel',
        arguments: { device: args.id ?? null },
      })),
  },
  {
    id: 'abort-becomes-pivot',
    contract: 'api/abort-keeps-source',
    title: 'block-job-cancel switches a ready mirror to its destination',
    wire: () => {
      const jobs = jobsSeen();
      const pivot = replaceCommand('block-job-cancel', ({ device = null }) =>
        jobs.status(device) === 'ready' ? { execute: 'job-complete', arguments: { id: device } } : undefined,
      );
      return composeMutations(pivot, jobs.mutation);
    },
  },
  {
    id: 'copy-starts-empty',
    contract: 'api/pivot-target-equals-guest',
    title: 'A full mirror copies only what is written after its start',
    wire: () => alterCommand('blockdev-mirror', (args) => ({ ...args, sync: 'none' })),
  },
  {
    id: 'copy-forgets-backing',
    contract: 'api/pivot-target-equals-guest',
    title: 'A full mirror copies the top image only',
    wire: () => alterCommand('blockdev-mirror', (args) => ({ ...args, sync: 'top' })),
  },
  {
    id: 'write-lost-during-job',
    contract: 'api/ready-writes-reach-both',
    title: 'A guest write is acknowledged but goes nowhere while a job runs',
    wire: () => {
      const jobs = jobsSeen();
      const lose = answerCommand('human-monitor-command', (args) =>
        guestWriteText(args) !== undefined && jobs.any() ? '' : undefined,
      );
      return composeMutations(lose, jobs.mutation);
    },
  },
  {
    id: 'write-altered-in-ready',
    contract: 'api/ready-writes-reach-both',
    title: 'A guest write in READY stores another byte',
    wire: () => {
      const jobs = jobsSeen();
      const alter = alterCommand('human-monitor-command', (args) =>
        jobs.any() ? withOtherByte(args) : undefined,
      );
      return composeMutations(alter, jobs.mutation);
    },
  },
];

function isCopy(jobId: unknown): boolean {
  return typeof jobId === 'string' && jobId.startsWith('copy-');
}

function withOtherByte(args: Parameters<typeof guestWriteText>[0]): typeof args | undefined {
  const line = guestWriteText(args);
  return line === undefined ? undefined : { ...args, 'command-line': line.replace(/-P \S+/, '-P 0x77') };
}
