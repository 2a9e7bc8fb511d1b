/** What nodes are called when they are named by their files. */
import type { Data, Value } from '../data.ts';
import { inDictionaryOrder } from '../dictionary.ts';
import { resolveBacking } from '../images.ts';
import { type NbdConnection, nbdName } from '../nbd.ts';
import type { BlockNode } from './node.ts';
import { imageBelow } from './open.ts';

/** Filters that go by the name of what they filter, also where a user has put them there. */
const TRANSPARENT = new Set(['mirror_top', 'commit_top', 'copy-before-write']);

/** A file name as QEMU gives it: plain, or `json:` where options say more than the file itself. */
export function fileNameOf(node: BlockNode): string {
  const { filtered } = node;
  if (filtered && (node.implicit || TRANSPARENT.has(node.driver.name))) return fileNameOf(filtered.child);
  if (needsOptions(node)) return `json:${spaced(optionsOf(node))}`;
  const remote = remoteBelow(node);
  if (remote) return nbdName(remote);
  const path = imageBelow(node)?.path;
  return path === undefined ? nullName(node) : `${debugPrefixes(node)}${path}`;
}

/** What stands before the path of an image that blkdebug nodes lie over, as far as that says all of them. */
function debugPrefixes(node: BlockNode): string {
  const below = (node.filtered ?? node.file)?.child;
  const rest = below ? debugPrefixes(below) : '';
  return node.debug ? `blkdebug:${node.debug.options.config ?? ''}:${rest}` : rest;
}

const SAID_BY_NAME = new Set(['driver', 'image', 'config']);

/** Whether a blkdebug node has rules of its own, which no plain name can say. */
const hasOwnRules = ({ debug }: BlockNode): boolean =>
  Object.keys(debug?.options ?? {}).some((name) => !SAID_BY_NAME.has(name) && !OF_ANY_NODE.has(name));

function remoteBelow(node: BlockNode): NbdConnection | undefined {
  let at = node;
  for (let next = at.filtered ?? at.file; next; next = at.filtered ?? at.file) at = next.child;
  return at.remote;
}

/** A node without a file: what is as it is anyway does not show. */
function nullName({ driver, chosen }: BlockNode): string {
  if (!driver.name.startsWith('null-')) return '';
  if (Object.keys(chosen).length === 0) return `${driver.name}://`;
  return `json:${spaced({ driver: driver.name, ...chosen })}`;
}

const needsOptions = (node: BlockNode): boolean =>
  (node.driver.kind === 'filter' && (!node.debug || hasOwnRules(node))) ||
  (node.filtered !== undefined && node.debug !== undefined && needsOptions(node.filtered.child)) ||
  (node.file !== undefined && (needsOptions(node.file.child) || !isFile(node.file.child))) ||
  isBackingOverridden(node);

/** What a format may lie on and still go by its name: blkdebug counts as a file. */
const isFile = ({ driver, debug }: BlockNode): boolean => driver.kind === 'protocol' || debug !== undefined;

function isBackingOverridden(node: BlockNode): boolean {
  const { image, backing } = node;
  if (image === undefined || !node.driver.supportsBacking) return false;
  const named = image.header.backingName;
  const expected = named === undefined ? undefined : resolveBacking(image.path, named);
  return (backing && fileNameOf(backing.child)) !== expected;
}

/** What it would take to open a node again. */
function optionsOf(node: BlockNode): Data {
  const { filtered, target, file, backing, chosen } = node;
  if (node.implicit && filtered) return optionsOf(filtered.child);
  if (node.debug) return debugOptions(node);
  if (node.throttle) return throttleOptions(node);
  const { name, kind } = node.driver;
  if (name.startsWith('null-')) return { driver: name, ...chosen };
  if (node.remote) return nbdOptions(node.remote);
  if (kind === 'protocol') return { driver: name, filename: node.image?.path ?? '' };
  const storage = file ?? filtered;
  return {
    ...(isBackingOverridden(node) && { backing: backing ? optionsOf(backing.child) : null }),
    driver: name,
    ...(storage && { file: optionsOf(storage.child) }),
    ...(target && { target: optionsOf(target.child) }),
  };
}

function nbdOptions({ address, export: { name } }: NbdConnection): Data {
  return { driver: 'nbd', server: { ...address }, ...(name !== '' && { export: name }) };
}

function throttleOptions({ throttle, driver, filtered }: BlockNode): Data {
  const file = filtered && optionsOf(filtered.child);
  return { 'throttle-group': throttle?.name ?? '', driver: driver.name, ...(file && { file }) };
}

/** Options that say nothing of what a node holds. */
const OF_ANY_NODE = new Set([
  'node-name',
  'read-only',
  'auto-read-only',
  'force-share',
  'cache',
  'discard',
  'detect-zeroes',
]);

/** Members of rules in the order of the schema, in which they get into a dictionary. */
const RULE_MEMBERS = [
  ...['event', 'iotype', 'state', 'errno', 'sector', 'once', 'immediately'],
  'new_state',
] as const;

/** Rules are listed flat, as they would be on a command line. */
function debugOptions(node: BlockNode): Data {
  const flat: Record<string, Value> = {};
  const rules: Record<string, Value> = {};
  const image = node.filtered && optionsOf(node.filtered.child);
  for (const [name, value] of Object.entries(node.debug?.options ?? {})) {
    if (name === 'image' || OF_ANY_NODE.has(name)) continue;
    if (!Array.isArray(value)) flat[name] = value;
    else for (const [index, rule] of value.entries()) flatten(`${name}.${index}`, rule as Data, rules);
  }
  const sorted = asCarried(Object.keys(rules), node.inherits).map((name) => [name, rules[name] ?? null]);
  return { ...(image && { image }), ...flat, ...Object.fromEntries(sorted) };
}

/**
 * Names in the order in which they get into the last dictionary of those that they are handed through: with what lies above a node
 * that was described in place, as its `file`; then with its own.
 */
function asCarried(names: readonly string[], asFile: boolean): readonly string[] {
  if (!asFile) return inDictionaryOrder(names);
  const prefix = 'file.';
  const above = inDictionaryOrder(inDictionaryOrder(names.map((name) => `${prefix}${name}`)));
  return inDictionaryOrder(above.map((name) => name.slice(prefix.length)));
}

function flatten(prefix: string, rule: Data, into: Record<string, Value>): void {
  const members = RULE_MEMBERS.filter((name) => rule[name] !== undefined);
  for (const name of inDictionaryOrder(members)) into[`${prefix}.${name}`] = rule[name] ?? null;
}

/** JSON as QEMU writes it inside a file name: a blank after each colon and comma, members as its dictionaries have them. */
function spaced(value: Value): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const of = value as Data;
  const members = inDictionaryOrder(Object.keys(of)).map((name) => `"${name}": ${spaced(of[name] ?? null)}`);
  return `{${members.join(', ')}}`;
}
