/** What nodes are called when they are named by their files. */
import type { Data, Value } from '../data.ts';
import { resolveBacking } from '../images.ts';
import { backingOf, skipFilters } from './data.ts';
import type { BlockNode } from './node.ts';
import { imageBelow } from './open.ts';

/** A file name as QEMU gives it: plain, or `json:` where options override what the header says. */
export function fileNameOf(node: BlockNode): string {
  const image = skipFilters(node);
  const path = imageBelow(image)?.path;
  if (path === undefined) return nullName(image);
  return isBackingOverridden(image) ? `json:${spaced(optionsOf(image))}` : path;
}

/** A node without a file: its size shows only if it was chosen. */
function nullName({ driver, sizeOption }: BlockNode): string {
  if (!driver.name.startsWith('null-')) return '';
  if (sizeOption === undefined) return `${driver.name}://`;
  return `json:${spaced({ driver: driver.name, size: sizeOption })}`;
}

function isBackingOverridden(node: BlockNode): boolean {
  const { image } = node;
  if (image === undefined || !node.driver.supportsBacking) return false;
  const named = image.header.backingName;
  const expected = named === undefined ? undefined : resolveBacking(image.path, named);
  const below = backingOf(node);
  return (below && fileNameOf(below)) !== expected;
}

function optionsOf(node: BlockNode): Data {
  const below = backingOf(node);
  const backing = below ? optionsOf(below) : null;
  const file = { driver: 'file', filename: imageBelow(node)?.path ?? '' };
  return { ...(isBackingOverridden(node) && { backing }), driver: node.driver.name, file };
}

/** JSON as QEMU writes it inside a file name: a blank after each colon and comma. */
function spaced(value: Value): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([name, each]) => `"${name}": ${spaced(each)}`);
  return `{${members.join(', ')}}`;
}
