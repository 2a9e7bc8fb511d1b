/** block-stream: pulls what is allocated below a node into it, then drops the images that are no longer needed. */
import type { Errno } from '../errno.ts';
import { noteHeader, takeLanded } from '../graph/blkdebug.ts';
import { allocatedAbove, backingOf, belowOf, readAt, skipFilters } from '../graph/data.ts';
import { fileNameOf } from '../graph/names.ts';
import type { BlockNode } from '../graph/node.ts';
import type { Effect, JobFailure, JobRun } from './effects.ts';
import type { JobHost } from './host.ts';
import type { Job, JobTask } from './job.ts';
import { sameKind } from './mirror-copy.ts';
import type { ErrorAction, ErrorPolicy } from './policy.ts';
import { releaseBackends } from './transaction.ts';
import { CHUNK_BYTES, nextWork } from './walk.ts';

/** A stream's parameters. */
export interface StreamOptions {
  /** What is filled. */
  readonly top: BlockNode;
  /** The lowest node whose data is pulled; what lies below it when the job ends, stays there. */
  readonly bottom: BlockNode;
  /** What the header names as backing file afterwards; undefined: the base's own name. */
  readonly backingName: string | undefined;
  /** The copy-on-read filter. */
  readonly filter: BlockNode;
  readonly onError: ErrorPolicy;
  /** What is filled was read-only before the job. */
  readonly wasReadOnly: boolean;
}

/** One running stream. */
export class StreamTask implements JobTask {
  readonly options: StreamOptions;
  #ignored: JobFailure | undefined;
  #ran = false;
  #prepared = false;

  constructor(options: StreamOptions) {
    this.options = options;
  }

  /** What stays below the image. A reopening of the bottom may exchange it under way. */
  get #base(): BlockNode | undefined {
    return belowOf(this.options.bottom);
  }

  *run(job: Job): JobRun {
    const { top, filter } = this.options;
    const base = this.#base;
    const image = skipFilters(top);
    image.hasRefcounts = true;
    this.#ran = true;
    if (backingOf(image) === undefined) return undefined;
    if (base !== undefined && backingOf(image) === skipFilters(base)) return undefined;
    const sizeBytes = image.lengthBytes;
    job.len = sizeBytes;
    filter.hooks = { beforeRead: (start, end) => this.#copyOnRead(image, start, end) };
    let delayNs = 0;
    for (let offset = 0; offset < sizeBytes && !job.cancelled; ) {
      yield { type: 'sleep', ns: delayNs };
      if (job.cancelled) break;
      const most = Math.min(CHUNK_BYTES, sizeBytes - offset);
      const unknown = job.host.statusError(image, this.#base, offset, most);
      if (unknown !== undefined) {
        if (this.#failed(job, unknown) === 'report') return { code: unknown };
        // Whatever was decided: without knowing there is nothing to go on with.
        delayNs = job.host.costNs({ op: 'read', bytes: 0 });
        continue;
      }
      const work = nextWork(offset, sizeBytes, (at, limit) => needsCopy(image, this.#base, at, limit));
      delayNs = 0;
      if (work.copy) {
        const error = yield* this.#populate(image, offset, work.end);
        if (error !== undefined) {
          const action = this.#failed(job, error);
          if (action === 'report') return { code: error };
          if (action === 'stop') continue;
        } else {
          delayNs = job.limit.delayNs(job.host.clock.now(), work.end - offset);
        }
      }
      job.offset += work.end - offset;
      offset = work.end;
    }
    if (!job.cancelled && this.#ignored === undefined) job.host.reach('stream.copied');
    return this.#ignored;
  }

  #failed(job: Job, code: Errno): ErrorAction {
    const action = job.handleError(this.options.onError, 'read', code);
    if (action === 'ignore') this.#ignored ??= { code };
    return action;
  }

  /** What somebody reads through the filter is pulled as well, in whole clusters. */
  #copyOnRead(image: BlockNode, start: number, end: number): void {
    const cluster = image.image?.header.clusterSizeBytes ?? 1;
    for (let offset = start; offset < end; ) {
      const { end: until, copy } = needsCopy(image, this.#base, offset, end);
      if (copy) {
        const from = Math.floor(offset / cluster) * cluster;
        populate(image, from, Math.min(Math.ceil(until / cluster) * cluster, image.lengthBytes));
      }
      offset = until;
    }
  }

  *#populate(
    node: BlockNode,
    offset: number,
    end: number,
  ): Generator<Effect, Errno | undefined, Errno | undefined> {
    const bytes = end - offset;
    const read = yield { type: 'io', at: 'stream.read', op: 'read', node, offset, bytes };
    if (read !== undefined) return read;
    const op = isAllZero(node, offset, end) ? 'zero' : 'write';
    const write = yield { type: 'io', at: 'stream.write', op, node, offset, bytes };
    if (write === undefined) populate(node, offset, end);
    else for (const part of takeLanded(node)) populate(node, part.start, part.end);
    return write;
  }

  keepsNodes(): boolean {
    return true;
  }

  stage(): 'stream' {
    return 'stream';
  }

  prepare(job: Job): JobFailure | undefined {
    const { top, bottom, filter, backingName } = this.options;
    const { graph } = job.host;
    this.#prepared = true;
    const { flaps } = job.host.traits;
    job.host.flap(top, flaps.streamEnd);
    // What is torn off the image while its section goes on leaves it, and what takes its place joins it again.
    if (skipFilters(bottom) === skipFilters(top)) job.host.flapBelow(top, flaps.streamEndBelow);
    else job.host.flapAroundChild(bottom, top, Math.min(1, flaps.streamEndBelow));
    const refused = job.host.reach('stream.before-graph-change');
    if (refused !== undefined) return { code: refused };
    graph.removeFilter(filter);
    const image = skipFilters(top);
    const below = image.backing;
    if (below === undefined) return undefined;
    const base = this.#base;
    const keep = base && skipFilters(base);
    if (backingOf(image) !== keep) {
      graph.letGo(below);
      if (base) graph.adopt(image, 'backing', base);
    } else if (below.child === base) graph.renew(below);
    job.host.reach('stream.after-graph-change');
    const unwritten = job.host.reach('stream.header-write');
    if (unwritten !== undefined) return { code: unwritten };
    rewriteBacking(image, keep, backingName);
    job.host.reach('stream.after-header');
    return undefined;
  }

  clean(host: JobHost, job?: Job): void {
    const { filter, top, wasReadOnly } = this.options;
    const { flaps } = host.traits;
    if (filter.filterState !== 'stopped') host.graph.removeFilter(filter);
    if (job) releaseBackends(job);
    const reopen = (): void => {
      if (!wasReadOnly) return;
      host.graph.tryReopen(top, true);
      host.flapBelow(top, flaps.reopen, 'with');
    };
    if (this.#prepared) reopen();
    else host.flap(top, this.#ran ? flaps.streamAbort : flaps.streamUndo, reopen);
  }
}

/** Whether there is nothing but zeroes, wherever they come from. */
function isAllZero(node: BlockNode, start: number, end: number): boolean {
  const first = sameKind(node, start, end);
  return first.kind === 'zero' && first.end === end;
}

/** Gives an image what it shows of those below. For bitmaps and thresholds that is no write: nothing changes. */
function populate(node: BlockNode, start: number, end: number): void {
  const kind = isAllZero(node, start, end) ? 'zero' : 'data';
  for (let offset = start; offset < end; ) {
    const span = readAt(node, offset, end);
    node.driver.write(node, offset, span.end, span.tag, kind);
    offset = span.end;
  }
  node.generation++;
}

const MAX_FORMAT_NAME = 15;

/** A format's name as far as a header has room for it. */
export const headerFormat = (name: string): string => name.slice(0, MAX_FORMAT_NAME);

/** Records a new backing file in an image's header; durable at once. */
export function rewriteBacking(
  overlay: BlockNode,
  base: BlockNode | undefined,
  name: string | undefined,
  format = base?.driver.name ?? '',
): void {
  const { image } = overlay;
  if (image === undefined || !overlay.driver.supportsBacking) return;
  // The real one writes the header and flushes no tables: a bitmap of the file shows that.
  if (overlay.pending?.count) overlay.unwritten = overlay.pending.copy();
  overlay.driver.settle?.(overlay);
  const { clusterSizeBytes } = image.header;
  const backingName = base && (name ?? fileNameOf(base));
  image.header =
    base && backingName !== undefined
      ? { clusterSizeBytes, backingName, backingFormat: headerFormat(format) }
      : { clusterSizeBytes };
  image.save();
  noteHeader(overlay);
}

function needsCopy(image: BlockNode, base: BlockNode | undefined, offset: number, limit: number) {
  const own = allocatedAbove(image, backingOf(image), offset, limit);
  if (own.allocated) return { end: own.end, copy: false };
  const below = backingOf(image);
  if (below === undefined) return { end: own.end, copy: false };
  const { end, allocated } = allocatedAbove(below, base, offset, own.end);
  return { end, copy: allocated };
}
