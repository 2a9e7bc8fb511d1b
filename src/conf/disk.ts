/** `<disk>` elements and the images they name. */
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { type IoTune, ioTuneFromXml } from './iotune.ts';
import { childOf, element, elementsOf, parseXml, requireRoot, type XmlElement } from './xml.ts';

/** Where an image is and how to read it. */
export interface DiskSource {
  /** `file` or `block`: the storage types this project drives. */
  readonly type: 'file' | 'block';
  readonly path: string;
  /** Format driver name. */
  readonly format: string;
  /** How the overlay's header names this image, where that is a relative name. */
  readonly relativeName?: string;
  /** Found by reading the header above it, not named by anybody: no definition ever shows it. */
  readonly detected?: true;
}

/** A `<disk>` as written by the user: one drive of a domain. */
export interface DiskDefinition {
  /** `<target dev>`. */
  readonly target: string;
  /** `<target bus>`. */
  readonly bus: string;
  readonly device: 'disk' | 'cdrom';
  readonly readonly: boolean;
  readonly shareable: boolean;
  /** Changes are thrown away when the domain ends: block jobs refuse such a disk. */
  readonly transient: boolean;
  /** startupPolicy='optional': the domain starts without a source that is not there. */
  readonly optional: boolean;
  /** Another process serves it (type='vhostuser'): there is no image to do anything with. */
  readonly vhostUser: boolean;
  /** undefined: a drive without medium, or a disk of another process. */
  readonly source: DiskSource | undefined;
  /** What `<backingStore>` says, top first. */
  readonly backing: readonly DiskSource[];
  /** The chain ends with an empty `<backingStore/>`, so nothing below it is looked for. */
  readonly backingTerminated: boolean;
  /** How fast it may be. */
  readonly iotune: IoTune;
  /** The element as parsed, with all that is not understood here. */
  readonly element: XmlElement;
}

/** A copy's destination as `blockCopy` takes it. */
export interface DestinationDefinition {
  readonly type: 'file' | 'block';
  readonly path: string;
  /** undefined: take the source's, or probe when reusing. */
  readonly format: string | undefined;
  /** It is on another host (type='network'), where nothing can be looked at; the path means nothing then. */
  readonly isRemote: boolean;
  /** It is to be handed over as open descriptors: `<source fdgroup=>`. */
  readonly isPassed: boolean;
  readonly backing: readonly DiskSource[];
  readonly backingTerminated: boolean;
}

const STORAGE_TYPES = ['file', 'block'] as const;
/** virStorageType: what libvirt parses, of which only {@link STORAGE_TYPES} are driven here. */
const LIBVIRT_STORAGE_TYPES = new Set([
  ...['file', 'block', 'dir', 'network', 'volume', 'nvme', 'vhostuser', 'vhostvdpa'],
]);
/** virStorageFileFormat. */
const FORMATS = new Set([
  ...['none', 'raw', 'dir', 'bochs', 'cloop', 'dmg', 'iso', 'vpc', 'vdi', 'fat', 'vhd', 'ploop'],
  ...['cow', 'qcow', 'qcow2', 'qed', 'vmdk', 'luks'],
]);
const DEVICES = ['disk', 'cdrom'] as const;
/** Target name prefix to bus, where `<target bus>` is left out (libvirt: virDomainDiskDefPostParse). */
const BUS_OF_PREFIX: readonly (readonly [string, string])[] = [
  ['vd', 'virtio'],
  ['sd', 'scsi'],
  ['hd', 'ide'],
  ['fd', 'fdc'],
];

const xmlError = (detail: string): VirtError =>
  new VirtError(ErrorCode.XML_ERROR, detail, { domain: ErrorDomain.DOMAIN });

const unsupported = (detail: string): VirtError =>
  new VirtError(ErrorCode.CONFIG_UNSUPPORTED, detail, { domain: ErrorDomain.DOMAIN });

/**
 * Reads one `<disk>` of a domain.
 * @throws VirtError XML_ERROR, CONFIG_UNSUPPORTED, NO_SOURCE
 */
export function diskFromXml(disk: XmlElement): DiskDefinition {
  const vhostUser = disk.attributes.type === 'vhostuser';
  const type = vhostUser ? 'file' : storageTypeOf(disk);
  const device = oneOf(DEVICES, disk.attributes.device ?? 'disk', 'disk device');
  const targetElement = childOf(disk, 'target');
  const target = targetElement?.attributes.dev;
  if (!target) throw xmlError('disk is missing its target: add <target dev=.../>');
  const path = vhostUser ? undefined : sourcePathOf(childOf(disk, 'source'), type);
  if (path === undefined && device === 'disk' && !vhostUser) {
    throw new VirtError(ErrorCode.NO_SOURCE, target, { domain: ErrorDomain.DOMAIN });
  }
  const format = formatOf(childOf(disk, 'driver')) ?? 'raw';
  return {
    target,
    bus: targetElement?.attributes.bus ?? busFor(target),
    device,
    readonly: device === 'cdrom' || childOf(disk, 'readonly') !== undefined,
    shareable: childOf(disk, 'shareable') !== undefined,
    transient: childOf(disk, 'transient') !== undefined,
    optional: childOf(disk, 'source')?.attributes.startupPolicy === 'optional',
    vhostUser,
    source: path === undefined ? undefined : { type, path, format },
    iotune: ioTuneFromXml(disk),
    ...backingFromXml(childOf(disk, 'backingStore')),
    element: disk,
  };
}

/**
 * Reads the `<disk>` that names a copy's destination (libvirt: virDomainDiskDefParseSource).
 * @throws VirtError XML_DETAIL, XML_ERROR, NO_SOURCE, CONFIG_UNSUPPORTED
 */
export function destinationFromXml(text: string): DestinationDefinition {
  const disk = parseXml(text, 'disk_definition');
  requireRoot(disk, 'disk');
  const isRemote = disk.attributes.type === 'network';
  const type = isRemote ? 'file' : storageTypeOf(disk);
  const path = isRemote ? '' : sourcePathOf(childOf(disk, 'source'), type);
  if (path === undefined || (isRemote && !childOf(disk, 'source'))) {
    throw new VirtError(ErrorCode.NO_SOURCE, 'missing source information for device', {
      domain: ErrorDomain.DOMAIN,
      bare: true,
    });
  }
  const format = formatOf(childOf(disk, 'driver'));
  const isPassed = childOf(disk, 'source')?.attributes.fdgroup !== undefined;
  return { type, path, format, isRemote, isPassed, ...backingFromXml(childOf(disk, 'backingStore')) };
}

function storageTypeOf(disk: XmlElement): 'file' | 'block' {
  const type = disk.attributes.type ?? 'file';
  if (!LIBVIRT_STORAGE_TYPES.has(type)) {
    throw new VirtError(
      ErrorCode.XML_ERROR,
      `Invalid value for attribute 'type' in element 'disk': '${type}'.`,
      { domain: ErrorDomain.XML },
    );
  }
  return oneOf(STORAGE_TYPES, type, 'disk type');
}

/**
 * The format that a `<driver>` or `<format>` names.
 * @throws VirtError CONFIG_UNSUPPORTED for one that libvirt does not know
 */
export function formatOf(driver: XmlElement | undefined): string | undefined {
  const type = driver?.attributes.type;
  if (type === undefined || FORMATS.has(type)) return type;
  throw unsupported(`unknown driver format value '${type}'`);
}

/** Position of a disk by its name, from 0: `vda`, `vdb`, ..., `vdaa` (libvirt: virDiskNameToIndex). */
export function diskNumber(target: string): number {
  const letters = /^(?:fd|hd|vd|sd|xvd|ubd)([a-z]+)/.exec(target)?.[1] ?? 'a';
  let number = 0;
  for (const letter of letters) number = number * 26 + letter.charCodeAt(0) - 96;
  return number - 1;
}

function oneOf<const T extends string>(valid: readonly T[], value: string, what: string): T {
  const found = valid.find((candidate) => candidate === value);
  if (found === undefined)
    throw unsupported(`${what} '${value}' is not supported; use one of ${valid.join(', ')}`);
  return found;
}

function busFor(target: string): string {
  const bus = BUS_OF_PREFIX.find(([prefix]) => target.startsWith(prefix))?.[1];
  if (!bus) throw xmlError(`cannot tell the bus of disk '${target}': add <target bus=.../>`);
  return bus;
}

/** The path of a `<source>`; undefined for an empty drive. */
function sourcePathOf(source: XmlElement | undefined, type: 'file' | 'block'): string | undefined {
  return source?.attributes[type === 'file' ? 'file' : 'dev'] || undefined;
}

function backingFromXml(first: XmlElement | undefined): {
  backing: DiskSource[];
  backingTerminated: boolean;
} {
  const backing: DiskSource[] = [];
  for (let store = first; store; store = childOf(store, 'backingStore')) {
    if (elementsOf(store).length === 0) return { backing, backingTerminated: true };
    const type = storageTypeOf(store);
    const path = sourcePathOf(childOf(store, 'source'), type);
    if (path === undefined) throw xmlError('missing source of a <backingStore>: add <source file=.../>');
    backing.push({ type, path, format: childOf(store, 'format')?.attributes.type ?? 'raw' });
  }
  return { backing, backingTerminated: false };
}

/** An image of a running domain's chain. */
export interface ImageDescription extends DiskSource {
  /** libvirt's index, live XML only. */
  readonly index: number;
}

/** A copy or active commit as the live XML shows it. */
export interface MirrorDescription {
  readonly job: 'copy' | 'active-commit';
  readonly image: ImageDescription;
  /** undefined: the mirror has no `<backingStore>` child at all (shallow into a new file, active commit). */
  readonly backing: readonly ImageDescription[] | undefined;
  readonly ready: 'yes' | 'pivot' | 'abort' | undefined;
}

/** What the live XML of a disk is made from. */
export interface LiveDiskDescription {
  readonly definition: DiskDefinition;
  readonly alias: string;
  /** Active image first; empty: no medium. */
  readonly chain: readonly ImageDescription[];
  readonly mirror: MirrorDescription | undefined;
  /** Index that a drive emptied while running still shows. */
  readonly emptyIndex: number | undefined;
}

/** Elements that describe what is in a drive. */
const MEDIUM = new Set(['source', 'backingStore', 'mirror']);
const REPLACED = new Set(['driver', 'source', 'backingStore', 'mirror', 'alias']);

/** The `<disk>` of a running domain: libvirt's element order, then whatever else the user wrote. */
export function liveDiskToXml(live: LiveDiskDescription): XmlElement {
  const disk = rebuilt(live.definition.element, live.chain, live.mirror);
  if (live.chain.length === 0 && live.emptyIndex !== undefined) {
    disk.children.splice(1, 0, element('source', { index: String(live.emptyIndex) }));
  }
  disk.children.push(element('alias', { name: live.alias }));
  return disk;
}

/** The persistent `<disk>` after its active image has changed: the new chain and its end as it is known. */
export function switchedDiskToXml(
  written: XmlElement,
  chain: readonly DiskSource[],
  terminated = true,
): XmlElement {
  // Indexes belong to one run of the domain and must not get into what outlives it.
  return rebuilt(
    written,
    chain.map(({ type, path, format }): DiskSource => ({ type, path, format })),
    undefined,
    terminated,
  );
}

/** The persistent `<disk>` for a live chain: it ends, without saying so, where images were only found by reading headers. */
export function followingDiskXml(written: XmlElement, chain: readonly DiskSource[]): XmlElement {
  // The active image is always named: a commit may have made one of it that had been found below another.
  const found = chain.findIndex(({ detected }, depth) => depth > 0 && detected);
  return found === -1
    ? switchedDiskToXml(written, chain)
    : switchedDiskToXml(written, chain.slice(0, found), false);
}

/** The `<disk>` with its medium taken out. */
export function emptiedDiskXml(written: XmlElement): XmlElement {
  if (written.attributes.type === 'vhostuser') return written;
  const kept = written.children.filter((child) => typeof child === 'string' || !MEDIUM.has(child.name));
  return { ...written, children: kept };
}

/**
 * The persistent `<disk>` after a snapshot: the overlay, above what the definition said until then.
 */
export function overlaidDiskXml(
  { element: written, source, backing, ...disk }: DiskDefinition,
  overlay: DiskSource,
) {
  const below = source ? [source, ...backing] : backing;
  const root = switchedDiskToXml(written, [overlay]);
  const children = root.children.map((child) =>
    typeof child !== 'string' && child.name === 'backingStore'
      ? backingToXml(below, disk.backingTerminated)
      : child,
  );
  return { ...root, children };
}

function rebuilt(
  written: XmlElement,
  chain: readonly (DiskSource & { readonly index?: number })[],
  mirror: MirrorDescription | undefined,
  terminated = true,
): XmlElement {
  const isServed = written.attributes.type === 'vhostuser';
  const rest = written.children.filter(
    (child) =>
      typeof child !== 'string' && (!REPLACED.has(child.name) || (isServed && child.name === 'source')),
  );
  const [top, ...below] = chain;
  const driver = childOf(written, 'driver');
  const options = { name: 'qemu', ...driver?.attributes, ...(top && { type: top.format }) };
  return {
    name: 'disk',
    attributes: { ...written.attributes, ...(top && { type: top.type }) },
    children: [
      element('driver', options, ...(driver?.children ?? [])),
      ...(top ? [sourceToXml(top)] : []),
      ...(top && (below.length > 0 || terminated) ? [backingToXml(below, terminated)] : []),
      ...(mirror ? [mirrorToXml(mirror)] : []),
      ...rest,
    ],
  };
}

function sourceToXml(image: DiskSource & { readonly index?: number }): XmlElement {
  return element('source', {
    [image.type === 'file' ? 'file' : 'dev']: image.path,
    index: image.index?.toString(),
  });
}

/** @param terminated whether the chain is known to end where it does */
function backingToXml(
  chain: readonly (DiskSource & { readonly index?: number })[],
  terminated = true,
): XmlElement {
  const [top, ...below] = chain;
  if (!top) return element('backingStore');
  return element(
    'backingStore',
    { type: top.type, index: top.index?.toString() },
    element('format', { type: top.format }),
    sourceToXml({ type: top.type, path: top.path, format: top.format }),
    below.length > 0 || terminated ? backingToXml(below, terminated) : undefined,
  );
}

function mirrorToXml(mirror: MirrorDescription): XmlElement {
  const { image } = mirror;
  // The attributes file= and format= are there for readers of libvirt before 1.2.6; active commit never had them.
  const old =
    mirror.job === 'copy' && image.type === 'file' ? { file: image.path, format: image.format } : {};
  return element(
    'mirror',
    { type: image.type, ...old, job: mirror.job, ready: mirror.ready },
    element('format', { type: image.format }),
    sourceToXml(image),
    mirror.backing && backingToXml(mirror.backing),
  );
}
