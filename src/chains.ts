/** Backing chains: read from image headers once, when a domain starts or a copy reuses an image, and cached from then on. */
import type { DiskDefinition, DiskSource } from './conf/disk.ts';
import type { Volumes } from './driver.ts';
import { ErrorCode, ErrorDomain, VirtError } from './errors.ts';

/** Far deeper than QEMU opens in practice; ends the walk through a chain that somebody is still growing. */
const MAX_DEPTH = 200;

/**
 * The whole chain of a disk, top first: what the definition says, then what the headers say.
 * @throws VirtError SYSTEM_ERROR for an image that is not there, INTERNAL_ERROR for one that backs itself
 */
export async function chainOf(volumes: Volumes, disk: DiskDefinition): Promise<DiskSource[]> {
  if (!disk.source) return [];
  return chainBelow(volumes, [disk.source, ...disk.backing], disk.backingTerminated);
}

/** Continues a chain downwards until a header names no backing file. */
export async function chainBelow(
  volumes: Volumes,
  known: readonly DiskSource[],
  terminated: boolean,
): Promise<DiskSource[]> {
  const chain = [...known];
  const seen = new Set(chain.map((image) => image.path));
  for (;;) {
    const last = chain.at(-1);
    if (!last) return chain;
    if (terminated) return chain;
    const info = await volumes.inspect(last.path, last.format);
    if (!info.backing) return chain;
    const { path, name, format = 'raw' } = info.backing;
    if (seen.has(path) || chain.length >= MAX_DEPTH) throw selfReferential(path);
    seen.add(path);
    const relative = name.startsWith('/') ? {} : { relativeName: name };
    chain.push({ type: 'file', path, format, detected: true, ...relative });
  }
}

function selfReferential(path: string): VirtError {
  return new VirtError(ErrorCode.INTERNAL_ERROR, `backing store for ${path} is self-referential`, {
    domain: ErrorDomain.STORAGE,
  });
}
