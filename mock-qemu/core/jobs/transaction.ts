/** How jobs end: alone or as a group, by themselves or by hand. */
import { holdsOn } from '../graph/data.ts';
import type { BlockNode } from '../graph/node.ts';
import type { JobHost } from './host.ts';
import type { Job } from './job.ts';

/** Jobs that succeed or fail together. A job without company is in a transaction of its own. */
export class JobTransaction {
  /** Newest first: the order in which members are settled. */
  readonly members: Job[] = [];
  #aborting = false;
  /** Those that have begun to end for good. */
  readonly #settling = new Set<Job>();
  readonly #gone: (job: Job) => void;

  /** @param gone called when a job is dismissed. */
  constructor(gone: (job: Job) => void) {
    this.#gone = gone;
  }

  add(job: Job): void {
    this.members.unshift(job);
    job.transaction = this;
  }

  /** A member's generator has ended. */
  ended(job: Job): void {
    // Settled already, by the end of the process or of another member.
    if (!this.members.includes(job) || this.#settling.has(job)) return;
    if (job.failure === undefined && job.cancelled) job.failure = { code: 'ECANCELED' };
    if (this.#aborting) this.#settle(job);
    else if (job.failure) this.abort(job);
    else this.#succeeded(job);
  }

  /** Finishes every member that is pending; job-finalize. */
  finalize(): void {
    const [first] = this.members;
    if (first) waitOut(first.host, () => this.#prepareAll());
  }

  #prepareAll(): () => void {
    for (const job of [...this.members]) {
      const failure = job.task.prepare?.(job);
      if (failure) {
        job.failure = failure;
        return () => this.abort(job);
      }
    }
    return () => this.#settleAll([...this.members]);
  }

  /** Settles jobs one after the other; the first one may let others end before it is through. */
  #settleAll([job, ...rest]: readonly Job[], then: () => void = () => undefined): void {
    if (job) this.#settle(job, () => this.#settleAll(rest, then));
    else then();
  }

  /** Ends a job that has not been started; it does not wait to be dismissed. */
  drop(job: Job): void {
    job.transition('aborting');
    job.task.clean?.(job.host);
    releaseNodes(job);
    this.members.splice(this.members.indexOf(job), 1);
    job.transition('concluded');
    this.#dismiss(job);
  }

  /** One member fails: all others are cancelled, and settled as soon as they stand still. */
  abort(first: Job): void {
    if (this.#aborting) return;
    this.#aborting = true;
    const others = this.members.filter((job) => job !== first);
    for (const job of others) job.markCancelled(true);
    this.#settle(first, () => {
      for (const job of others) {
        if (!job.deferred) job.poke();
        // One that has come to its end meanwhile may be settled by now.
        else if (!this.#settling.has(job)) this.#settle(job);
      }
    });
  }

  #succeeded(job: Job): void {
    job.transition('waiting');
    if (this.members.some((member) => member.status !== 'waiting')) return;
    for (const member of [...this.members]) {
      member.transition('pending');
      if (!member.autoFinalize && member.isBlockJob) {
        member.host.emit('BLOCK_JOB_PENDING', { type: member.type, id: member.id });
      }
    }
    if (this.members.every((member) => member.autoFinalize)) this.finalize();
  }

  #settle(job: Job, then: () => void = () => undefined): void {
    this.#settling.add(job);
    if (job.failure === undefined && job.cancelled) job.failure = { code: 'ECANCELED' };
    if (job.failure) {
      job.transition('aborting');
      job.task.abort?.(job);
    }
    const tell = () => {
      this.#tell(job);
      then();
    };
    waitOut(job.host, () => {
      job.task.clean?.(job.host, job);
      if (job.autoDismiss || !job.task.keepsNodes?.(job)) releaseNodes(job);
      return () => (job.isBlockJob ? job.host.flapAll(job.host.traits.flaps.jobEnd, tell) : tell());
    });
  }

  #tell(job: Job): void {
    const stage = job.task.stage?.();
    if (stage) job.host.reach(`${stage}.before-event`);
    if (job.cancelled) job.emitBlockEvent('BLOCK_JOB_CANCELLED');
    else job.emitBlockEvent('BLOCK_JOB_COMPLETED', job.error);
    if (stage) job.host.reach(`${stage}.after-event`);
    this.members.splice(this.members.indexOf(job), 1);
    job.transition('concluded');
    if (job.autoDismiss) this.#dismiss(job);
  }

  #dismiss(job: Job): void {
    job.transition('null');
    this.#gone(job);
  }
}

/** Does a step of a job's end, and what comes next when all drained sections that the step began are over. */
function waitOut(host: JobHost, step: () => () => void): void {
  const { sections } = host;
  const next = step();
  if (host.sections > sections) host.whenStill(next);
  else next();
}

/** Gives back every node that a job held and blocked; what held the nodes does not hold the job any more. */
export function releaseNodes(job: Job): void {
  for (const { child, parent } of job.edges) {
    const index = child.blockers.indexOf(job.blocker);
    if (index >= 0) child.blockers.splice(index, 1);
    if (parent.kind === 'job') job.pauseCount = Math.max(0, job.pauseCount - holdsOn(child));
  }
  for (const edge of job.edges.splice(0)) job.host.graph.letGo(edge);
}

/**
 * Gives back the backends through which a job reads or writes; it still holds the nodes.
 * @param node only those of this node
 * @returns whether it had any
 */
export function releaseBackends(job: Job, node?: BlockNode): boolean {
  const given = job.edges.filter(
    ({ parent, child }) => parent.kind === 'job-backend' && (node === undefined || child === node),
  );
  for (const edge of given) {
    job.edges.splice(job.edges.indexOf(edge), 1);
    job.host.graph.letGo(edge);
  }
  return given.length > 0;
}
