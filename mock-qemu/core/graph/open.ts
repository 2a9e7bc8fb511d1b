/** Opening nodes from BlockdevOptions. */

import { FIRST_CLUSTERS } from '../cluster-layout.ts';
import type { Data, Value } from '../data.ts';
import { HostError, strerror } from '../errno.ts';
import { CommandError, refuse } from '../errors.ts';
import {
  fileSizeBytes,
  type ImageFile,
  type ImageHeader,
  type ImageStore,
  resolveBacking,
} from '../images.ts';
import { addressText, type NbdAddress, NbdConnection, type NbdNetwork, parseNbdName } from '../nbd.ts';
import type { ThrottleGroups } from '../throttle.ts';
import { DebugRules, debugError, hasDebugBelow } from './blkdebug.ts';
import { DRIVERS, type DriverName } from './drivers.ts';
import { type BlockGraph, closeImage, startPending } from './graph.ts';
import type { BlockNode } from './node.ts';
import { loadBitmaps } from './stored-bitmaps.ts';

/** What opening needs. */
export interface OpenContext {
  readonly graph: BlockGraph;
  readonly images: ImageStore;
  readonly throttles: ThrottleGroups;
  readonly network: NbdNetwork;
}

/** Whose node it is. */
export interface OpenHints {
  /** Made by blockdev-add. */
  readonly monitorOwned?: boolean;
  /** Passed down from the parent where the options do not say. */
  readonly readOnly?: boolean;
  readonly forceShare?: boolean;
  /** Opened along with its parent: it lets discards through unless told otherwise. */
  readonly isChild?: boolean;
}

const isObject = (value: Value | undefined): value is Data =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

// A key=value command line has `on` where JSON has true.
const isOn = (value: Value | undefined): boolean => value === true || value === 'on';

/** Opens a file of the host; refuses with the text QEMU has for it. */
export function openFile(images: ImageStore, path: string): ImageFile {
  try {
    return images.open(path);
  } catch (error) {
    if (error instanceof HostError) {
      refuse(`Could not open '${path}': ${strerror(error.code)}`, 'GenericError', {
        kind: 'open-failed',
        filename: path,
      });
    }
    throw error;
  }
}

const detectZeroesOf = (value: Value | undefined): 'off' | 'on' | 'unmap' =>
  value === 'on' || value === 'unmap' ? value : 'off';

const DEBUG_PREFIX = 'blkdebug:';

/** `blkdebug:CONFIG:IMAGE`, of which the first may be empty. */
function debugFileOptions(name: string): Data {
  const [, config = '', image] = /^blkdebug:([^:]*):(.*)$/s.exec(name) ?? [];
  if (image === undefined) refuse('blkdebug requires both config file and image path');
  return { driver: 'blkdebug', ...(config !== '' && { config }), image: fileOptions(image) };
}

/** The options of what a file name names: a file of the host, or an export of another machine. */
export function fileOptions(name: string): Data {
  if (name.startsWith(DEBUG_PREFIX)) return debugFileOptions(name);
  const nbd = parseNbdName(name);
  if (!nbd) return { driver: 'file', filename: name };
  return { driver: 'nbd', server: { ...nbd.address }, export: nbd.exportName };
}

/** The format that probing finds: qcow2 has a magic, everything else is raw. */
export const probeFormat = (images: ImageStore, path: string): string =>
  openFile(images, path.replace(/^(?:blkdebug:[^:]*:)+/, '')).format;

/** Opens a node and all below it; on a refusal nothing of it stays open. */
export function openNode(context: OpenContext, options: Data, hints: OpenHints = {}): BlockNode {
  const { graph } = context;
  const driverName = String(options.driver ?? 'raw');
  if (!Object.hasOwn(DRIVERS, driverName)) {
    refuse(`Unknown driver '${driverName}'`, 'GenericError', { kind: 'invalid-format', name: driverName });
  }
  const driver = DRIVERS[driverName as DriverName];
  if (driver.kind === 'filter' && driver !== DRIVERS.blkdebug && driver !== DRIVERS.throttle)
    refuse(`Driver '${driverName}' is not supported by the simulation`);
  const readOnly =
    options['read-only'] === undefined ? (hints.readOnly ?? false) : isOn(options['read-only']);
  const forceShare = hints.forceShare === true || isOn(options['force-share']);
  if (forceShare && !readOnly) {
    refuse('force-share=on can only be used with read-only images');
  }
  // A `file` comes first: it is the older node, and its errors come before those of the name. An `image` comes later.
  const below = { readOnly, forceShare, isChild: true };
  const hasFile = driver.kind !== 'protocol' && driver !== DRIVERS.blkdebug;
  const child = hasFile ? openChild(context, options.file, below) : undefined;
  let node: BlockNode | undefined;
  try {
    const name = options['node-name'];
    const discard = options.discard ?? (hints.isChild ? 'unmap' : 'ignore');
    const unmap = discard === 'unmap' || discard === 'on';
    node = graph.add({
      name: typeof name === 'string' ? name : undefined,
      driver,
      readOnly,
      active: options.active === undefined || isOn(options.active),
      monitorOwned: true,
      unmap,
      forceShare,
      detectZeroes: detectZeroesOf(options['detect-zeroes']),
    });
    if (driver === DRIVERS.blkdebug) {
      const debug = new DebugRules(options, context.images);
      graph.adopt(node, 'filtered', openChild(context, options.image, below));
      keepLength(node);
      debug.begin();
      node.debug = debug;
    } else if (child && driver.kind === 'filter') {
      graph.adopt(node, 'filtered', child);
      keepLength(node);
      joinGroup(context, node, options);
    } else if (child) openFormat(context, node, child, options);
    else openProtocol(context, node, options);
  } catch (error) {
    if (node) discardUnopened(graph, node);
    if (child) graph.collect(child);
    throw error;
  }
  node.monitorOwned = hints.monitorOwned ?? false;
  node.inherits = hints.isChild ?? false;
  return node;
}

/** A filter looks how long what it filters is; it stays so until it is resized itself, or opened again. */
export function keepLength(filter: BlockNode): void {
  filter.knownLengthBytes = filter.filtered?.child.lengthBytes;
}

/** Puts a throttle node under the limits of a group that there is. */
export function joinGroup({ throttles }: OpenContext, node: BlockNode, options: Data): void {
  const name = String(options['throttle-group'] ?? '');
  const group = throttles.find(name) ?? refuse(`Throttle group '${name}' does not exist`);
  if (node.throttle) node.throttle.members--;
  group.members++;
  node.throttle = group;
}

/** Drops a node that was not opened in full: there is nothing to flush. */
function discardUnopened(graph: BlockGraph, node: BlockNode): void {
  closeImage(node);
  node.readOnly = true;
  node.pending = undefined;
  node.monitorOwned = false;
  graph.collect(node);
}

/** The server that options name. */
function serverAddress({ server, path, host, port }: Data): NbdAddress {
  if (isObject(server)) return serverAddress({ ...server, server: null });
  if (path !== undefined) return { type: 'unix', path: String(path) };
  return { type: 'inet', host: String(host), port: String(port ?? '10809') };
}

/** The export that options name; refuses if nobody is there or has such an export. */
function connect({ network }: OpenContext, readOnly: boolean, options: Data): NbdConnection {
  const address = serverAddress(options);
  const called = addressText(address);
  if (address.type === 'inet' && !/^\d+$/.test(address.port)) {
    refuse(`address resolution failed for ${called}: Servname not supported for ai_socktype`);
  }
  const reason = strerror(address.type === 'unix' ? 'ENOENT' : 'ECONNREFUSED');
  const found = network.find(address) ?? refuse(`Failed to connect to '${called}': ${reason}`);
  const wanted = found.exports.get(String(options.export ?? '')) ?? refuse('Requested export not available');
  if (!readOnly && !wanted.writable) refuse('request on denied for read-only export');
  return new NbdConnection(address, wanted);
}

function openProtocol(context: OpenContext, node: BlockNode, options: Data): void {
  if (node.driver.name.startsWith('null-')) {
    const { size, 'read-zeroes': readZeroes } = options;
    node.chosen = {
      ...(size !== undefined && { size }),
      ...(readZeroes !== undefined && { 'read-zeroes': isOn(readZeroes) }),
    };
    node.fixedSizeBytes = typeof size === 'number' ? size : 2 ** 30;
    node.readsZeroes = isOn(readZeroes);
    node.isSlow = Number(options['latency-ns'] ?? 0) > 0;
    return;
  }
  if (node.driver === DRIVERS.nbd) {
    node.remote = connect(context, node.readOnly, options);
    return;
  }
  node.image = openFile(context.images, String(options.filename ?? ''));
  node.knownBytes = fileSizeBytes(node.image);
}

function openFormat(context: OpenContext, node: BlockNode, child: BlockNode, options: Data): void {
  context.graph.adopt(node, 'file', child);
  node.image = imageBelow(child);
  startPending(node);
  if (node.driver.name === 'raw') return;
  const image = node.image;
  if (image?.layout) image.layout.searchFrom = 0;
  readMetadata(child, image?.header);
  if (image?.format !== node.driver.name) {
    refuse(`Image is not in ${node.driver.name} format`);
  }
  openBacking(context, node, options.backing);
  loadBitmaps(node);
}

/** Something that a format reads of its file when it is opened, and what it says if that fails. */
interface OpeningRead {
  readonly offset: number;
  readonly bytes: number;
  readonly text: string;
  readonly event?: string;
}

const CLUSTER_BYTES = 65536;
const HEADER_BYTES = 112;
const EXTENSION_HEADER_BYTES = 8;
/** The table of the names that features have. */
const FEATURE_TABLE_BYTES = 384;

/** First comes what every image has. */
const OPENING_READS: readonly OpeningRead[] = [
  { offset: 0, bytes: HEADER_BYTES, text: 'Could not read qcow2 header' },
  { offset: FIRST_CLUSTERS.l1 * CLUSTER_BYTES, bytes: 8, text: 'Could not read L1 table' },
  {
    // The directory of refcounts is right before them.
    offset: (FIRST_CLUSTERS.refcounts - 1) * CLUSTER_BYTES,
    bytes: CLUSTER_BYTES,
    text: 'Could not initialize refcount handling',
    event: 'reftable_load',
  },
];

/** Then come the header's extensions, one after the other, and the name of the backing file. */
function headerReads({ backingName, backingFormat }: ImageHeader): readonly OpeningRead[] {
  const reads: OpeningRead[] = [];
  const extension = (offset: number) =>
    reads.push({
      ...{ offset, bytes: EXTENSION_HEADER_BYTES },
      text: `qcow2_read_extension: ERROR: pread fail from offset ${offset}`,
    });
  let offset = HEADER_BYTES;
  const pass = (bytes: number) => {
    offset += EXTENSION_HEADER_BYTES + Math.ceil(bytes / 8) * 8;
  };
  extension(offset);
  if (backingFormat !== undefined) {
    const text = 'ERROR: ext_backing_format: Could not read format name';
    reads.push({ offset: offset + EXTENSION_HEADER_BYTES, bytes: backingFormat.length, text });
    pass(backingFormat.length);
    extension(offset);
  }
  pass(FEATURE_TABLE_BYTES);
  extension(offset);
  pass(0);
  if (backingName !== undefined) {
    reads.push({ offset, bytes: backingName.length, text: 'Could not read backing file name' });
  }
  return reads;
}

/** Lets injected errors meet a format that is being opened. */
function readMetadata(file: BlockNode, header: ImageHeader | undefined): void {
  if (!hasDebugBelow(file)) return;
  for (const { offset, bytes, text, event } of [...OPENING_READS, ...(header ? headerReads(header) : [])]) {
    if (event !== undefined) file.debug?.event(event);
    const error = debugError(file, { op: 'read', offset, bytes });
    if (error !== undefined) refuse(`${text}: ${strerror(error)}`);
  }
}

function openBacking(context: OpenContext, node: BlockNode, option: Value | undefined): void {
  if (option === undefined) attachHeaderBacking(context, node);
  else if (option !== null) {
    const backing = openedBacking(() => openChild(context, option, backingHints(node)));
    context.graph.adopt(node, 'backing', backing);
  }
}

/** What opening gives; what refuses it says that it was the backing file, other than what refuses to put it below. */
function openedBacking(open: () => BlockNode): BlockNode {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const told = new CommandError(`Could not open backing file: ${error.message}`);
    told.errno = 'EINVAL';
    throw told;
  }
}

/** Opens what an image's header names as its backing file and puts it below; refuses if that cannot be opened. */
export function attachHeaderBacking(context: OpenContext, node: BlockNode): void {
  const image = node.image;
  const named = image?.header.backingName;
  if (image === undefined || named === undefined || node.backing) return;
  const path = resolveBacking(image.path, named);
  const backing = openedBacking(() =>
    openNode(context, backingOptions(context, image, path), backingHints(node)),
  );
  context.graph.adopt(node, 'backing', backing);
}

const JSON_NAME = 'json:';

/** The options that a name is made of; it may come from a file that anybody has written. */
function namedOptions(name: string): Data {
  try {
    const options = JSON.parse(name.slice(JSON_NAME.length)) as Value;
    if (isObject(options)) return options;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return refuse('Could not parse the JSON options');
}

/** What a header says of the backing file: its name, be it made of options, and mostly its format. */
function backingOptions({ images }: OpenContext, { header }: ImageFile, path: string): Data {
  const { backingFormat: driver } = header;
  if (path.startsWith(JSON_NAME)) return { ...(driver && { driver }), ...namedOptions(path) };
  const file: Data = { ...fileOptions(path), 'read-only': true };
  // An overlay of a file alone says that its backing file is one.
  if (driver === file.driver) return file;
  return { driver: driver ?? probeFormat(images, path), file };
}

const backingHints = ({ forceShare }: BlockNode): OpenHints => ({
  readOnly: true,
  forceShare,
  isChild: true,
});

function openChild(context: OpenContext, option: Value | undefined, hints: OpenHints): BlockNode {
  if (typeof option === 'string') return context.graph.findNodeReference(option);
  if (isObject(option)) return openNode(context, option, hints);
  return refuse('A block device must be specified for "file"');
}

/** The file at the bottom of a node's own storage. */
export function imageBelow(node: BlockNode): ImageFile | undefined {
  let at: BlockNode = node;
  for (let next = at.filtered ?? at.file; next; next = at.filtered ?? at.file) at = next.child;
  return at.image;
}
