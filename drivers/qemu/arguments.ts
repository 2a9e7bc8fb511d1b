/** The command line of an emulator, as libvirt writes it. */
import type { DiskSpec, ImageRef, MachineSpec } from '../../src/driver.ts';
import { ErrorCode, VirtError } from '../../src/errors.ts';
import type { Dialect } from './dialects/dialect.ts';

/** How a guest sees a disk on a bus: its devices, and the controller that the bus needs first. */
interface Bus {
  readonly disk: string;
  readonly cdrom?: string;
  readonly controller?: { readonly device: string; readonly id: string };
  /** The `bus=` of the n-th disk on it; QEMU chooses where left out. */
  readonly slot?: (nth: number) => string;
}

const BUSES: Partial<Record<string, Bus>> = {
  virtio: { disk: 'virtio-blk-pci' },
  ide: { disk: 'ide-hd', cdrom: 'ide-cd' },
  sata: {
    disk: 'ide-hd',
    cdrom: 'ide-cd',
    controller: { device: 'ich9-ahci', id: 'sata0' },
    slot: (nth) => `sata0.${nth}`,
  },
  scsi: {
    disk: 'scsi-hd',
    cdrom: 'scsi-cd',
    controller: { device: 'virtio-scsi-pci', id: 'scsi0' },
    slot: () => 'scsi0.0',
  },
};

/** Quotes a value of QEMU's `key=value,…` syntax. */
export function optionValue(value: string): string {
  return value.replaceAll(',', ',,');
}

/**
 * Arguments of an emulator without a guest, which only answers questions and handles images. The second choice is for
 * binaries that do not know those of the first: it makes a machine, which never runs.
 */
export const HELPER_ARGUMENTS: readonly [modern: readonly string[], early: readonly string[]] = [
  ['-S', '-no-user-config', '-nodefaults', '-display', 'none', '-machine', 'none,accel=tcg'],
  ['-S', '-nodefaults', '-nographic'],
];

/**
 * Arguments of a machine, CPUs stopped. Throws CONFIG_UNSUPPORTED for a bus that the driver cannot attach a disk to.
 */
export function machineArguments(
  spec: MachineSpec,
  dialect: Dialect,
  kindOf: (image: ImageRef) => 'file' | 'block',
): readonly string[] {
  return [
    ...dialect.baseArguments(spec),
    ...spec.disks.flatMap((disk) => dialect.driveArguments(disk, kindOf)),
    ...deviceArguments(spec.disks, dialect),
  ];
}

function deviceArguments(disks: readonly DiskSpec[], dialect: Dialect): readonly string[] {
  const used = new Map<Bus, number>();
  return disks.flatMap((disk) => {
    const { bus, device } = placeOf(disk);
    const nth = used.get(bus) ?? 0;
    used.set(bus, nth + 1);
    const drive = dialect.driveName(disk);
    const options = [
      device,
      ...(bus.slot === undefined ? [] : [`bus=${bus.slot(nth)}`]),
      ...(drive === undefined ? [] : [`drive=${optionValue(drive)}`]),
      `id=${optionValue(disk.alias)}`,
    ];
    const { controller } = bus;
    const first = nth === 0 && controller !== undefined;
    return [
      ...(first ? ['-device', `${controller.device},id=${controller.id}`] : []),
      '-device',
      options.join(','),
    ];
  });
}

/**
 * Arguments of device_add for a disk that is plugged in while the machine runs.
 * @param drive the node or drive that it shows; undefined for an empty drive
 */
export function deviceOptions(disk: DiskSpec, drive: string | undefined): Readonly<Record<string, string>> {
  const { bus, device } = placeOf(disk);
  return {
    driver: device,
    ...(bus.slot === undefined ? {} : { bus: bus.slot(0) }),
    ...(drive === undefined ? {} : { drive }),
    id: disk.alias,
  };
}

/** The bus that a disk is on, and the device that shows it there. @throws VirtError CONFIG_UNSUPPORTED if there is none */
function placeOf(disk: DiskSpec): { readonly bus: Bus; readonly device: string } {
  const bus = BUSES[disk.bus];
  const device = bus?.[disk.device];
  if (disk.vhostUser) throw served(disk);
  if (bus === undefined || device === undefined) throw unsupported(disk);
  return { bus, device };
}

function served({ target }: DiskSpec): VirtError {
  return new VirtError(
    ErrorCode.CONFIG_UNSUPPORTED,
    `disk '${target}' of type vhostuser is not driven here: use a file or a block device`,
  );
}

function unsupported({ target, device, bus }: DiskSpec): VirtError {
  const known = Object.entries(BUSES).flatMap(([name, row]) => (row?.[device] === undefined ? [] : [name]));
  return new VirtError(
    ErrorCode.CONFIG_UNSUPPORTED,
    `${device} '${target}' cannot be attached to bus '${bus}': use one of ${known.join(', ')}`,
  );
}
