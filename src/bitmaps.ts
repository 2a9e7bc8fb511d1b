/** What becomes of the bitmaps of checkpoints when a disk's images change. */
import { imageRef, type LiveDisk } from './blockjob/live.ts';
import type { JobEntry } from './blockjob/registry.ts';
import type { ImageDescription } from './conf/disk.ts';
import type { BitmapChange, BitmapRef, ImageRef, Machine } from './driver.ts';
import type { CheckpointStore } from './snapshots.ts';

/** Whether any checkpoint records changes of a disk. */
export const isRecorded = (checkpoints: CheckpointStore, target: string): boolean =>
  checkpoints
    .all()
    .some(({ definition }) =>
      definition.disks.some(({ name, bitmap }) => name === target && bitmap !== undefined),
    );

/** The images that a job's success leaves behind, where their bitmaps are of use. */
export function bitmapsLeftBehind(
  checkpoints: CheckpointStore,
  { disk, after }: JobEntry,
): readonly ImageRef[] {
  if (!isRecorded(checkpoints, disk.target)) return [];
  return leaving(disk.chain, after).map(imageRef);
}

const leaving = (
  chain: readonly ImageDescription[],
  after: readonly ImageDescription[],
): readonly ImageDescription[] => chain.filter(({ index }) => !after.some((image) => image.index === index));

/** The names of an image's bitmaps, which an overlay of it has to begin as well. */
export async function bitmapsToBegin(
  checkpoints: CheckpointStore,
  machine: Machine,
  disk: LiveDisk,
): Promise<readonly string[]> {
  if (!machine.bitmaps || !isRecorded(checkpoints, disk.target)) return [];
  const active = disk.chain[0];
  const all = await machine.bitmaps();
  return all
    .filter(({ imageIndex, isBroken }) => imageIndex === active?.index && !isBroken)
    .map(({ name }) => name);
}

/** A bitmap of an image of a chain. */
export function bitmapIn(
  chain: readonly ImageDescription[],
  image: ImageDescription,
  name: string,
): BitmapRef {
  const depth = chain.findIndex(({ index }) => index === image.index);
  const below = chain[depth + 1];
  const backing = depth > 0 && { backing: { below: below && imageRef(below) } };
  return { image: imageRef(image), name, ...backing };
}

/**
 * After a pull or a commit below the active image: what the images that are gone have recorded goes on in the one that has
 * taken their data. Both are as they were for the guest, so that nothing is lost meanwhile.
 */
export async function mergeBitmaps(
  machine: Machine,
  chain: readonly ImageDescription[],
  { kind, after }: JobEntry,
): Promise<void> {
  const gone = leaving(chain, after);
  const last = chain.findLastIndex(({ index }) => gone.some((image) => image.index === index));
  const into = kind === 'pull' ? after[0] : chain[last + 1];
  if (!machine.bitmaps || !into || gone.length === 0) return;
  const present = (await machine.bitmaps()).filter(({ isBroken }) => !isBroken);
  const has = (index: number, name: string): boolean =>
    present.some((bitmap) => bitmap.imageIndex === index && bitmap.name === name);
  const names = new Set(
    present
      .filter(({ imageIndex }) => gone.some(({ index }) => index === imageIndex))
      .map(({ name }) => name),
  );
  const changes = [...names].flatMap((name): BitmapChange[] => {
    const bitmap = bitmapIn(after, into, name);
    const holding = gone.filter(({ index }) => has(index, name));
    const merge: BitmapChange = {
      do: 'merge',
      into: bitmap,
      from: holding.map((image) => ({ image: imageRef(image), name })),
    };
    return has(into.index, name) ? [merge] : [{ do: 'add', bitmap }, merge];
  });
  if (changes.length > 0) await machine.changeBitmaps?.(changes);
}
