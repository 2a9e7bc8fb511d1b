/**
 * Runs many random sequences of calls, guest writes, faults, crashes and restarts and holds each to a plain model:
 * `npm run random-sequences -- --help` lists the options. A failure is made as small as it gets and printed as a test.
 */
import { availableParallelism } from 'node:os';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import fc from 'fast-check';
import { type CallSequence, callSequences, runCalls, type Target } from '../conformance/index.ts';
import { foundQemuTargets, qemuTarget } from '../entry/targets/qemu.ts';
import { simTarget } from '../entry/targets/sim.ts';
import { count, values, wrong } from './options.ts';

const HELP = `usage: npm run random-sequences -- [options]
  --runs N       how many sequences (5000)
  --steps N      calls of each (30)
  --seed S       of the first one (1)
  --path PATH    replays one failure of a seed
  --target NAME  sim, qemu or qemu=PATH (sim)
  --threads N    how many run at once (one for each core)
`;

/** No sequence takes so long, not on a real QEMU either. */
const HANG_MS = 600_000;

/** One share of the work. */
interface Share {
  readonly runs: number;
  readonly seed: number;
  readonly steps: number;
  readonly target: string;
  readonly path: string | undefined;
}

async function targetNamed(name: string): Promise<Target | undefined> {
  if (name === 'sim') return simTarget();
  if (name === 'qemu') return (await foundQemuTargets())[0];
  return name.startsWith('qemu=') ? qemuTarget(name.slice('qemu='.length)) : undefined;
}

/** Runs a share; undefined if all of it agrees, otherwise what a person needs to see it again. */
async function runShare({ runs, seed, steps, target: name, path }: Share): Promise<string | undefined> {
  const target = (await targetNamed(name)) as Target;
  const run = async ({ setup, calls }: CallSequence) => {
    const session = await target.open({ seed: 1 });
    const hung = Promise.withResolvers<never>();
    const watch = setTimeout(() => hung.reject(new Error('the sequence hung')), HANG_MS);
    try {
      await Promise.race([runCalls(session, setup, calls).finally(() => session.dispose()), hung.promise]);
    } finally {
      clearTimeout(watch);
    }
  };
  const details = await fc.check(fc.asyncProperty(callSequences(steps, steps), run), {
    numRuns: runs,
    seed,
    ...(path === undefined ? {} : { path }),
  });
  await target.close?.();
  if (!details.failed) return undefined;
  const [smallest] = details.counterexample ?? [];
  const where = `--seed ${seed} --path ${details.counterexamplePath} --steps ${steps} --target ${name}`;
  return `${details.errorInstance}\n\n${smallest}\n\nagain: npm run random-sequences -- ${where}`;
}

/** A share in a thread of its own. Most calls are refused; nobody reads where each refusal came from. */
async function inThread(share: Share): Promise<void> {
  Error.stackTraceLimit = 0;
  parentPort?.postMessage({ text: await runShare(share) });
}

/** Threads on the simulation, which computes; on real ones, which wait, all in this thread. */
function elsewhere(share: Share): Promise<string | undefined> {
  if (share.target !== 'sim') return runShare(share);
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), {
      workerData: share,
      // A sequence lives and dies young: collected in larger pieces, less of it is copied first.
      resourceLimits: { maxYoungGenerationSizeMb: 64 },
    });
    worker.once('message', (failure: { readonly text?: string }) => resolve(failure.text));
    worker.once('error', reject);
  });
}

async function main(): Promise<void> {
  const given = values(HELP, {
    runs: '5000',
    steps: '30',
    seed: '1',
    path: undefined as string | undefined,
    target: 'sim',
    threads: String(availableParallelism()),
  });
  const runs = count('runs', given.runs, 1);
  const steps = count('steps', given.steps, 1);
  const seed = count('seed', given.seed, 0);
  const threads = given.path === undefined ? Math.min(runs, count('threads', given.threads, 1)) : 1;
  const target = await targetNamed(given.target);
  if (!target) wrong(`--target '${given.target}': use one of sim, qemu, qemu=PATH`);
  const availability = await target.available();
  if (!availability.ok) wrong(`--target '${given.target}': ${availability.reason}`);
  const began = performance.now();
  const shares = Array.from({ length: threads }, (_, thread) => ({
    runs: Math.ceil((runs - thread) / threads),
    seed: seed + thread,
    steps,
    target: given.target,
    path: given.path,
  }));
  const failures = (await Promise.all(shares.map(elsewhere))).filter((text) => text !== undefined);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  for (const text of failures) process.stdout.write(`${text}\n\n`);
  const { user, system } = process.cpuUsage();
  const busy = ((user + system) / 1e6).toFixed(1);
  process.stdout.write(
    `${runs} sequences of ${steps} calls on ${given.target}, seed ${seed}, ${threads} at once: ${failures.length} failed, ${seconds} s (${busy} s of CPU)\n`,
  );
  process.exitCode = failures.length === 0 ? 0 : 1;
}

if (isMainThread) await main();
else await inThread(workerData as Share);
