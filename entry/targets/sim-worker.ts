/** One thread of the simulated target: runs the contracts it is sent, one at a time. */
import { parentPort, workerData } from 'node:worker_threads';
import { canaries, contracts } from '../../conformance/index.ts';
import { judgeHere } from '../../conformance/judge.ts';
import type { RemoteTask, Verdict } from '../../conformance/target.ts';
import { assert } from '../../src/util/assert.ts';
import { simTarget } from './sim.ts';

/** What a thread says: cases done since the last message, and at the end the verdict. */
export interface WorkerMessage {
  readonly cases: number;
  readonly verdict?: Verdict;
}

/** How many cases are told at once. */
const CASES_PER_MESSAGE = 20;

assert(parentPort, 'this module is the main one of a worker thread');
const port = parentPort;
const target = simTarget(workerData as string | undefined);

port.on('message', async ({ contractId, canaryId, seed, runs, quick }: Omit<RemoteTask, 'onCase'>) => {
  const contract = contracts.find(({ id }) => id === contractId);
  const canary = canaries.find(({ id }) => id === canaryId);
  assert(contract, `there is a contract ${contractId}`);
  let cases = 0;
  const verdict = await judgeHere({
    target,
    contract,
    ...(canary ? { canary } : {}),
    seed,
    runs,
    ...(quick ? { quick } : {}),
    onCase() {
      if (++cases < CASES_PER_MESSAGE) return;
      port.postMessage({ cases } satisfies WorkerMessage);
      cases = 0;
    },
  });
  port.postMessage({ cases, verdict } satisfies WorkerMessage);
});
