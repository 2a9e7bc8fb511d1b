/** Which images a QEMU has open, for which disk, and the destinations that were prepared in it. */
import type { DiskSpec, ImageRef, TargetRef, TargetSpec } from '../../src/driver.ts';
import type { Dialect } from './dialects/dialect.ts';
import type { HostFiles } from './host.ts';
import type { StepRunner, Undo } from './steps.ts';

interface Target {
  readonly spec: TargetSpec;
  readonly opens: readonly ImageRef[];
  readonly undo: Undo;
}

/** What opening and closing images needs of the machine. */
export interface OpenImagesContext {
  readonly dialect: Dialect;
  readonly files: HostFiles;
  readonly steps: StepRunner;
}

/** Keeps account of the open images, by index. */
export class OpenImages {
  readonly #context: OpenImagesContext;
  readonly #targets = new Map<number, Target>();
  /** Index to the disk's target name. */
  readonly #disks = new Map<number, string>();

  constructor(context: OpenImagesContext, disks: readonly DiskSpec[]) {
    this.#context = context;
    for (const { target, chain } of disks) this.opened(target, chain);
  }

  /** Whether QEMU has an image open. */
  readonly has = ({ index }: ImageRef): boolean => this.#disks.has(index);

  /** Notes that QEMU has images open for a disk. */
  readonly opened = (disk: string, images: readonly ImageRef[]): void => {
    for (const { index } of images) this.#disks.set(index, disk);
  };

  /** The disk that an open image belongs to. */
  diskOf(index: number): string | undefined {
    return this.#disks.get(index);
  }

  /** Makes and opens a copy's destination; takes everything back if a step fails. */
  async prepare(spec: TargetSpec): Promise<TargetRef> {
    const { dialect, files, steps } = this.#context;
    const { image } = spec;
    const query = dialect.geometry(spec);
    const source = query && (await steps.ask(query));
    const kind = (await files.stat(image.path))?.kind ?? 'file';
    const facts = { kind, isOpen: this.has, ...(source && { source }) };
    const { steps: work, opens } = dialect.prepare(spec, facts);
    const undo = await steps.run(work);
    this.#targets.set(image.index, { spec, opens, undo });
    this.opened(spec.disk, opens);
    return { image };
  }

  /** Takes back what {@link OpenImages.prepare} did; rejects with the first error met, after all has been tried. */
  async discard({ image }: TargetRef): Promise<void> {
    const target = this.#targets.get(image.index);
    if (target === undefined) return;
    for (const opened of target.opens) this.#forget(opened);
    const failure = await target.undo();
    if (failure !== undefined) throw failure;
  }

  /** What was prepared at a destination. */
  prepared({ image }: TargetRef): TargetSpec | undefined {
    return this.#targets.get(image.index)?.spec;
  }

  /** A prepared destination belongs to its job from now on: it is released, never discarded. */
  handOver({ image }: TargetRef): void {
    this.#targets.delete(image.index);
  }

  /** Closes images that nothing needs any more, those of them that are open. */
  async release(images: readonly ImageRef[]): Promise<void> {
    const { dialect, steps } = this.#context;
    for (const image of images) this.#forget(image);
    const query = dialect.openNodes();
    if (query === undefined || images.length === 0) return;
    const open = await steps.ask(query);
    await steps.run(dialect.release(images, open));
  }

  /** Asks which images of destinations that somebody else prepared are open. */
  async find(targets: readonly TargetSpec[]): Promise<void> {
    const { dialect, steps } = this.#context;
    const query = dialect.openNodes();
    if (query === undefined || targets.length === 0) return;
    const open = await steps.ask(query);
    for (const { disk, image, backing } of targets) {
      const found = [image, ...backing].filter((one) => dialect.release([one], open).length > 0);
      this.opened(disk, found);
    }
  }

  #forget(image: ImageRef): void {
    this.#targets.delete(image.index);
    this.#disks.delete(image.index);
  }
}
