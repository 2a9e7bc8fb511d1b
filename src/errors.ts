/**
 * libvirt's error codes, domains and message templates (virterror.h, virerror.c of libvirt 9.0). Match on `code`,
 * never on text.
 */

/** virErrorNumber: the codes this project raises. */
export const ErrorCode = {
  INTERNAL_ERROR: 1,
  NO_SUPPORT: 3,
  NO_CONNECT: 5,
  INVALID_ARG: 8,
  OPERATION_FAILED: 9,
  NO_SOURCE: 19,
  NO_NAME: 21,
  XML_ERROR: 27,
  OPERATION_DENIED: 29,
  XML_DETAIL: 35,
  SYSTEM_ERROR: 38,
  NO_DOMAIN: 42,
  NO_STORAGE_VOL: 50,
  OPERATION_INVALID: 55,
  CONFIG_UNSUPPORTED: 67,
  OPERATION_TIMEOUT: 68,
  NO_DOMAIN_SNAPSHOT: 72,
  ARGUMENT_UNSUPPORTED: 74,
  MIGRATE_UNSAFE: 81,
  OVERFLOW: 82,
  BLOCK_COPY_ACTIVE: 83,
  OPERATION_UNSUPPORTED: 84,
  XML_INVALID_SCHEMA: 92,
  DEVICE_MISSING: 99,
  NO_DOMAIN_CHECKPOINT: 103,
  CHECKPOINT_INCONSISTENT: 109,
} as const;
/** One of {@link ErrorCode}. */
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

/** virErrorDomain: which part of libvirt raised the error; not uniform per call, so every raise names it. */
export const ErrorDomain = {
  NONE: 0,
  XML: 5,
  DOM: 6,
  RPC: 7,
  QEMU: 10,
  REMOTE: 13,
  STORAGE: 18,
  DOMAIN: 20,
  DOMAIN_SNAPSHOT: 35,
  DOMAIN_CHECKPOINT: 69,
} as const;
/** One of {@link ErrorDomain}. */
export type ErrorDomain = (typeof ErrorDomain)[keyof typeof ErrorDomain];

/** What is put before the detail of a message, by code; codes that are not listed have no prefix. */
const PREFIX: Partial<Record<ErrorCode, string>> = {
  [ErrorCode.INTERNAL_ERROR]: 'internal error: ',
  [ErrorCode.NO_SUPPORT]: 'this function is not supported by the connection driver: ',
  [ErrorCode.NO_CONNECT]: 'no connection driver available for ',
  [ErrorCode.INVALID_ARG]: 'invalid argument: ',
  [ErrorCode.OPERATION_FAILED]: 'operation failed: ',
  [ErrorCode.NO_SOURCE]: 'missing source information for device ',
  [ErrorCode.XML_ERROR]: 'XML error: ',
  [ErrorCode.OPERATION_DENIED]: 'operation forbidden: ',
  [ErrorCode.NO_DOMAIN]: 'Domain not found: ',
  [ErrorCode.NO_STORAGE_VOL]: 'Storage volume not found: ',
  [ErrorCode.OPERATION_INVALID]: 'Requested operation is not valid: ',
  [ErrorCode.CONFIG_UNSUPPORTED]: 'unsupported configuration: ',
  [ErrorCode.OPERATION_TIMEOUT]: 'Timed out during operation: ',
  [ErrorCode.NO_DOMAIN_SNAPSHOT]: 'Domain snapshot not found: ',
  [ErrorCode.ARGUMENT_UNSUPPORTED]: 'argument unsupported: ',
  [ErrorCode.MIGRATE_UNSAFE]: 'Unsafe migration: ',
  [ErrorCode.OVERFLOW]: 'numerical overflow: ',
  [ErrorCode.BLOCK_COPY_ACTIVE]: 'block copy still active: ',
  [ErrorCode.OPERATION_UNSUPPORTED]: 'Operation not supported: ',
  [ErrorCode.XML_INVALID_SCHEMA]: 'XML document failed to validate against schema: ',
  [ErrorCode.DEVICE_MISSING]: 'device not found: ',
  [ErrorCode.NO_DOMAIN_CHECKPOINT]: 'Domain checkpoint not found: ',
  [ErrorCode.CHECKPOINT_INCONSISTENT]: 'checkpoint inconsistent: ',
};

/** What to do about an error, where whoever raised it does not know better. libvirt's messages leave that out. */
const HINT: Record<ErrorCode, string> = {
  [ErrorCode.INTERNAL_ERROR]: 'Read what the hypervisor said; its own manual explains that message.',
  [ErrorCode.NO_SUPPORT]: 'Use another call, or a driver and hypervisor that have this one.',
  [ErrorCode.NO_CONNECT]: 'Open one of the URIs that are served, or pass a driver for this scheme.',
  [ErrorCode.INVALID_ARG]: 'Correct the argument that is named.',
  [ErrorCode.OPERATION_FAILED]:
    'Remove the cause that is named, look at the state of the domain, then try again.',
  [ErrorCode.NO_SOURCE]: 'Give the disk a <source>.',
  [ErrorCode.NO_NAME]: 'Give the domain a <name>.',
  [ErrorCode.XML_ERROR]: 'Correct the element that is named.',
  [ErrorCode.OPERATION_DENIED]: 'Open the connection with write access.',
  [ErrorCode.XML_DETAIL]: 'Correct the XML at the line that is named.',
  [ErrorCode.SYSTEM_ERROR]: 'Create what is missing or give this process access to it, or name another path.',
  [ErrorCode.NO_DOMAIN]: 'Look the domain up again, or define it.',
  [ErrorCode.NO_STORAGE_VOL]: 'Create the volume, or name another path.',
  [ErrorCode.OPERATION_INVALID]:
    'Bring the domain or the job into the state that the call needs, then call again.',
  [ErrorCode.CONFIG_UNSUPPORTED]: 'Change the configuration that is named.',
  [ErrorCode.OPERATION_TIMEOUT]: 'Wait for the call that holds the domain, or end it, then call again.',
  [ErrorCode.NO_DOMAIN_SNAPSHOT]: 'List the snapshots and name one of them.',
  [ErrorCode.ARGUMENT_UNSUPPORTED]: 'Leave the argument out.',
  [ErrorCode.MIGRATE_UNSAFE]: 'Make the disks safe to migrate first.',
  [ErrorCode.OVERFLOW]: 'Pass a smaller number.',
  [ErrorCode.BLOCK_COPY_ACTIVE]: 'Wait for the READY event of the copy, then pivot; or abort it first.',
  [ErrorCode.OPERATION_UNSUPPORTED]: 'Wait for the end of what is running, or use what the disk supports.',
  [ErrorCode.XML_INVALID_SCHEMA]: 'Correct or leave out the element that is named.',
  [ErrorCode.NO_DOMAIN_CHECKPOINT]: 'List the checkpoints and name one of them.',
  [ErrorCode.CHECKPOINT_INCONSISTENT]: 'Redefine the checkpoint without validation, or make another one.',
  [ErrorCode.DEVICE_MISSING]: 'Look at the domain XML and name a device that is there.',
};

/**
 * Whether the operation took effect: `none` it did not, `unknown` the wire was lost before an answer, so only a look
 * at the jobs and chains can tell.
 */
export type ErrorOutcome = 'none' | 'unknown';

/** What a {@link VirtError} is made of besides its detail. */
export interface VirtErrorOptions {
  /** virErrorDomain; QEMU when left out. */
  readonly domain?: ErrorDomain;
  /** Defaults to `none`. */
  readonly outcome?: ErrorOutcome;
  /** What led to it. */
  readonly cause?: unknown;
  /** Leaves the code's prefix out (libvirt's argument-checking macros do). */
  readonly bare?: boolean;
  /** errno of a system error, as virError.int1 carries it. */
  readonly errno?: number;
  /** What to do about it; a sentence by code when left out. */
  readonly hint?: string;
}

/** Every operating error of the public API (libvirt: virError). `message` is what virGetLastErrorMessage returns. */
export class VirtError extends Error {
  override name = 'VirtError';
  readonly code: ErrorCode;
  readonly domain: ErrorDomain;
  /** The message without the code's prefix (virError.str2). */
  readonly detail: string;
  readonly outcome: ErrorOutcome;
  readonly errno: number | undefined;
  /** A sentence that says what to do; never part of `message`, which is libvirt's. */
  readonly hint: string;

  constructor(code: ErrorCode, detail: string, options: VirtErrorOptions = {}) {
    const prefix = options.bare ? '' : (PREFIX[code] ?? '');
    super(prefix + detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.domain = options.domain ?? ErrorDomain.QEMU;
    this.detail = detail;
    this.outcome = options.outcome ?? 'none';
    this.errno = options.errno;
    this.hint = options.hint ?? HINT[code];
  }
}

/** Whether `error` is a {@link VirtError} with one of the codes (any code if none is given). */
export function isVirtError(error: unknown, ...codes: readonly ErrorCode[]): error is VirtError {
  return error instanceof VirtError && (codes.length === 0 || codes.includes(error.code));
}
