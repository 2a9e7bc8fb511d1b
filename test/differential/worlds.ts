/** The disks that scripts meet: how they are made for real, and in the simulation. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ImageStore } from '../../mock-qemu/core/images.ts';
import { format } from '../../mock-qemu/core/jobs/create.ts';

/** How the disks are opened: by -blockdev with a guest device, by -drive, or by -blockdev with nobody using them. */
export const WORLDS = ['blockdev', 'drive', 'nodes'] as const;
/** One of {@link WORLDS}, or a machine for golden scripts alone: `media` has drives that can be emptied. */
export type WorldName = (typeof WORLDS)[number] | 'media';

const MIB = 2 ** 20;

/** One image file: its size, what it lies on, and the stretches that hold data. */
export interface ImageSpec {
  readonly name: string;
  readonly format: 'qcow2' | 'raw';
  readonly sizeBytes: number;
  readonly backing?: string;
  /** Start, length in bytes, and the byte that fills it. */
  readonly data: readonly (readonly [number, number, number])[];
}

/** The files of every world: a chain of three, and four to copy to. */
export const IMAGES: readonly ImageSpec[] = [
  { name: 'base.qcow2', format: 'qcow2', sizeBytes: 8 * MIB, data: [[0, 2 * MIB, 1]] },
  { name: 'mid.qcow2', format: 'qcow2', sizeBytes: 8 * MIB, backing: 'base.qcow2', data: [[MIB, MIB, 2]] },
  {
    name: 'top.qcow2',
    format: 'qcow2',
    sizeBytes: 8 * MIB,
    backing: 'mid.qcow2',
    data: [[3 * MIB, 65536, 3]],
  },
  { name: 'copy.qcow2', format: 'qcow2', sizeBytes: 8 * MIB, data: [] },
  { name: 'over.qcow2', format: 'qcow2', sizeBytes: 8 * MIB, backing: 'top.qcow2', data: [] },
  { name: 'raw.img', format: 'raw', sizeBytes: 8 * MIB, data: [[4 * MIB, 65536, 4]] },
  { name: 'small.qcow2', format: 'qcow2', sizeBytes: 4 * MIB, data: [] },
];

/** Files that scripts may create. */
export const NEW_FILES = ['new1.qcow2', 'new2.qcow2', 'new3.raw'] as const;

/** Every file that may be there in the end. */
export const FILE_NAMES: readonly string[] = [...IMAGES.map(({ name }) => name), ...NEW_FILES];

/** Makes the real files in a directory with qemu-img and qemu-io. */
export function makeRealImages(
  directory: string,
  tools: { readonly img: string; readonly io: string },
): void {
  writeFileSync(join(directory, FIRMWARE), Buffer.alloc(FIRMWARE_BYTES, HALT));
  for (const { name, format: kind, sizeBytes, backing, data } of IMAGES) {
    const path = join(directory, name);
    const below = backing === undefined ? [] : ['-b', join(directory, backing), '-F', 'qcow2'];
    execFileSync(tools.img, ['create', '-q', '-f', kind, ...below, path, String(sizeBytes)]);
    const writes = data.flatMap(([start, length, byte]) => ['-c', `write -q -P ${byte} ${start} ${length}`]);
    if (writes.length > 0) execFileSync(tools.io, ['-f', kind, ...writes, path]);
  }
}

/** Makes the same files in a store. */
export function makeSimulatedImages(store: ImageStore, directory: string): void {
  for (const { name, format: kind, sizeBytes, backing, data } of IMAGES) {
    const image = store.create(join(directory, name));
    const below =
      backing === undefined ? {} : { backingName: join(directory, backing), backingFormat: 'qcow2' };
    format(image, { format: kind, sizeBytes, header: { clusterSizeBytes: 65536, ...below } });
    for (const [start, length, byte] of data) image.extents.set(start, start + length, byte);
  }
}

const MACHINE = [
  '-S',
  '-nodefaults',
  '-no-user-config',
  '-display',
  'none',
  '-machine',
  'pc',
  '-accel',
  'tcg',
];
// A firmware would reset the disks while scripts run: instead of one, the processor halts for good.
const FIRMWARE = 'idle.bin';
const FIRMWARE_BYTES = 65536;
const HALT = 0xf4;
const DEVICE = 'virtio-blk-pci';

interface NodeSpec {
  readonly name: string;
  readonly readOnly?: boolean;
  readonly backing?: string;
}

const NODES: readonly NodeSpec[] = [
  { name: 'base', readOnly: true },
  { name: 'mid', readOnly: true, backing: 'base' },
  { name: 'top', backing: 'mid' },
];
const SPARE: readonly NodeSpec[] = [{ name: 'copy' }, { name: 'raw' }];

function blockdevs(directory: string, nodes: readonly NodeSpec[]): string[] {
  return nodes.flatMap(({ name, readOnly, backing }) => {
    const file = IMAGES.find((image) => image.name.startsWith(`${name}.`));
    const storage = {
      driver: 'file',
      filename: join(directory, file?.name ?? ''),
      'node-name': `${name}-file`,
      'auto-read-only': true,
      discard: 'unmap',
    };
    const node = {
      driver: file?.format ?? 'raw',
      file: `${name}-file`,
      'node-name': name,
      ...(readOnly && { 'read-only': true }),
      ...(file?.format === 'qcow2' && { backing: backing ?? null }),
    };
    return ['-blockdev', JSON.stringify(storage), '-blockdev', JSON.stringify(node)];
  });
}

const LAUNCH: Readonly<Record<WorldName, (directory: string) => string[]>> = {
  blockdev: (directory) => [
    ...blockdevs(directory, [...NODES, ...SPARE]),
    '-device',
    JSON.stringify({ driver: DEVICE, drive: 'top', id: 'vd0' }),
  ],
  drive: (directory) => [
    '-drive',
    `file=${join(directory, 'top.qcow2')},format=qcow2,if=none,id=drive0,node-name=top`,
    ...blockdevs(directory, SPARE),
    '-device',
    JSON.stringify({ driver: DEVICE, drive: 'drive0', id: 'vd0' }),
  ],
  nodes: (directory) => blockdevs(directory, [...NODES, ...SPARE]),
  media: (directory) => [
    ...['-drive', `file=${join(directory, 'raw.img')},format=raw,if=none,id=cd0,media=cdrom,read-only=on`],
    ...['-device', 'ide-cd,drive=cd0,id=ide0'],
    ...['-drive', `file=${join(directory, 'top.qcow2')},format=qcow2,if=none,id=drive0`],
    ...['-device', JSON.stringify({ driver: DEVICE, drive: 'drive0', id: 'vd0' })],
    ...['-device', 'virtio-scsi-pci,id=scsi0', '-device', 'scsi-cd,id=cd1'],
    ...['-drive', 'if=none,id=empty'],
    ...blockdevs(directory, [{ name: 'copy', readOnly: true }]),
  ],
};

/** QEMU's arguments for a world, the monitor left out. */
export const launchArgv = (world: WorldName, directory: string): string[] => [
  ...MACHINE,
  '-m',
  '16',
  '-bios',
  join(directory, FIRMWARE),
  ...LAUNCH[world](directory),
];

/** Shell lines that make the images and set QEMU's arguments as positional parameters. */
export function launchLines(world: WorldName, directory: string): string[] {
  const images = IMAGES.flatMap(({ name, format: kind, sizeBytes, backing, data }) => {
    const below = backing === undefined ? '' : ` -b ${join(directory, backing)} -F qcow2`;
    const writes = data.map(([start, length, byte]) => ` -c 'write -q -P ${byte} ${start} ${length}'`);
    return [
      `qemu-img create -q -f ${kind}${below} ${name} ${sizeBytes}`,
      ...(writes.length > 0 ? [`qemu-io -f ${kind}${writes.join('')} ${name}`] : []),
    ];
  });
  const words = launchArgv(world, directory).map((word) => (/^[\w/.,=-]+$/.test(word) ? word : `'${word}'`));
  const firmware = `head -c ${FIRMWARE_BYTES} /dev/zero | tr '\\0' '\\${HALT.toString(8)}' > ${FIRMWARE}`;
  return [...images, firmware, `set -- ${words.join(' ')}`];
}
