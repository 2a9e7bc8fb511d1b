/** `<domaincheckpoint>`: what is asked for, and how a checkpoint describes itself. */
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
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

/** One `<disk>`: whether its changes are recorded from then on, and under which name. */
export interface CheckpointDisk {
  /** Target; in a request also the path of the active image. */
  readonly name: string;
  /** undefined: nothing is recorded. */
  readonly bitmap: string | undefined;
}

/** What checkpointCreateXML is asked for. */
export interface CheckpointRequest {
  /** undefined: to be generated. */
  readonly name: string | undefined;
  readonly description: string | undefined;
  /** `bitmap` is a name, or true for the checkpoint's own; undefined altogether: every disk that can. */
  readonly disks: readonly { readonly name: string; readonly bitmap: string | boolean }[] | undefined;
}

/** A checkpoint as it was made. */
export interface CheckpointDefinition {
  readonly name: string;
  readonly description: string | undefined;
  /** Seconds, by the connection's clock. */
  readonly creationTimeSeconds: number;
  readonly disks: readonly CheckpointDisk[];
  /** The domain as it was then; undefined where a redefinition did not say. */
  readonly domainXml: string | undefined;
}

/** A checkpoint as its own XML tells it (VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE). */
export interface ToldCheckpoint {
  readonly definition: CheckpointDefinition;
  readonly parent: string | undefined;
}

const checkpointError = (code: ErrorCode, detail: string): VirtError =>
  new VirtError(code, detail, { domain: ErrorDomain.DOMAIN_CHECKPOINT });

/** What libvirt's schema lets through, in the words that libxml has for what it does not. */
function invalid(what: string): VirtError {
  return new VirtError(
    ErrorCode.XML_INVALID_SCHEMA,
    `Unable to validate doc against domaincheckpoint.rng\n${what}`,
    {
      domain: ErrorDomain.XML,
    },
  );
}

const KNOWN = new Set(['name', 'description', 'disks', 'creationTime', 'parent', 'domain']);

/** Every checkpoint's XML is held to libvirt's schema first. */
function validate(root: XmlElement): void {
  const stranger = elementsOf(root).find(({ name }) => !KNOWN.has(name));
  if (stranger) throw invalid(`Element domaincheckpoint has extra content: ${stranger.name}`);
  const name = childOf(root, 'name');
  if (name && !/^[^/.][^/]*$/.test(textOf(name))) throw invalid('Extra element name in interleave');
  const time = childOf(root, 'creationTime');
  if (time && !/^\d{1,15}$/.test(textOf(time))) throw invalid('Extra element creationTime in interleave');
  const disks = childOf(root, 'disks');
  if (disks && (elementsOf(disks).length === 0 || !elementsOf(disks).every(isDisk))) {
    throw invalid('Extra element disks in interleave');
  }
}

const TARGET = /^([hv]d[a-z0-9]+|sd[a-z0-9]+|xvd[a-z0-9]+|fd[a-z0-9]+)$/;

function isDisk({ name: tag, attributes }: XmlElement): boolean {
  const { name = '', checkpoint, bitmap } = attributes;
  if (tag !== 'disk' || !(TARGET.test(name) || name.startsWith('/'))) return false;
  if (checkpoint === 'no') return bitmap === undefined;
  return checkpoint === undefined || checkpoint === 'bitmap';
}

/**
 * Reads a `<domaincheckpoint>`.
 * @throws VirtError XML_DETAIL, XML_ERROR, XML_INVALID_SCHEMA
 */
export function checkpointFromXml(text: string): CheckpointRequest {
  const root = parseXml(text, 'domain_checkpoint', ErrorDomain.DOMAIN_CHECKPOINT);
  requireRoot(root, 'domaincheckpoint');
  validate(root);
  const disks = childOf(root, 'disks');
  return {
    name: textOf(childOf(root, 'name')) || undefined,
    description: textOf(childOf(root, 'description')) || undefined,
    disks:
      disks &&
      elementsOf(disks).map(({ attributes: { name = '', checkpoint, bitmap } }) => ({
        name,
        bitmap: checkpoint !== 'no' && (bitmap ?? true),
      })),
  };
}

/**
 * Reads what {@link checkpointToXml} has written.
 * @throws VirtError as {@link checkpointFromXml}, and for what only the XML of a checkpoint that exists has
 */
export function toldCheckpointFromXml(text: string): ToldCheckpoint {
  const { name, description, disks = [] } = checkpointFromXml(text);
  const root = parseXml(text, 'domain_checkpoint', ErrorDomain.DOMAIN_CHECKPOINT);
  if (name === undefined) {
    throw checkpointError(ErrorCode.XML_ERROR, 'a redefined checkpoint must have a name');
  }
  const created = textOf(childOf(root, 'creationTime'));
  if (created === '') {
    throw checkpointError(ErrorCode.INTERNAL_ERROR, 'missing creationTime from existing checkpoint');
  }
  const domain = childOf(root, 'domain');
  const parent = textOf(childOf(childOf(root, 'parent'), 'name')) || undefined;
  const kept = disks.map(
    (disk): CheckpointDisk => ({
      name: disk.name,
      bitmap: disk.bitmap === true ? name : disk.bitmap || undefined,
    }),
  );
  return {
    definition: {
      name,
      description,
      creationTimeSeconds: Number(created),
      disks: kept,
      domainXml: domain && formatXml(domain),
    },
    parent,
  };
}

/** What a checkpoint's XML shows besides. */
export interface CheckpointView {
  readonly parent: string | undefined;
  /** VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN. */
  readonly isWithoutDomain: boolean;
  /** How much has changed since, by disk, bytes (VIR_DOMAIN_CHECKPOINT_XML_SIZE). */
  readonly sizes: ReadonlyMap<string, number> | undefined;
}

/** Writes a checkpoint as virDomainCheckpointGetXMLDesc does. */
export function checkpointToXml(definition: CheckpointDefinition, view: CheckpointView): string {
  const { name, description, creationTimeSeconds, disks, domainXml } = definition;
  const { parent, isWithoutDomain, sizes } = view;
  return formatXml(
    element(
      'domaincheckpoint',
      {},
      element('name', {}, name),
      description === undefined ? undefined : element('description', {}, description),
      parent === undefined ? undefined : element('parent', {}, element('name', {}, parent)),
      element('creationTime', {}, String(creationTimeSeconds)),
      disks.length === 0
        ? undefined
        : element('disks', {}, ...disks.map((disk) => diskToXml(disk, sizes?.get(disk.name)))),
      domainXml === undefined || isWithoutDomain ? undefined : parseXml(domainXml, 'domain_definition'),
    ),
  );
}

function diskToXml({ name, bitmap }: CheckpointDisk, sizeBytes: number | undefined): XmlElement {
  if (bitmap === undefined) return element('disk', { name, checkpoint: 'no' });
  return element('disk', { name, checkpoint: 'bitmap', bitmap, size: sizeBytes?.toString() });
}
