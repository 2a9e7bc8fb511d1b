/** Images in a simulation's store, made and read without any QEMU. */
import type { ImageSpec, Run } from '../../conformance/index.ts';
import { canonicalRuns } from '../../conformance/index.ts';
import type { ImageStore } from '../../mock-qemu/core/images.ts';

/** What qemu-img makes when nothing is asked for. */
const CLUSTER_SIZE_BYTES = 65_536;

/** Puts an image into a store, with its writes. */
export function createStoreImage(
  store: ImageStore,
  { path, format, capacityBytes, backing, writes }: ImageSpec,
): void {
  const file = store.create(path);
  file.format = format;
  file.virtualSizeBytes = capacityBytes;
  file.header = {
    clusterSizeBytes: CLUSTER_SIZE_BYTES,
    ...(backing ? { backingName: backing.path, backingFormat: backing.format } : {}),
  };
  for (const { offsetBytes, lengthBytes, byte } of writes)
    file.extents.set(offsetBytes, offsetBytes + lengthBytes, byte);
  file.save();
}

/** What a guest would read from an image of a store and its backing files. */
export function storeContents(store: ImageStore, path: string): Run[] {
  return canonicalRuns(store.contents(path));
}
