/** What a running domain knows of its disks: chains and mirrors, held in memory and never re-read behind a job's back. */
import type {
  DiskDefinition,
  DiskSource,
  ImageDescription,
  LiveDiskDescription,
  MirrorDescription,
} from '../conf/disk.ts';
import type { DiskSpec, ImageRef } from '../driver.ts';

/** A disk of a running domain. */
export interface LiveDisk {
  readonly definition: DiskDefinition;
  readonly target: string;
  readonly alias: string;
  /** Active image first; empty: no medium. */
  chain: readonly ImageDescription[];
  mirror: MirrorDescription | undefined;
}

/** Gives out image indexes: from 1, never twice within one run of a domain (libvirt: nodenameindex). */
export class ImageIndexes {
  #last = 0;

  /** The next index. */
  next(): number {
    this.#last += 1;
    return this.#last;
  }

  /** Puts an index on each source of a chain, top first. */
  number(chain: readonly DiskSource[]): ImageDescription[] {
    return chain.map((source) => ({ ...source, index: this.next() }));
  }
}

const ALIAS_OF_BUS: Readonly<Record<string, string>> = { virtio: 'virtio-disk' };

/** Device alias as libvirt builds it: `virtio-diskN` by position in the bus's naming, `ide0-0-N` and `scsi0-0-0-N` else. */
export function aliasFor(definition: DiskDefinition, position: number): string {
  const prefix = ALIAS_OF_BUS[definition.bus];
  return prefix ? `${prefix}${position}` : `${definition.bus}0-0-${position}`;
}

/** The driver's view of an image. */
export function imageRef(image: ImageDescription): ImageRef {
  return { index: image.index, path: image.path, format: image.format };
}

/** The driver's view of a disk that is about to be started. */
export function diskSpec(disk: LiveDisk): DiskSpec {
  const { bus, device, readonly } = disk.definition;
  return { target: disk.target, alias: disk.alias, bus, device, readonly, chain: disk.chain.map(imageRef) };
}

/** The XML's view of a disk. */
export function describe(disk: LiveDisk): LiveDiskDescription {
  return { definition: disk.definition, alias: disk.alias, chain: disk.chain, mirror: disk.mirror };
}

/**
 * Finds a disk as the block job calls name it: the target, or the exact path of the current active image
 * (libvirt: virDomainDiskByName with absolute path).
 */
export function findDisk(disks: readonly LiveDisk[], name: string): LiveDisk | undefined {
  return name.startsWith('/')
    ? disks.find((disk) => disk.chain[0]?.path === name)
    : disks.find((disk) => disk.target === name);
}
