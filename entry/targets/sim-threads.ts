/** The simulated target over all cores: contracts are independent of each other, and a simulation only computes. */
import { availableParallelism } from 'node:os';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { canaries, contracts, type Target } from '../../conformance/index.ts';
import type { RemoteTask, Verdict } from '../../conformance/target.ts';
import { simTarget } from './sim.ts';
import type { WorkerMessage } from './sim-worker.ts';

const MAX_THREADS = 8;

/** {@link simTarget}, with one thread per core. The verdicts are the same; only who computes them differs. */
export function simTargetInThreads(profile?: string): Target {
  const target = simTarget(profile);
  const threads = Math.min(MAX_THREADS, availableParallelism());
  if (threads === 1) return target;
  const idle: Worker[] = [];
  const all = new Set<Worker>();
  const take = () => {
    const worker =
      idle.pop() ??
      new Worker(new URL(`./sim-worker${extname(import.meta.url)}`, import.meta.url), {
        workerData: profile,
      });
    all.add(worker);
    return worker;
  };
  return {
    ...target,
    concurrency: threads,
    elsewhere(task) {
      const isKnown =
        contracts.some(({ id }) => id === task.contractId) &&
        (task.canaryId === undefined || canaries.some(({ id }) => id === task.canaryId));
      if (!isKnown) return undefined;
      const worker = take();
      return ask(worker, task).finally(() => idle.push(worker));
    },
    async close() {
      await Promise.all([...all].map((worker) => worker.terminate()));
      all.clear();
      idle.length = 0;
    },
  };
}

function ask(worker: Worker, { onCase, ...task }: RemoteTask): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    const done = (settle: () => void) => {
      worker.off('message', hear);
      worker.off('error', fail);
      settle();
    };
    const fail = (error: unknown) => done(() => reject(error));
    const hear = ({ cases, verdict }: WorkerMessage) => {
      for (let told = 0; told < cases; told++) onCase?.();
      if (verdict) done(() => resolve(verdict));
    };
    worker.on('message', hear);
    worker.on('error', fail);
    worker.postMessage(task);
  });
}
