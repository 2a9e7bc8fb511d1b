/** Images of a chain by the names that base and top take: `vda[N]`, absolute or relative paths. */
import type { LiveDisk } from '../blockjob/live.ts';
import type { ImageDescription } from '../conf/disk.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';

const INDEXED = /^([^/[\]]+)\[(\d+)\]$/;

const lookupError = (detail: string): VirtError =>
  new VirtError(ErrorCode.INVALID_ARG, detail, { domain: ErrorDomain.STORAGE });

/**
 * Finds an image by name (libvirt: virStorageSourceChainLookup).
 * @param start only images below this one are looked at; undefined: the whole chain
 * @throws VirtError INVALID_ARG, domain STORAGE
 */
export function findImage(
  disk: LiveDisk,
  name: string,
  start?: ImageDescription | 'below-active',
): ImageDescription {
  const above = start === 'below-active' ? disk.chain[0] : start;
  const from = start ? (above ? disk.chain.indexOf(above) + 1 : 1) : 0;
  const candidates = disk.chain.slice(from);
  const indexed = INDEXED.exec(name);
  if (indexed && indexed[2] !== '0') return byIndex(disk, candidates, indexed[1] ?? '', Number(indexed[2]));
  const found = candidates.find((image, position) => isNamed(image, name, disk.chain[from + position - 1]));
  if (found) return found;
  // An empty drive has no path to name; libvirt shows its null pointer.
  const beneath = start ? ` beneath '${above?.path ?? '<null>'}'` : '';
  throw lookupError(`could not find image '${name}'${beneath} in chain for '${disk.target}'`);
}

/** The deepest image below `start`. */
export function findBase(disk: LiveDisk, start: ImageDescription | undefined): ImageDescription {
  const base = start && disk.chain.slice(disk.chain.indexOf(start) + 1).at(-1);
  if (!base) throw lookupError(`could not find base image in chain for '${disk.target}'`);
  return base;
}

function byIndex(
  disk: LiveDisk,
  candidates: readonly ImageDescription[],
  target: string,
  index: number,
): ImageDescription {
  if (target !== disk.target) {
    throw lookupError(`requested target '${target}' does not match target '${disk.target}'`);
  }
  const found = candidates.find((image) => image.index === index);
  if (!found)
    throw lookupError(`could not find backing store index '${index}' in chain for '${disk.target}'`);
  return found;
}

/** A relative name is the recorded one, or is taken from the directory of the image above. */
function isNamed(image: ImageDescription, name: string, overlay: ImageDescription | undefined): boolean {
  if (name === '') return false;
  if (name.startsWith('/')) return image.path === name;
  if (image.relativeName === name) return true;
  const directory = (overlay ?? image).path.replace(/[^/]*$/, '');
  return image.path === directory + name;
}
