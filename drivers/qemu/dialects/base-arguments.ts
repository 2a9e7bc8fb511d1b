/** The command line around disks and devices, as libvirt wrote it for each age of QEMU. */
import type { MachineSpec } from '../../../src/driver.ts';
import { ErrorCode, VirtError } from '../../../src/errors.ts';
import { optionValue } from '../arguments.ts';

const MEBIBYTE = 1024 * 1024;

const memory = ({ memoryBytes }: MachineSpec): string =>
  String(Math.max(1, Math.ceil(memoryBytes / MEBIBYTE)));

/** Arguments of a machine that nobody has to know more about than its version (libvirt 9.0). */
export function modernArguments(spec: MachineSpec): readonly string[] {
  return [
    ...['-name', `guest=${optionValue(spec.name)},debug-threads=on`],
    '-S',
    ...['-machine', `${optionValue(spec.machineType ?? 'pc')},usb=off,dump-guest-core=off`],
    ...['-accel', 'tcg'],
    ...['-m', memory(spec)],
    ...['-uuid', spec.uuid],
    ...['-display', 'none'],
    '-no-user-config',
    '-nodefaults',
    ...['-rtc', 'base=utc'],
    // The guest's end is an event first; the driver then ends the process.
    '-no-shutdown',
    ...['-boot', 'strict=on'],
    ...(spec.restoreFrom === undefined ? [] : ['-incoming', 'defer']),
    ...(spec.loadSnapshot === undefined ? [] : ['-loadvm', spec.loadSnapshot]),
  ];
}

/** Arguments that every QEMU since 0.12 takes (libvirt 0.10). Throws CONFIG_UNSUPPORTED for a saved state. */
export function earlyArguments(spec: MachineSpec): readonly string[] {
  if (spec.restoreFrom !== undefined) {
    throw new VirtError(
      ErrorCode.CONFIG_UNSUPPORTED,
      `a saved state cannot be restored with this QEMU binary: use a newer emulator for '${spec.name}'`,
    );
  }
  return [
    ...['-name', optionValue(spec.name)],
    '-S',
    ...['-M', spec.machineType ?? 'pc'],
    ...['-m', memory(spec)],
    ...['-uuid', spec.uuid],
    '-nographic',
    '-nodefaults',
    ...['-rtc', 'base=utc'],
    '-no-shutdown',
  ];
}
