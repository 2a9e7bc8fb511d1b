/** What a running domain knows of its disks: chains and mirrors, held in memory and never re-read behind a job's back. */
import {
  type DiskDefinition,
  type DiskSource,
  diskNumber,
  type ImageDescription,
  type LiveDiskDescription,
  type MirrorDescription,
} from '../conf/disk.ts';
import { isTuned } from '../conf/iotune.ts';
import type { DiskSpec, ImageRef } from '../driver.ts';

/** A disk of a running domain. */
export interface LiveDisk {
  definition: DiskDefinition;
  readonly target: string;
  readonly alias: string;
  /** Active image first; empty: no medium. */
  chain: readonly ImageDescription[];
  mirror: MirrorDescription | undefined;
  /** What the chain becomes by a change that is being made: after a crash, one of the two is true. */
  next?: readonly ImageDescription[];
  /** Index that an emptied drive still shows. */
  emptyIndex?: number;
}

/** Gives out image indexes: from 1, never twice within one run of a domain (libvirt: nodenameindex). */
export class ImageIndexes {
  #last: number;

  /** @param last the last one that was given out */
  constructor(last = 0) {
    this.#last = last;
  }

  /** The last one that was given out. */
  get last(): number {
    return this.#last;
  }

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

/** Device alias as libvirt builds it from the disk's name: `virtio-disk2` for vdc, `ide0-1-0` for hdc. */
export function aliasFor({ bus, target }: DiskDefinition): string {
  const number = diskNumber(target);
  if (bus === 'virtio') return `virtio-disk${number}`;
  if (bus === 'ide') return `ide${number >> 2}-${(number >> 1) & 1}-${number & 1}`;
  return bus === 'scsi' ? `scsi0-0-0-${number}` : `${bus}0-0-${number}`;
}

/** The driver's view of an image. */
export function imageRef(image: ImageDescription): ImageRef {
  return { index: image.index, path: image.path, format: image.format };
}

/** The driver's view of a disk that is about to be started. */
export function diskSpec(disk: LiveDisk): DiskSpec {
  const { bus, device, readonly, iotune, vhostUser } = disk.definition;
  const { target, alias } = disk;
  const limits = isTuned(iotune) && { limits: iotune };
  const served = vhostUser && { vhostUser };
  return { target, alias, bus, device, readonly, chain: disk.chain.map(imageRef), ...limits, ...served };
}

/** The XML's view of a disk. */
export function describe(disk: LiveDisk): LiveDiskDescription {
  const { definition, alias, chain, mirror, emptyIndex } = disk;
  return { definition, alias, chain, mirror, emptyIndex };
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
