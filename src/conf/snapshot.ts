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

const LOCATIONS = ['no', 'internal', 'external', 'manual'] as const;
/** `<disk snapshot=>`. */
export type SnapshotLocation = (typeof LOCATIONS)[number];

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
}

/** One disk of a snapshot that was taken. */
export interface SnapshotDisk {
  /** Target. */
  readonly name: string;
  readonly location: SnapshotLocation;
  /** The overlay, where there is one. */
  readonly overlay?: { readonly type: 'file' | 'block'; readonly path: string; readonly format: string };
}

/** A snapshot as it was taken. */
export interface SnapshotDefinition {
  readonly name: string;
  readonly description: string | undefined;
  readonly state: 'disk-snapshot';
  /** Seconds, by the connection's clock. */
  readonly creationTimeSeconds: number;
  readonly disks: readonly SnapshotDisk[];
  /** The domain as it was then. */
  readonly domainXml: string;
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
  };
}

function diskRequest(disk: XmlElement): SnapshotDiskRequest {
  const { name, snapshot, type = 'file' } = disk.attributes;
  if (name === undefined) {
    throw snapshotError(ErrorCode.INTERNAL_ERROR, 'missing name from disk snapshot element');
  }
  const location = LOCATIONS.find((known) => known === snapshot);
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
  const { name, description, state, creationTimeSeconds, disks, domainXml } = snapshot;
  return formatXml(
    element(
      'domainsnapshot',
      {},
      element('name', {}, name),
      description === undefined ? undefined : element('description', {}, description),
      element('state', {}, state),
      parent === undefined ? undefined : element('parent', {}, element('name', {}, parent)),
      element('creationTime', {}, String(creationTimeSeconds)),
      element('memory', { snapshot: 'no' }),
      element('disks', {}, ...disks.map(diskToXml)),
      parseXml(domainXml, 'domain_definition'),
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
