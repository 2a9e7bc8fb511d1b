/** What nodes are called when they are named by their files. */
import type { Data, Value } from '../data.ts';
import { resolveBacking } from '../images.ts';
import type { BlockNode } from './node.ts';
import { imageBelow } from './open.ts';

/** A file name as QEMU gives it: plain, or `json:` where options say more than the file itself. */
export function fileNameOf(node: BlockNode): string {
  const image = skipJobFilters(node);
  if (needsOptions(image)) return `json:${spaced(optionsOf(image))}`;
  const path = imageBelow(image)?.path;
  return path ?? nullName(image);
}

/** A node without a file: its size shows only if it was chosen. */
function nullName({ driver, sizeOption }: BlockNode): string {
  if (!driver.name.startsWith('null-')) return '';
  if (sizeOption === undefined) return `${driver.name}://`;
  return `json:${spaced({ driver: driver.name, size: sizeOption })}`;
}

/** A filter that somebody put there by hand has a name of its own; of those that were asked for with a job, only a stream's. */
function skipJobFilters(node: BlockNode): BlockNode {
  let at = node;
  while (at.filtered && !isOwnFilter(at) && !isNamedStreamFilter(at)) at = at.filtered.child;
  return at;
}

const isNamedStreamFilter = ({ driver, implicit }: BlockNode): boolean =>
  driver.name === 'copy-on-read' && !implicit;

const needsOptions = (node: BlockNode): boolean =>
  isOwnFilter(node) ||
  isNamedStreamFilter(node) ||
  isOwnFilter(node.file?.child) ||
  isBackingOverridden(node);

const isOwnFilter = (node: BlockNode | undefined): boolean =>
  node !== undefined && (node.debug !== undefined || node.throttle !== undefined);

function isBackingOverridden(node: BlockNode): boolean {
  const { image } = node;
  if (image === undefined || !node.driver.supportsBacking) return false;
  const named = image.header.backingName;
  const expected = named === undefined ? undefined : resolveBacking(image.path, named);
  const below = node.backing?.child;
  return (below && fileNameOf(below)) !== expected;
}

function optionsOf(node: BlockNode): Data {
  if (node.debug) return debugOptions(node);
  if (node.throttle) return throttleOptions(node);
  if (isNamedStreamFilter(node) && node.filtered) {
    return { driver: node.driver.name, file: optionsOf(skipJobFilters(node.filtered.child)) };
  }
  const below = node.backing && skipJobFilters(node.backing.child);
  const backing = below ? optionsOf(below) : null;
  const storage = node.file?.child;
  const file =
    storage && isOwnFilter(storage)
      ? optionsOf(storage)
      : { driver: 'file', filename: imageBelow(node)?.path ?? '' };
  const { name } = node.driver;
  if (node.driver.kind === 'protocol') return { driver: name, filename: node.image?.path ?? '' };
  return { ...(isBackingOverridden(node) && { backing }), driver: name, file };
}

function throttleOptions({ throttle, driver, filtered }: BlockNode): Data {
  const file = filtered && optionsOf(filtered.child);
  return { 'throttle-group': throttle?.name ?? '', driver: driver.name, ...(file && { file }) };
}

/** Rules are listed flat, as they would be on a command line. */
function debugOptions(node: BlockNode): Data {
  const flat: Record<string, Value> = {};
  const image = node.filtered && optionsOf(node.filtered.child);
  for (const [name, value] of Object.entries(node.debug?.options ?? {})) {
    if (name === 'node-name' || name === 'image') continue;
    if (!Array.isArray(value)) flat[name] = value;
    else for (const [index, rule] of value.entries()) flatten(`${name}.${index}`, rule as Data, flat);
  }
  return { ...(image && { image }), ...flat };
}

function flatten(prefix: string, rule: Data, into: Record<string, Value>): void {
  for (const [name, value] of Object.entries(rule)) into[`${prefix}.${name}`] = value;
}

/** JSON as QEMU writes it inside a file name: a blank after each colon and comma. */
function spaced(value: Value): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([name, each]) => `"${name}": ${spaced(each)}`);
  return `{${members.join(', ')}}`;
}
