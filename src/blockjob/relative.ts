/** Backing file names that are kept relative when images between two of a chain disappear. */
import type { ImageDescription } from '../conf/disk.ts';

const directoryOf = (name: string): string => name.replace(/[^/]*$/, '');

/**
 * What the header of the image above `images[0]` has to say about the last of `images`, so that the name stays
 * relative (libvirt: virStorageSourceGetRelativeBackingPath).
 * @param images of a chain, top first, without a gap
 * @returns undefined if one of them is recorded by an absolute name
 */
export function relativeBackingName(images: readonly ImageDescription[]): string | undefined {
  let path = '';
  for (const { relativeName } of images) {
    if (relativeName === undefined) return undefined;
    path = directoryOf(path) + relativeName;
  }
  return path;
}
