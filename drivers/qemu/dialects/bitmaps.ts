/** Dirty bitmaps of the blockdev era: the commands of libvirt 9.0's checkpoints. */
import type { BitmapChange, BitmapRef, BitmapReport, ImageRef } from '../../../src/driver.ts';
import { numberOf, objectsOf, optionalText } from '../errors.ts';
import { isQmpObject, type QmpObject, type QmpValue } from '../qmp-json.ts';
import type { Step } from './dialect.ts';
import { formatNode, formatOptions, transaction } from './nodes.ts';

/** Marks what the guest writes to an image from a pivot to it on, as libvirt does. */
export const ACTIVE_WRITES = 'libvirt-tmp-activewrite';

const refOf = ({ image, name }: BitmapRef): QmpObject => ({ node: formatNode(image), name });

/** One action of a transaction. */
function actionOf(change: BitmapChange): QmpObject {
  switch (change.do) {
    case 'add': {
      const { isTemporary = false } = change;
      const data = { ...refOf(change.bitmap), persistent: !isTemporary, disabled: isTemporary };
      return { type: 'block-dirty-bitmap-add', data };
    }
    case 'merge': {
      const data = {
        node: formatNode(change.into.image),
        target: change.into.name,
        bitmaps: change.from.map(refOf),
      };
      return { type: 'block-dirty-bitmap-merge', data };
    }
    case 'remove':
      return { type: 'block-dirty-bitmap-remove', data: refOf(change.bitmap) };
  }
}

const together = (changes: readonly BitmapChange[]): Step => ({
  do: 'call',
  call: transaction(changes.map(actionOf)),
});

/** An image that is below another one is open for reading, and has to be reopened around a change of what it holds. */
interface Backing {
  readonly image: ImageRef;
  readonly below: ImageRef | undefined;
}

function reopen({ image, below }: Backing, readonly: boolean) {
  const options = formatOptions(image, readonly, below ? formatNode(below) : null);
  return { execute: 'blockdev-reopen', arguments: { options: [options] } };
}

/** Steps of a change. */
export function changeBitmaps(changes: readonly BitmapChange[]): readonly Step[] {
  const backings = new Map<number, Backing>();
  for (const change of changes) {
    const { image, backing } = change.do === 'merge' ? change.into : change.bitmap;
    if (backing) backings.set(image.index, { image, below: backing.below });
  }
  const around = [...backings.values()];
  return [
    ...around.map((each): Step => ({ do: 'call', call: reopen(each, false), undo: reopen(each, true) })),
    together(changes),
    ...around.map((each): Step => ({ do: 'call', call: reopen(each, true) })),
  ];
}

/** Actions that begin bitmaps on an overlay, for the transaction that puts it on top. */
export function beginOn(overlay: ImageRef, names: readonly string[]): readonly QmpObject[] {
  return names.map((name) => actionOf({ do: 'add', bitmap: { image: overlay, name } }));
}

const FORMAT_NODE = /^libvirt-(\d+)-format$/;

/** Named bitmaps of a list of nodes; those that are not kept in the image are somebody's tools. */
export function bitmapsOf(nodes: readonly QmpObject[]): readonly BitmapReport[] {
  return nodes.flatMap((node) => {
    const index = FORMAT_NODE.exec(optionalText(node, 'node-name') ?? '')?.[1];
    const bitmaps: QmpValue | undefined = node['dirty-bitmaps'];
    if (index === undefined || bitmaps === undefined) return [];
    return objectsOf(bitmaps, 'query-named-block-nodes').flatMap((bitmap): BitmapReport[] => {
      const name = optionalText(bitmap, 'name');
      if (name === undefined || name === ACTIVE_WRITES || !isQmpObject(bitmap)) return [];
      const dirtyBytes = numberOf(bitmap, 'count', 'query-named-block-nodes');
      return [{ imageIndex: Number(index), name, dirtyBytes, isBroken: bitmap.inconsistent === true }];
    });
  });
}

/**
 * Steps after a pivot to an image: bitmaps of the images that it took the place of go on in it, with what the guest has
 * written since; then what recorded that is dropped.
 */
export function carryOver(
  into: ImageRef,
  from: readonly ImageRef[],
  present: readonly BitmapReport[],
): readonly Step[] {
  const has = (index: number, name: string): boolean =>
    present.some((bitmap) => bitmap.imageIndex === index && bitmap.name === name && !bitmap.isBroken);
  const names = new Set(
    present
      .filter(({ imageIndex }) => from.some(({ index }) => index === imageIndex))
      .map(({ name }) => name),
  );
  const changes = [...names].flatMap((name): BitmapChange[] => {
    const bitmap = { image: into, name };
    const sources = from.filter(({ index }) => has(index, name)).map((image) => ({ image, name }));
    if (sources.length === 0) return [];
    const merge: BitmapChange = {
      do: 'merge',
      into: bitmap,
      from: [...sources, { image: into, name: ACTIVE_WRITES }],
    };
    return has(into.index, name) ? [merge] : [{ do: 'add', bitmap }, merge];
  });
  const drop: BitmapChange = { do: 'remove', bitmap: { image: into, name: ACTIVE_WRITES } };
  return [together([...changes, drop])];
}
