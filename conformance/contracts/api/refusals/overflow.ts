/** Numbers that are too large, and how libvirt says so. */
import { ErrorCode, ErrorDomain } from '../../../../src/index.ts';
import type { Answer } from './row.ts';

/** One MiB/s more than fits a signed 64-bit number of bytes. */
export const TOO_MANY_MIB = 8_796_093_022_208;
/** One byte/s more. */
export const BEYOND = 2n ** 63n;

/** MiB/s that are too many. */
export const MIB_OVERFLOW: Answer = {
  code: ErrorCode.OVERFLOW,
  says: 'bandwidth must be less than 8796093022207',
};

/** Bytes/s that are too many: pull, commit and set-speed only notice when they write JSON. */
export const NEGATIVE_SPEED: Answer = {
  code: ErrorCode.INTERNAL_ERROR,
  domain: ErrorDomain.NONE,
  says: "argument key 'speed' must not be negative",
};

/** Bytes/s that are too many for a copy. */
export const COPY_BYTES_OVERFLOW: Answer = {
  code: ErrorCode.INVALID_ARG,
  says: "bandwidth must be less than '9223372036854775807' bytes/s (8796093022207 MiB/s)",
};
