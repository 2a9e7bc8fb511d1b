/** The driver's own errors: what QEMU refused, what the host refused, what a reply lacked. */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { ErrorCode, VirtError, type VirtErrorOptions } from '../../src/errors.ts';
import type { EmulatorExit } from './host.ts';
import { isQmpObject, type QmpObject, type QmpValue } from './qmp-json.ts';

/** An error reply as QEMU gave it: the cause of the VirtError that a caller sees. */
export class QmpError extends Error {
  override name = 'QmpError';
  /** QAPI: QapiErrorClass; older QEMUs have more of them. */
  readonly class: string;
  /** QEMU's sentence. */
  readonly desc: string;

  constructor(errorClass: string, desc: string) {
    super(`${errorClass}: ${desc}`);
    this.class = errorClass;
    this.desc = desc;
  }
}

/** QEMU's own error reply behind an error; undefined if QEMU did not refuse. */
export function qmpErrorOf(error: unknown): QmpError | undefined {
  return error instanceof VirtError && error.cause instanceof QmpError ? error.cause : undefined;
}

/** libvirt's error for a refused command: 1, `unable to execute QEMU command 'x': desc`. */
export function refused(command: string, cause: QmpError): VirtError {
  return new VirtError(
    ErrorCode.INTERNAL_ERROR,
    `unable to execute QEMU command '${command}': ${cause.desc}`,
    { cause },
  );
}

/** libuv words some errors in its own way; these are the C library's. */
const STRERROR: Partial<Record<string, string>> = {
  EEXIST: 'File exists',
  EISDIR: 'Is a directory',
  ELOOP: 'Too many levels of symbolic links',
  ENAMETOOLONG: 'File name too long',
  EIO: 'Input/output error',
  ETXTBSY: 'Text file busy',
};

const ERRNO: Partial<Record<string, number>> = constants.errno;

/** The name of a system error (`ENOENT`, ...); undefined for any other value. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  return error.code in ERRNO ? error.code : undefined;
}

/** What strerror(3) says for an error name. */
export function strerror(code: string): string {
  const fixed = STRERROR[code];
  if (fixed !== undefined) return fixed;
  const [, text] = getSystemErrorMap().get(-(ERRNO[code] ?? 0)) ?? [code, code];
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** libvirt's SYSTEM_ERROR: `what: strerror`, errno attached. An error that is none of the system's is returned as it is. */
export function systemError(what: string, cause: unknown, options: VirtErrorOptions = {}): unknown {
  const code = systemErrorCode(cause);
  if (code === undefined) return cause;
  const errno = ERRNO[code];
  const attached = errno === undefined ? { ...options, cause } : { ...options, cause, errno };
  return new VirtError(ErrorCode.SYSTEM_ERROR, `${what}: ${strerror(code)}`, attached);
}

function malformed(command: string, what: string): VirtError {
  return new VirtError(
    ErrorCode.INTERNAL_ERROR,
    `the reply to '${command}' ${what}: this is not a QEMU that the driver knows`,
  );
}

/** A reply that must be an object. */
export function objectOf(value: QmpValue | undefined, command: string): QmpObject {
  if (!isQmpObject(value)) throw malformed(command, 'is not an object');
  return value;
}

/** A reply that must be a list of objects. */
export function objectsOf(value: QmpValue | undefined, command: string): readonly QmpObject[] {
  if (!Array.isArray(value) || !value.every(isQmpObject))
    throw malformed(command, 'is not a list of objects');
  return value;
}

/** A member that must be a string. */
export function textOf(object: QmpObject, member: string, command: string): string {
  const value = object[member];
  if (typeof value !== 'string') throw malformed(command, `lacks the string '${member}'`);
  return value;
}

/** A member that must be a number; rounded if a double cannot hold it. */
export function numberOf(object: QmpObject, member: string, command: string): number {
  const value = object[member];
  if (typeof value !== 'number' && typeof value !== 'bigint') {
    throw malformed(command, `lacks the number '${member}'`);
  }
  return Number(value);
}

/** A member that is a string if it is there. */
export function optionalText(object: QmpObject, member: string): string | undefined {
  const value = object[member];
  return typeof value === 'string' ? value : undefined;
}

/** How a process ended and what it said last, for an error message. */
export function describeEnd({ code, signal }: EmulatorExit, output: string): string {
  const how = signal === null ? `exit status ${code ?? 'unknown'}` : `signal ${signal}`;
  const said = output.trim();
  return said === '' ? how : `${how}: ${said}`;
}
