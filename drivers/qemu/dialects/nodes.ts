/** Block nodes as libvirt names and configures them: one for the file, one for the format, two names per image. */
import type { ImageRef } from '../../../src/driver.ts';
import { member, type QmpCall, type QmpObject } from '../qmp-json.ts';
import type { Geometry, Step } from './dialect.ts';

/** Changes of the graph and of bitmaps of which all happen or none (QAPI transaction). */
export const transaction = (actions: readonly QmpObject[]): QmpCall => ({
  execute: 'transaction',
  arguments: { actions },
});

/** Formats that record a backing file: their nodes always say what is below them, if only `null`. */
const BACKED_FORMATS: ReadonlySet<string> = new Set(['qcow', 'qcow2', 'qed', 'vmdk']);
/** QAPI block drivers by what is at the path. */
const PROTOCOL = { file: 'file', block: 'host_device' } as const;

/** Whether images of this format have a backing file. */
export function recordsBacking(format: string): boolean {
  return BACKED_FORMATS.has(format);
}

/** Name of the node that does the I/O: `libvirt-N-storage`. */
export function storageNode({ index }: Pick<ImageRef, 'index'>): string {
  return `libvirt-${index}-storage`;
}

/** Name of the node that understands the format: `libvirt-N-format`. */
export function formatNode({ index }: Pick<ImageRef, 'index'>): string {
  return `libvirt-${index}-format`;
}

/** QAPI BlockdevOptions of the storage node. */
export function storageOptions(image: ImageRef, kind: 'file' | 'block'): QmpObject {
  return {
    driver: PROTOCOL[kind],
    filename: image.path,
    'node-name': storageNode(image),
    'auto-read-only': true,
    discard: 'unmap',
  };
}

/** QAPI BlockdevOptions of the format node; `backing`: the node below, null for none. */
export function formatOptions(image: ImageRef, readonly: boolean, backing: string | null): QmpObject {
  const node = {
    'node-name': formatNode(image),
    'read-only': readonly,
    driver: image.format,
    file: storageNode(image),
  };
  return recordsBacking(image.format) ? { ...node, backing } : node;
}

/** A step that opens a node; taken back by closing it. */
export function openNode(options: QmpObject): Step {
  return {
    do: 'call',
    call: { execute: 'blockdev-add', arguments: options },
    undo: { execute: 'blockdev-del', arguments: { 'node-name': options['node-name'] ?? null } },
  };
}

/** What a new image holds besides its size. */
export interface FormatSpec extends Geometry {
  readonly backing?: { readonly path: string; readonly format: string };
}

/** Steps that open the storage of an empty file, format it, and leave its storage node open. */
export function formatSteps(image: ImageRef, kind: 'file' | 'block', spec: FormatSpec): readonly Step[] {
  const storage = openNode(storageOptions(image, kind));
  if (image.format !== 'raw') return [storage, createImage(formatNode(image), formatCreation(image, spec))];
  // A raw image is its file: sizing the file is all, and a block device has its size.
  if (kind === 'block') return [storage];
  const options = { driver: 'file', filename: image.path, size: spec.capacityBytes };
  return [createImage(storageNode(image), options), storage];
}

function createImage(node: string, options: QmpObject): Step {
  const key = `create-${node}`;
  return {
    do: 'job',
    key,
    call: { execute: 'blockdev-create', arguments: { 'job-id': key, options } },
  };
}

function formatCreation(image: ImageRef, { capacityBytes, clusterBytes, backing }: FormatSpec): QmpObject {
  return {
    driver: image.format,
    file: storageNode(image),
    size: capacityBytes,
    ...member('cluster-size', image.format === 'qcow2' ? clusterBytes : undefined),
    ...member('backing-file', backing?.path),
    ...member('backing-fmt', backing?.format),
  };
}
