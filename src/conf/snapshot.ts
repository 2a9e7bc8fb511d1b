/** `<domainsnapshot>`: what is asked for, and how a snapshot describes itself. */
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { formatOf } from './disk.ts';
import {
  childOf,
  element,
  elementsOf,
  formatXml,
  parseXml,
  requireRoot,
  textOf,
  type XmlElement,
} from './xml.ts';

/** virDomainSnapshotLocation. */
export const SNAPSHOT_LOCATIONS = ['no', 'internal', 'external', 'manual'] as const;
/** `<disk snapshot=>`. */
export type SnapshotLocation = (typeof SNAPSHOT_LOCATIONS)[number];

/** One `<disk>` as it is asked for. */
export interface SnapshotDiskRequest {
  /** Target or source path. */
  readonly name: string;
  /** undefined: what fits the snapshot. */
  readonly location: SnapshotLocation | undefined;
  readonly type: 'file' | 'block';
  /** undefined: to be generated. */
  readonly path: string | undefined;
  readonly format: string | undefined;
}

/** What snapshotCreateXML is asked for. */
export interface SnapshotRequest {
  /** undefined: to be generated. */
  readonly name: string | undefined;
  readonly description: string | undefined;
  readonly disks: readonly SnapshotDiskRequest[];
  /** undefined: what fits. */
  readonly memory: SnapshotMemory | undefined;
  /** Where external memory goes, absolute. */
  readonly memoryFile: string | undefined;
}

const MEMORIES = ['no', 'internal', 'external'] as const;
/** `<memory snapshot=>`. */
export type SnapshotMemory = (typeof MEMORIES)[number];

/** One disk of a snapshot that was taken. */
export interface SnapshotDisk {
  /** Target. */
  readonly name: string;
  readonly location: SnapshotLocation;
  /** The overlay, where there is one. */
  readonly overlay?: { readonly type: 'file' | 'block'; readonly path: string; readonly format: string };
}

/** What the domain was when a snapshot was taken; `disk-snapshot`: it ran, and only its disks were kept. */
export const SNAPSHOT_STATES = ['running', 'paused', 'shutoff', 'disk-snapshot'] as const;
/** One of {@link SNAPSHOT_STATES}. */
export type SnapshotState = (typeof SNAPSHOT_STATES)[number];

/** A snapshot as it was taken. */
export interface SnapshotDefinition {
  readonly name: string;
  readonly description: string | undefined;
  readonly state: SnapshotState;
  /** Seconds, by the connection's clock. */
  readonly creationTimeSeconds: number;
  readonly disks: readonly SnapshotDisk[];
  /** The domain as it was then. */
  readonly domainXml: string;
  /** What the next start would have used then, of a persistent domain that ran. */
  readonly inactiveXml?: string;
  /** Where its memory is; left out: inside the images, if it was kept. */
  readonly memoryFile?: string;
}

const snapshotError = (code: ErrorCode, detail: string): VirtError =>
  new VirtError(code, detail, { domain: ErrorDomain.DOMAIN_SNAPSHOT });

/**
 * Reads a `<domainsnapshot>`.
 * @throws VirtError XML_DETAIL, XML_ERROR, CONFIG_UNSUPPORTED
 */
export function snapshotFromXml(text: string): SnapshotRequest {
  const root = parseXml(text, 'domain_snapshot', ErrorDomain.DOMAIN_SNAPSHOT);
  requireRoot(root, 'domainsnapshot');
  const disks = childOf(root, 'disks');
  return {
    name: textOf(childOf(root, 'name')) || undefined,
    description: textOf(childOf(root, 'description')) || undefined,
    disks: disks
      ? elementsOf(disks)
          .filter(({ name }) => name === 'disk')
          .map(diskRequest)
      : [],
    memory: memoryOf(childOf(root, 'memory')),
    memoryFile: childOf(root, 'memory')?.attributes.file,
  };
}

function memoryOf(memory: XmlElement | undefined): SnapshotMemory | undefined {
  const { snapshot, file } = memory?.attributes ?? {};
  if (snapshot === undefined) return file === undefined ? undefined : 'external';
  const known = MEMORIES.find((each) => each === snapshot);
  if (known === undefined) {
    throw new VirtError(
      ErrorCode.XML_ERROR,
      `Invalid value for attribute 'snapshot' in element 'memory': '${snapshot}'.`,
      { domain: ErrorDomain.XML },
    );
  }
  if (known !== 'external' && file !== undefined) {
    throw snapshotError(ErrorCode.XML_ERROR, `memory filename '${file}' requires external snapshot`);
  }
  if (known === 'external' && file === undefined) {
    throw snapshotError(ErrorCode.XML_ERROR, 'external memory snapshots require a filename');
  }
  if (known === 'external' && !file?.startsWith('/')) {
    throw snapshotError(ErrorCode.XML_ERROR, `memory snapshot file path (${file}) must be absolute`);
  }
  return known;
}

function diskRequest(disk: XmlElement): SnapshotDiskRequest {
  const { name, snapshot, type = 'file' } = disk.attributes;
  if (name === undefined) {
    throw snapshotError(ErrorCode.INTERNAL_ERROR, 'missing name from disk snapshot element');
  }
  const location = SNAPSHOT_LOCATIONS.find((known) => known === snapshot);
  if (snapshot !== undefined && location === undefined) {
    throw new VirtError(
      ErrorCode.XML_ERROR,
      `Invalid value for attribute 'snapshot' in element 'disk': '${snapshot}'.`,
      { domain: ErrorDomain.XML },
    );
  }
  const kind = type === 'block' ? 'block' : 'file';
  const path = childOf(disk, 'source')?.attributes[kind === 'file' ? 'file' : 'dev'];
  if (path !== undefined && !path.startsWith('/')) {
    throw snapshotError(ErrorCode.XML_ERROR, `disk snapshot image path '${path}' must be absolute`);
  }
  // A file that is given without a location asks for an external snapshot.
  const asked = location ?? (path === undefined ? undefined : 'external');
  return { name, location: asked, type: kind, path, format: formatOf(childOf(disk, 'driver')) };
}

/** Writes a snapshot as virDomainSnapshotGetXMLDesc does. */
export function snapshotToXml(snapshot: SnapshotDefinition, parent: string | undefined): string {
  const { name, description, state, creationTimeSeconds, disks, domainXml, inactiveXml, memoryFile } =
    snapshot;
  const inside = keepsMemory(state) ? 'internal' : 'no';
  const memory = memoryFile === undefined ? inside : 'external';
  const inactive = inactiveXml === undefined ? undefined : parseXml(inactiveXml, 'domain_definition');
  return formatXml(
    element(
      'domainsnapshot',
      {},
      element('name', {}, name),
      description === undefined ? undefined : element('description', {}, description),
      element('state', {}, state),
      parent === undefined ? undefined : element('parent', {}, element('name', {}, parent)),
      element('creationTime', {}, String(creationTimeSeconds)),
      element('memory', { snapshot: memory, file: memoryFile }),
      element('disks', {}, ...disks.map(diskToXml)),
      parseXml(domainXml, 'domain_definition'),
      inactive && { ...inactive, name: 'inactiveDomain' },
    ),
  );
}

function diskToXml({ name, location, overlay }: SnapshotDisk): XmlElement {
  if (!overlay) return element('disk', { name, snapshot: location });
  return element(
    'disk',
    { name, snapshot: location, type: overlay.type },
    element('driver', { type: overlay.format }),
    element('source', { [overlay.type === 'file' ? 'file' : 'dev']: overlay.path }),
  );
}

/** Whether a snapshot of this state holds what was in memory. */
export const keepsMemory = (state: SnapshotState): boolean => state === 'running' || state === 'paused';

/** A snapshot as its own XML tells it (VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE). */
export interface ToldSnapshot {
  readonly definition: SnapshotDefinition;
  readonly parent: string | undefined;
}

/**
 * Reads what {@link snapshotToXml} has written.
 * @throws VirtError as {@link snapshotFromXml}, and for what only the XML of a snapshot that exists has
 */
export function toldSnapshotFromXml(text: string): ToldSnapshot {
  const root = parseXml(text, 'domain_snapshot', ErrorDomain.DOMAIN_SNAPSHOT);
  const { name, description, disks, memoryFile } = snapshotFromXml(text);
  if (name === undefined) {
    throw snapshotError(ErrorCode.XML_ERROR, 'a redefined snapshot must have a name');
  }
  const created = textOf(childOf(root, 'creationTime'));
  if (!/^\d{1,15}$/.test(created)) {
    throw snapshotError(ErrorCode.INTERNAL_ERROR, 'missing creationTime from existing snapshot');
  }
  const state = stateOf(textOf(childOf(root, 'state')));
  const memory = childOf(root, 'memory')?.attributes.snapshot;
  if (memory !== undefined && memory !== 'no' && !keepsMemory(state)) {
    const detail = 'memory state cannot be saved with offline or disk-only snapshot';
    throw snapshotError(ErrorCode.XML_ERROR, detail);
  }
  const domain = childOf(root, 'domain');
  if (!domain) throw snapshotError(ErrorCode.INTERNAL_ERROR, 'missing domain in snapshot');
  const parent = textOf(childOf(childOf(root, 'parent'), 'name')) || undefined;
  const creationTimeSeconds = Number(created);
  const domainXml = formatXml(domain);
  const kept = disks.map(toldDisk);
  const inactive = childOf(root, 'inactiveDomain');
  const rest = {
    ...(inactive && { inactiveXml: formatXml({ ...inactive, name: 'domain' }) }),
    ...(memoryFile !== undefined && { memoryFile }),
  };
  return {
    definition: { name, description, state, creationTimeSeconds, disks: kept, domainXml, ...rest },
    parent,
  };
}

function stateOf(text: string): SnapshotState {
  if (text === '') throw snapshotError(ErrorCode.INTERNAL_ERROR, 'missing state from existing snapshot');
  const state = SNAPSHOT_STATES.find((known) => known === text);
  if (state) return state;
  const detail = `Invalid state '${text}' in domain snapshot XML`;
  throw snapshotError(ErrorCode.CONFIG_UNSUPPORTED, detail);
}

function toldDisk({
  name,
  location = 'no',
  type,
  path,
  format = 'qcow2',
}: SnapshotDiskRequest): SnapshotDisk {
  return path === undefined ? { name, location } : { name, location, overlay: { type, path, format } };
}
