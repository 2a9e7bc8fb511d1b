/** Bandwidth as the block job calls take it: MiB/s, or bytes/s with a flag. */
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';

const MIB = 1_048_576;
const MAX_LLONG = 2n ** 63n - 1n;
/** The largest number of MiB/s whose bytes still fit a signed 64-bit number. */
const MAX_MIB = MAX_LLONG >> 20n;

/**
 * Bytes per second from a bandwidth argument.
 * @throws VirtError OVERFLOW when MiB/s do not fit, INVALID_ARG for what is not a non-negative integer
 */
export function bytesPerSecond(bandwidth: number | bigint, inBytes: boolean): number | bigint {
  if (typeof bandwidth === 'number' && !(Number.isSafeInteger(bandwidth) && bandwidth >= 0)) {
    throw new VirtError(ErrorCode.INVALID_ARG, `bandwidth must be a non-negative integer, not ${bandwidth}`);
  }
  const exact = BigInt(bandwidth);
  if (exact < 0n)
    throw new VirtError(ErrorCode.INVALID_ARG, `bandwidth must be a non-negative integer, not ${exact}`);
  if (inBytes) return narrow(exact);
  if (exact > MAX_MIB) throw new VirtError(ErrorCode.OVERFLOW, `bandwidth must be less than ${MAX_MIB}`);
  return narrow(exact * BigInt(MIB));
}

/**
 * A copy's bandwidth is always in bytes and checked before anything is sent.
 * @throws VirtError INVALID_ARG
 */
export function checkCopyBandwidth(bytes: number | bigint): void {
  if (BigInt(bytes) <= MAX_LLONG) return;
  throw new VirtError(
    ErrorCode.INVALID_ARG,
    `bandwidth must be less than '${MAX_LLONG}' bytes/s (${MAX_MIB} MiB/s)`,
  );
}

/**
 * Where libvirt lets any number of bytes through, the command's builder refuses what is no signed 64-bit number.
 * @throws VirtError INTERNAL_ERROR, domain NONE
 */
export function checkJobSpeed(bytes: number | bigint): void {
  if (BigInt(bytes) <= MAX_LLONG) return;
  throw new VirtError(ErrorCode.INTERNAL_ERROR, "argument key 'speed' must not be negative", {
    domain: ErrorDomain.NONE,
  });
}

/** What getBlockJobInfo reports: bytes/s, or MiB/s rounded up. */
export function reportedBandwidth(bytes: number, inBytes: boolean): number {
  return inBytes ? bytes : Math.ceil(bytes / MIB);
}

const narrow = (value: bigint): number | bigint =>
  value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
