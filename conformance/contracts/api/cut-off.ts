/** Jobs whose machine ends in the middle of them, and pivots that have to wait. */
import { BlockJobAbortFlags } from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { Lab, type LabJob } from '../../lab.ts';
import type { World } from '../../world.ts';
import { JOB_NEEDS } from './refusals/row.ts';

/** By what the machine ends. */
const ENDS = {
  destroyed: (lab: Lab) => lab.domain.destroy(),
  dead: quit,
} as const;

/** Nobody asked the manager: to it QEMU has died. */
async function quit(lab: Lab): Promise<void> {
  const at = lab.seen.length;
  await lab.monitor('quit').catch(() => undefined);
  await lab.world.until('the end of the domain', () =>
    lab.seen.slice(at).some((line) => line.startsWith('life 5 ')),
  );
}

const JOBS: readonly LabJob[] = ['pull', 'commit', 'copy', 'active-commit'];

const cutOff = (job: LabJob): Contract =>
  example({
    id: `api/cut-off/${job}`,
    title: `A ${job} whose machine ends has no event, and is kept as one that failed`,
    source:
      'libvirt 9.0, seen: STOPPED and nothing of the job; Connection.listBlockJobOutcomes says the same before and after a restart',
    needs: ['extras', ...JOB_NEEDS[job]],
    async check(world) {
      const lab = await Lab.start(world, { persistent: true, data: true });
      for (const [how, end] of Object.entries(ENDS)) {
        if (how === 'dead') await lab.domain.create();
        await lab.startJob(job);
        const at = lab.seen.length;
        await end(lab);
        const seen = lab.seen.slice(at);
        expectEqual(
          seen.filter((line) => line.startsWith('job')),
          [],
          'events of the job',
        );
        const outcomes = world.connection.listBlockJobOutcomes();
        expectEqual(
          outcomes.map(({ disk, outcome, source }) => [disk, outcome, source]),
          [['vda', 'failed', lab.path('top')]],
          `what is kept of the job of a domain that is ${how}`,
        );
        world.connection.forgetBlockJobOutcomes(lab.domain.uuid);
        if (job === 'copy') await world.connection.volumes.remove(lab.path('copy'));
      }
    },
  });

/** Long enough for a pivot that does not wait. */
const WHILE_MS = 500;

async function pivotOfPaused(world: World): Promise<void> {
  const lab = await Lab.start(world, { data: true });
  await lab.startJob('ready-copy');
  await lab.monitor('job-pause', { id: lab.jobName });
  let settled = false;
  const pivot = lab.domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT).finally(() => {
    settled = true;
  });
  await new Promise<void>((resolve) => world.timers.after(WHILE_MS, () => resolve()));
  expect(!settled, 'the pivot did not wait for the job to go on');
  expect((await lab.domain.getXMLDesc()).includes("ready='pivot'"), 'the XML does not show that it pivots');
  await lab.monitor('job-resume', { id: lab.jobName });
  await pivot;
  expectEqual(await lab.chain(), ['copy'], 'chain after the pivot');
}

/** What becomes of jobs that are not let finish. */
export const cutOffContracts: readonly Contract[] = [
  ...JOBS.map(cutOff),
  example({
    id: 'api/pivot-of-a-paused-job',
    title: 'A pivot of a READY job that is paused waits, however long, until the job goes on',
    source:
      'libvirt 9.0, seen: virDomainBlockJobAbort does not return, and the XML says ready=pivot meanwhile',
    // Jobs can be paused by the commands of whoever has synchronous writes.
    needs: ['extras', 'copy', 'readyEvent', 'synchronousWrites'],
    check: pivotOfPaused,
  }),
];
