/** All jobs of one machine, and the verbs that act on them. */
import { refuse } from '../errors.ts';
import { holdsOn } from '../graph/data.ts';
import { isIdentifier } from '../graph/graph.ts';
import type { BlockNode, Edge, JobRole } from '../graph/node.ts';
import { NO_RIGHTS, type Rights } from '../rights.ts';
import type { JobHost } from './host.ts';
import { Job, type JobOptions, type JobTask } from './job.ts';
import { JobTransaction, releaseNodes } from './transaction.ts';

/** A node that a job uses. */
export interface HeldNode {
  readonly node: BlockNode;
  readonly as: JobRole;
  /** Left out: none. */
  readonly rights?: Rights;
}

/** A new job, with what it holds. */
export interface NewJob extends JobOptions {
  readonly task: JobTask;
  readonly speedBytesPerSecond?: number | bigint | undefined;
  /** Nodes that the job uses and blocks for others from the start. */
  readonly nodes: readonly HeldNode[];
  readonly transaction?: JobTransaction | undefined;
}

/** The jobs of a machine. */
export class JobRegistry {
  /** Newest first, as queries list them. */
  readonly jobs: Job[] = [];
  readonly #host: JobHost;
  readonly #whenGone = new Map<Job, () => void>();

  constructor(host: JobHost) {
    this.#host = host;
  }

  find(id: string): Job | undefined {
    return this.jobs.find((job) => job.id === id);
  }

  /** Creates a job; refuses a bad id, then a bad speed. It does not run yet. */
  create(options: NewJob): Job {
    const { id } = options;
    if (!isIdentifier(id)) refuse(`Invalid job ID '${id}'`);
    if (this.find(id)) refuse(`Job ID '${id}' already in use`);
    const job = new Job(this.#host, options, options.task);
    const speed = options.speedBytesPerSecond ?? 0;
    if (speed < 0) {
      job.transition('null');
      refuse("Parameter 'speed' expects a non-negative value");
    }
    job.setSpeed(speed);
    this.jobs.unshift(job);
    (options.transaction ?? this.newTransaction()).add(job);
    try {
      for (const held of options.nodes) this.use(job, held);
    } catch (error) {
      this.discard(job);
      throw error;
    }
    return job;
  }

  /** Calls back once, when the job has ended and its last event has been sent. */
  whenGone(job: Job, then: () => void): void {
    this.#whenGone.set(job, then);
  }

  /** Lets a job read or write through a backend of its own; refused where others forbid that. */
  addBackend(job: Job, node: BlockNode, rights: Rights): Edge {
    const edge = this.#host.graph.hold({ kind: 'job-backend', jobId: job.id }, 'root', node, rights);
    job.edges.push(edge);
    return edge;
  }

  /** Lets a job use a node, and blocks it for others; refused where somebody has rights that do not go with that. */
  use(job: Job, { node, as, rights = NO_RIGHTS }: HeldNode): void {
    const parent = { kind: 'job', jobId: job.id, jobType: job.type } as const;
    job.edges.push(this.#host.graph.hold(parent, as, node, rights));
    node.blockers.push(job.blocker);
    for (let holds = holdsOn(node); holds > 0; holds--) job.pause();
  }

  /** Drops a job that cannot be started after all. */
  discard(job: Job): void {
    job.transition('null');
    this.forget(job);
  }

  newTransaction(): JobTransaction {
    return new JobTransaction((job) => this.#remove(job));
  }

  /** block-job-pause, job-pause. */
  userPause(job: Job): void {
    job.checkVerb('pause');
    if (job.userPaused) refuse('Job is already paused');
    job.userPaused = true;
    job.pause(this.#host.traits.pauseShows === 'when-woken');
  }

  /** block-job-resume, job-resume. */
  userResume(job: Job): void {
    if (!job.userPaused || job.pauseCount <= 0) refuse("Can't resume a job that was not paused");
    job.checkVerb('resume');
    job.ioStatus = 'ok';
    job.userPaused = false;
    job.resume();
  }

  /** block-job-cancel, job-cancel. */
  userCancel(job: Job, force: boolean): void {
    job.checkVerb('cancel');
    job.markCancelled(force);
    if (!job.deferred) job.poke();
    else if (job.cancelled) job.transaction?.abort(job);
  }

  /** block-job-complete, job-complete. */
  userComplete(job: Job): void {
    job.checkVerb('complete');
    if (job.status === 'standby' && !this.#host.traits.completeInStandby) {
      refuse(`Job '${job.id}' in state 'standby' cannot accept command verb 'complete'`);
    }
    if (job.cancelRequested || job.task.complete === undefined) {
      refuse(`The active block job '${job.id}' cannot be completed`);
    }
    job.task.complete(job);
  }

  /** block-job-finalize, job-finalize. */
  userFinalize(job: Job): void {
    job.checkVerb('finalize');
    job.transaction?.finalize();
  }

  /** block-job-dismiss, job-dismiss. */
  userDismiss(job: Job): void {
    job.checkVerb('dismiss');
    job.transition('null');
    this.#remove(job);
  }

  /** block-job-set-speed. */
  userSetSpeed(job: Job, bytesPerSecond: number | bigint): void {
    job.checkVerb('set-speed');
    if (bytesPerSecond < 0) refuse("Parameter 'speed' expects a non-negative value");
    job.setSpeed(bytesPerSecond);
  }

  /** The process ends: every job is cancelled, concluded ones go. */
  cancelAll(afterEach: () => void): void {
    for (const job of [...this.jobs]) {
      if (!this.jobs.includes(job)) continue;
      if (job.status === 'concluded') this.userDismiss(job);
      else if (job.deferred) {
        job.markCancelled(true);
        job.transaction?.abort(job);
      } else {
        const completes = job.ready && this.#host.traits.quitReadyJobs === 'completed';
        job.cancelled = !completes;
        job.cancelRequested = true;
        if (completes) job.task.finishNow?.();
        job.abandon();
      }
      afterEach();
      if (this.jobs.includes(job) && job.status === 'concluded') this.userDismiss(job);
    }
  }

  /** Drops a job that was never started, after it has been marked as gone. */
  forget(job: Job): void {
    const members = job.transaction?.members ?? [];
    members.splice(members.indexOf(job), 1);
    this.#remove(job);
  }

  #remove(job: Job): void {
    releaseNodes(job);
    this.jobs.splice(this.jobs.indexOf(job), 1);
    this.#whenGone.get(job)?.();
    this.#whenGone.delete(job);
  }
}
