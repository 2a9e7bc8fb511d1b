/** Pulls that go wrong inside QEMU. */
import type { Canary } from '../canary.ts';
import { alterCommand, answerCommand, guestWriteText, jobsSeen } from '../mutations.ts';
import { composeMutations } from '../wire.ts';

/** Canaries for the pull contracts. */
export const pullCanaries: readonly Canary[] = [
  {
    id: 'pull-loses-write',
    contract: 'api/pull-keeps-data',
    title: 'A guest write is acknowledged but goes nowhere while a pull runs',
    wire: () => {
      const jobs = jobsSeen();
      const lose = answerCommand('human-monitor-command', (args) =>
        guestWriteText(args) !== undefined && jobs.any() ? '' : undefined,
      );
      return composeMutations(lose, jobs.mutation);
    },
  },
  {
    id: 'pull-stops-short',
    contract: 'api/pull-drops-backing',
    title: 'A pull of the whole chain stops above the first backing image and keeps it',
    wire: () =>
      alterCommand('block-stream', (args) => {
        const below = nodeBelow(args.device);
        return below === undefined ? undefined : { ...args, 'base-node': below };
      }),
  },
];

/** The node of the image below: a chain's nodes are numbered from its active image down. */
function nodeBelow(node: unknown): string | undefined {
  const number = typeof node === 'string' ? /^libvirt-(\d+)-format$/.exec(node)?.[1] : undefined;
  return number === undefined ? undefined : `libvirt-${Number(number) + 1}-format`;
}
