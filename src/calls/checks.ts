/** Argument checks that every call shares, with libvirt's texts. */
import { findDisk, type LiveDisk } from '../blockjob/live.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';

/**
 * Refuses flag bits that the call does not know (libvirt: virCheckFlags).
 * @param driverFunction the name libvirt's QEMU driver has for the call; it is part of the message
 */
export function checkFlags(
  flags: number,
  known: Readonly<Record<string, number>>,
  driverFunction: string,
): void {
  if (flags === 0) return;
  const mask = Object.values(known).reduce((sum, bit) => sum | bit, 0);
  const unknown = (flags & ~mask) >>> 0;
  if (unknown === 0) return;
  throw new VirtError(
    ErrorCode.INVALID_ARG,
    `unsupported flags (0x${unknown.toString(16)}) in function ${driverFunction}`,
    { bare: true },
  );
}

/** Refuses a missing string (libvirt: virCheckNonNullArgGoto). */
export function checkNonNull(
  value: unknown,
  argument: string,
  publicFunction: string,
): asserts value is string {
  if (typeof value === 'string') return;
  throw new VirtError(ErrorCode.INVALID_ARG, `${argument} in ${publicFunction} must not be NULL`, {
    domain: ErrorDomain.DOMAIN,
    bare: true,
  });
}

/** What a driver without the call gives (libvirt: virReportUnsupportedError). */
export const noSupport = (publicFunction: string): VirtError =>
  new VirtError(ErrorCode.NO_SUPPORT, publicFunction, { domain: ErrorDomain.DOMAIN });

const MAX_ULLONG = 2n ** 64n - 1n;

/**
 * An argument that is an unsigned 64-bit number in libvirt's C.
 * @throws VirtError INVALID_ARG
 */
export function checkUnsigned(value: number | bigint, argument: string): bigint {
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) {
    const exact = BigInt(value);
    if (exact >= 0n && exact <= MAX_ULLONG) return exact;
  }
  throw new VirtError(
    ErrorCode.INVALID_ARG,
    `${argument} must be an integer from 0 to ${MAX_ULLONG}, not ${value}`,
    { domain: ErrorDomain.DOMAIN },
  );
}

/** What everything says on a domain that is shut off. */
export const notRunning = (part: ErrorDomain): VirtError =>
  new VirtError(ErrorCode.OPERATION_INVALID, 'domain is not running', { domain: part });

/** The disk of that name or current path (libvirt: qemuDomainDiskByName). */
export function requireDisk(disks: readonly LiveDisk[], name: string): LiveDisk {
  const disk = findDisk(disks, name);
  if (disk) return disk;
  const targets = disks.map(({ target }) => target).join(', ');
  throw new VirtError(ErrorCode.INVALID_ARG, `disk '${name}' not found in domain`, {
    hint: `Name one of ${targets}, or the path of an active image.`,
  });
}

/** Refuses disks that block jobs cannot drive (libvirt: qemuDomainDiskBlockJobIsSupported). */
export function requireJobSupport(disk: LiveDisk): void {
  const { target, definition } = disk;
  if (definition.bus === 'sd') throw unsupportedJobs(`disk '${target}' using bus 'sd'`);
  if (definition.vhostUser) throw unsupportedJobs(`vhostuser disk '${target}'`);
  if (definition.transient) throw unsupportedJobs(`transient disk '${target}'`);
}

function unsupportedJobs(what: string): VirtError {
  return new VirtError(ErrorCode.OPERATION_UNSUPPORTED, `block jobs are not supported on ${what}`);
}
