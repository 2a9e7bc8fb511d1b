/** blockdev-create: formats an image. */
import { HostError, strerror } from '../errno.ts';
import { CommandError, refuse } from '../errors.ts';
import { storageOf } from '../graph/data.ts';
import type { BlockNode, Edge } from '../graph/node.ts';
import { clearContent, fileSizeBytes, type ImageFile, type ImageHeader, type ImageStore } from '../images.ts';
import { ALL, CREATOR_RIGHTS, RESIZE, WRITE } from '../rights.ts';
import type { Traits } from '../traits.ts';
import type { JobRun } from './effects.ts';
import type { Job, JobTask } from './job.ts';

/** What becomes of the file. */
export interface CreateOptions {
  /** A file to create, or a node to format. */
  readonly where: { readonly path: string } | { readonly node: () => BlockNode };
  readonly format: 'raw' | 'qcow2';
  readonly sizeBytes: number;
  readonly header: ImageHeader;
}

/** One image creation. */
export class CreateTask implements JobTask {
  readonly options: CreateOptions;
  /** Has a node of its own whose header is not written. */
  formatting = false;

  constructor(options: CreateOptions) {
    this.options = options;
  }

  *run(job: Job): JobRun {
    job.len = 1;
    const failure = yield* this.#create(job);
    // The one step is done, however it ended.
    job.offset = 1;
    return failure;
  }

  /** What the format's own checks find. */
  #badOptions(): string | undefined {
    const { header, sizeBytes } = this.options;
    if (sizeBytes % 512 !== 0) return 'Image size must be a multiple of 512 bytes';
    if (header.backingFormat !== undefined && header.backingName === undefined) {
      return 'Backing format cannot be used without backing file';
    }
    return undefined;
  }

  *#create(job: Job): JobRun {
    const { where } = this.options;
    let held: Edge | undefined;
    try {
      if ('node' in where) {
        if (job.host.traits.idleJobsYield) yield { type: 'settle' };
        const node = where.node();
        const text = this.#badOptions();
        if (text !== undefined) return { code: 'EINVAL', text };
        const creator = { kind: 'job-backend', jobId: job.id } as const;
        const { graph } = job.host;
        held = graph.hold(creator, 'root', node, { needs: WRITE | RESIZE, shares: ALL });
        this.formatting = this.options.format === 'qcow2';
        const error = yield { type: 'io', at: 'create.write', op: 'write', node, offset: 0, bytes: 0 };
        this.formatting = false;
        if (error !== undefined) return { code: error, text: `Could not create image: ${strerror(error)}` };
        const image = imageOf(node);
        if (image) format(image, this.options);
        growKnown(node);
      } else {
        const { images } = job.host;
        checkMayEmpty(images, where.path, job.host.traits);
        format(images.create(where.path), this.options);
        yield { type: 'settle' };
      }
    } catch (error) {
      return explain(error);
    } finally {
      job.host.graph.letGo(held);
    }
    job.host.reach('create.formatted');
    return undefined;
  }
}

/** Refuses to empty a file that somebody has open; a file that is not there yet is nobody's. */
export function checkMayEmpty(images: ImageStore, path: string, traits: Pick<Traits, 'imageLocking'>): void {
  if (!traits.imageLocking || !images.exists(path)) return;
  const conflict = images.open(path).locks.conflict({}, CREATOR_RIGHTS);
  if (conflict !== undefined) refuse(conflict);
}

function explain(error: unknown): { readonly code: 'EINVAL'; readonly text: string } {
  if (error instanceof HostError) {
    return { code: 'EINVAL', text: `Could not create '${error.path}': ${strerror(error.code)}` };
  }
  if (error instanceof CommandError) return { code: 'EINVAL', text: error.message };
  throw error;
}

function imageOf(node: BlockNode): ImageFile | undefined {
  const below = node.filtered ?? node.file;
  return below ? imageOf(below.child) : node.image;
}

/** A file is not made shorter where it is formatted, and knows if that has made it longer. */
function growKnown(node: BlockNode): void {
  for (const each of storageOf(node))
    if (each.image && each.driver.kind === 'protocol')
      each.knownBytes = Math.max(each.knownBytes ?? 0, fileSizeBytes(each.image));
}

/** Makes an empty image of a file. */
export function format(
  image: ImageFile,
  options: Pick<CreateOptions, 'format' | 'sizeBytes' | 'header'>,
): void {
  clearContent(image);
  image.format = options.format;
  image.virtualSizeBytes = options.sizeBytes;
  image.header = options.header;
  image.save();
}
