/** block-commit of an image that is not the top: merges it down, then takes it out of the chain. */
import type { Errno } from '../errno.ts';
import { CommandError } from '../errors.ts';
import { allocatedAbove, copyRange, flushNode, grow, skipFilters } from '../graph/data.ts';
import type { BlockGraph } from '../graph/graph.ts';
import type { BlockNode } from '../graph/node.ts';
import type { Effect, JobFailure, JobRun } from './effects.ts';
import type { JobHost } from './host.ts';
import type { Job, JobTask } from './job.ts';
import { copyLanded } from './mirror-copy.ts';
import type { ErrorPolicy } from './policy.ts';
import { rewriteBacking } from './stream.ts';
import { releaseBackends, releaseNodes } from './transaction.ts';
import { CHUNK_BYTES, nextWork } from './walk.ts';

/** A commit's parameters. */
export interface CommitOptions {
  readonly top: BlockNode;
  readonly base: BlockNode;
  /** What the overlay's header names afterwards; undefined: the base's own name. */
  readonly backingName: string | undefined;
  readonly onError: ErrorPolicy;
  /** The base was read-only before the job. */
  readonly baseWasReadOnly: boolean;
}

/** One running intermediate commit. */
export class CommitTask implements JobTask {
  readonly options: CommitOptions;
  /** The commit_top filter, above `top`; undefined: not there yet. */
  filter: BlockNode | undefined;

  constructor(options: CommitOptions) {
    this.options = options;
  }

  *run(job: Job): JobRun {
    const { top, base } = this.options;
    const sizeBytes = top.lengthBytes;
    skipFilters(top).hasRefcounts = true;
    job.len = sizeBytes;
    if (base.lengthBytes < sizeBytes && !grow(base, sizeBytes)) return { code: 'ENOTSUP' };
    let delayNs = 0;
    for (let offset = 0; offset < sizeBytes; ) {
      yield { type: 'sleep', ns: delayNs };
      if (job.cancelled) break;
      const unknown = job.host.statusError(top, base, offset, Math.min(CHUNK_BYTES, sizeBytes - offset));
      if (unknown !== undefined) {
        if (job.handleError(this.options.onError, 'read', unknown) === 'report') return { code: unknown };
        delayNs = job.host.costNs({ op: 'read', bytes: 0 });
        continue;
      }
      const work = nextWork(offset, sizeBytes, (at, limit) => {
        const { end, allocated } = allocatedAbove(top, base, at, limit);
        return { end, copy: allocated };
      });
      delayNs = 0;
      if (work.copy) {
        const failed = yield* this.#copy(job, offset, work.end);
        if (failed === 'retry') continue;
        if (failed) return failed;
        delayNs = job.limit.delayNs(job.host.clock.now(), work.end - offset);
      }
      job.offset += work.end - offset;
      offset = work.end;
    }
    if (!job.cancelled) job.host.reach('commit.copied');
    return undefined;
  }

  *#copy(
    job: Job,
    offset: number,
    end: number,
  ): Generator<Effect, undefined | 'retry' | JobFailure, Errno | undefined> {
    const { top, base, onError } = this.options;
    const bytes = end - offset;
    const read = yield { type: 'io', at: 'commit.read', op: 'read', node: top, offset, bytes };
    const error = read ?? (yield { type: 'io', at: 'commit.write', op: 'write', node: base, offset, bytes });
    if (error === undefined) {
      copyRange(top, base, offset, end, 'data');
      return undefined;
    }
    if (read === undefined) copyLanded(top, base, 'data');
    // Ignoring means trying the same block again, as stopping does after the resume.
    const action = job.handleError(onError, read === undefined ? 'write' : 'read', error);
    return action === 'report' ? { code: error } : 'retry';
  }

  keepsNodes(job: Job): boolean {
    return job.failure === undefined;
  }

  stage(): 'commit' {
    return 'commit';
  }

  prepare(job: Job): JobFailure | undefined {
    const { base, backingName } = this.options;
    const { graph } = job.host;
    const refused = job.host.reach('commit.before-graph-change');
    if (refused !== undefined) return { code: refused };
    releaseBackends(job, base);
    job.host.flap(base, job.host.traits.flaps.targetEnd);
    flushNode(base);
    job.host.flapBelow(this.options.top, job.host.traits.flaps.commitEnd, 'with');
    const overlays = this.#dropIntermediates(graph);
    if (overlays === undefined) return { code: 'EIO' };
    job.host.reach('commit.after-graph-change');
    const unwritten = job.host.reach('commit.header-write');
    if (unwritten !== undefined) return { code: unwritten };
    for (const overlay of overlays) rewriteBacking(overlay, base, backingName);
    job.host.reach('commit.after-header');
    return undefined;
  }

  /** Puts the base below all that lie on the filter, and names them; undefined: somebody's rights forbid that. */
  #dropIntermediates(graph: BlockGraph): readonly BlockNode[] | undefined {
    const { filter } = this;
    const overlays = (filter?.parents ?? []).flatMap(({ parent, role }) =>
      parent.kind === 'node' && role === 'backing' ? [parent.node] : [],
    );
    try {
      if (filter) graph.replace(filter, this.options.base);
      return overlays;
    } catch (error) {
      if (error instanceof CommandError) return undefined;
      throw error;
    }
  }

  #letGo(host: JobHost, job: Job): void {
    const { top, base } = this.options;
    const { targetEnd, commitEnd } = host.traits.flaps;
    // One that fails still has its base, and takes its filter out.
    if (releaseBackends(job, base)) {
      host.flap(base, targetEnd);
      host.flap(top, commitEnd);
    }
    if (releaseBackends(job, top)) host.flap(top, targetEnd);
    if (!this.keepsNodes(job)) releaseNodes(job);
  }

  clean(host: JobHost, job?: Job): void {
    const { base, baseWasReadOnly } = this.options;
    if (job) this.#letGo(host, job);
    if (this.filter) host.graph.removeFilter(this.filter);
    if (!baseWasReadOnly) return;
    host.graph.tryReopen(base, true);
    host.flapBelow(base, host.traits.flaps.reopen, 'with');
  }
}
