/** `<domain>`: what is read from it, and how it is written back. */
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { onceFor } from '../util/once-for.ts';
import {
  type DiskDefinition,
  type DiskSource,
  diskFromXml,
  diskNumber,
  emptiedDiskXml,
  switchedDiskToXml,
} from './disk.ts';
import {
  childOf,
  cloneXml,
  element,
  elementsOf,
  formatXml,
  parseXml,
  requireRoot,
  textOf,
  type XmlElement,
  type XmlNode,
} from './xml.ts';

/** A domain as defined: what this project understands, and the whole tree it came from. */
export interface DomainDefinition {
  readonly name: string;
  readonly uuid: string;
  readonly memoryBytes: number;
  readonly machineType: string | undefined;
  readonly emulator: string | undefined;
  readonly disks: readonly DiskDefinition[];
  readonly root: XmlElement;
}

const UUID = /^[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;
/** Binary units by libvirt's names (virScaleInteger); a bare letter means the binary unit. */
const UNIT_BYTES: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  KB: 1000,
  k: 1024,
  KiB: 1024,
  MB: 1_000_000,
  M: 1_048_576,
  MiB: 1_048_576,
  GB: 1_000_000_000,
  G: 1_073_741_824,
  GiB: 1_073_741_824,
};

const xmlError = (detail: string): VirtError =>
  new VirtError(ErrorCode.XML_ERROR, detail, { domain: ErrorDomain.DOMAIN });

/**
 * Parses a domain definition; gives it a UUID if it has none.
 * @throws VirtError XML_DETAIL, XML_ERROR, NO_SOURCE, CONFIG_UNSUPPORTED
 */
export function domainFromXml(text: string): DomainDefinition {
  const root = parseXml(text, 'domain_definition');
  requireRoot(root, 'domain');
  const name = textOf(childOf(root, 'name'));
  if (name === '') {
    throw new VirtError(ErrorCode.NO_NAME, 'missing name information', { domain: ErrorDomain.DOMAIN });
  }
  if (name.includes('/') || name.includes('\n'))
    throw xmlError(`name ${name} cannot contain '/' or a line break`);
  const written = textOf(childOf(root, 'uuid'));
  const uuid = written === '' ? globalThis.crypto.randomUUID() : canonicalUuid(written);
  if (uuid === undefined) throw xmlError(`malformed uuid element '${written}'`);
  const devices = childOf(root, 'devices');
  const disks = inDiskOrder(disksOf(devices));
  refuseTwins(disks);
  refuseUnshared(root, disks);
  if (devices)
    devices.children = withDisks(
      devices,
      disks.map((disk) => disk.element),
    ).children;
  return {
    name,
    uuid,
    memoryBytes: memoryOf(childOf(root, 'memory')),
    machineType: childOf(childOf(root, 'os'), 'type')?.attributes.machine,
    emulator: textOf(childOf(devices, 'emulator')) || undefined,
    disks,
    root,
  };
}

/** A UUID in lower case with its dashes; undefined for what is none. */
export function canonicalUuid(written: string): string | undefined {
  if (!UUID.test(written)) return undefined;
  const digits = written.replaceAll('-', '').toLowerCase();
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

function disksOf(devices: XmlElement | undefined): DiskDefinition[] {
  if (!devices) return [];
  return elementsOf(devices)
    .filter((child) => child.name === 'disk')
    .map(diskFromXml);
}

/** Each disk goes behind those of its bus with a smaller name (libvirt: virDomainDiskInsert). */
export function inDiskOrder(disks: readonly DiskDefinition[]): DiskDefinition[] {
  const ordered: DiskDefinition[] = [];
  for (const disk of disks) {
    const smaller = ordered.findLastIndex(
      ({ bus, target }) => bus === disk.bus && diskNumber(target) <= diskNumber(disk.target),
    );
    const larger = ordered.findIndex(({ bus }) => bus === disk.bus);
    const at = smaller === -1 ? (larger === -1 ? ordered.length : larger) : smaller + 1;
    ordered.splice(at, 0, disk);
  }
  return ordered;
}

/**
 * Refuses two disks of one name.
 * @throws VirtError XML_ERROR
 */
export function refuseTwins(disks: readonly DiskDefinition[]): void {
  const seen = new Map<string, DiskDefinition>();
  for (const disk of disks) {
    const twin = seen.get(disk.target);
    if (twin) {
      const sources = `'${twin.source?.path ?? '(null)'}' and '${disk.source?.path ?? '(null)'}'`;
      throw xmlError(`target '${disk.target}' duplicated for disk sources ${sources}`);
    }
    seen.set(disk.target, disk);
  }
}

/** Whoever serves a disk from another process reads the guest's memory. */
function refuseUnshared(root: XmlElement, disks: readonly DiskDefinition[]): void {
  const access = childOf(childOf(root, 'memoryBacking'), 'access')?.attributes.mode;
  if (access === 'shared' || !disks.some(({ vhostUser }) => vhostUser)) return;
  throw new VirtError(ErrorCode.CONFIG_UNSUPPORTED, "'vhostuser' requires shared memory");
}

function memoryOf(memory: XmlElement | undefined): number {
  const text = textOf(memory);
  if (!/^\d+$/.test(text))
    throw xmlError("missing or malformed memory element: add <memory unit='MiB'>...</memory>");
  const unit = memory?.attributes.unit ?? 'KiB';
  const scale = UNIT_BYTES[unit];
  if (scale === undefined) throw xmlError(`unknown suffix '${unit}' of memory`);
  const bytes = Number(text) * scale;
  if (bytes === 0 || !Number.isSafeInteger(bytes))
    throw xmlError(`memory of ${text} ${unit} is out of range`);
  return bytes;
}

/** Document order of what is put first when the user left it out. */
const LEADING = ['name', 'uuid'] as const;

/**
 * Writes a domain back.
 * @param disks replaces the definition's disks, in order
 * @param id the running domain's id; left out for an inactive one
 */
export function domainToXml(
  definition: DomainDefinition,
  disks?: readonly XmlElement[],
  id?: number,
): string {
  const { name, uuid, root } = definition;
  const { id: _, ...attributes } = root.attributes;
  const rest = root.children.filter((child) => typeof child !== 'string' && !isLeading(child));
  return formatXml({
    name: root.name,
    attributes: id === undefined ? attributes : { ...attributes, id: String(id) },
    children: [
      element('name', {}, name),
      element('uuid', {}, uuid),
      ...rest.map((child) => (disks && isElement(child, 'devices') ? withDisks(child, disks) : child)),
    ],
  });
}

/** {@link domainToXml} of a definition as it is. Definitions are replaced, never changed: each is written out once. */
export const textOfDomain = onceFor((definition: DomainDefinition) => domainToXml(definition));

function isElement(node: XmlNode, name: string): node is XmlElement {
  return typeof node !== 'string' && node.name === name;
}

function isLeading(node: XmlElement): boolean {
  return LEADING.some((name) => name === node.name);
}

function withDisks(devices: XmlElement, disks: readonly XmlElement[]): XmlElement {
  // All disks together, where the first one was or else behind the emulator, as libvirt writes them.
  const others = devices.children.filter((child) => !isElement(child, 'disk'));
  const first = devices.children.findIndex((child) => isElement(child, 'disk'));
  const at = first === -1 ? others.findIndex((child) => isElement(child, 'emulator')) + 1 : first;
  return { ...devices, children: [...others.slice(0, at), ...disks, ...others.slice(at)] };
}

/** A running disk as far as it takes to write what would start it again. */
export interface RestartDisk {
  readonly definition: DiskDefinition;
  readonly chain: readonly DiskSource[];
}

/** The definition that would start a running domain again with the images that it uses now. */
export function liveDefinition(definition: DomainDefinition, disks: readonly RestartDisk[]): string {
  const elements = disks.map(({ definition: { element: written, source }, chain }) => {
    if (chain.length === 0) return emptiedDiskXml(written);
    return chain[0]?.path === source?.path ? written : switchedDiskToXml(written, chain);
  });
  return domainToXml(definition, elements);
}

/** The definition with other disks; everything else as it was. */
export function withDiskElements(
  definition: DomainDefinition,
  disks: readonly XmlElement[],
): DomainDefinition {
  const root = cloneXml(definition.root);
  root.children = root.children.map((child) =>
    isElement(child, 'devices') ? withDisks(child, disks) : child,
  );
  return { ...definition, disks: disks.map(diskFromXml), root };
}
