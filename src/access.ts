/** What a connection may do (libvirt: VIR_CONNECT_RO). */
import { ErrorCode, ErrorDomain, VirtError } from './errors.ts';

/** Whether a handle lets its holder change anything. */
export type Access = 'full' | 'read-only';

/**
 * Refuses a call that changes something, ahead of every other check (libvirt: virCheckReadOnlyGoto).
 * @param publicFunction libvirt's name of the call
 * @param domain which part of libvirt says so
 * @throws VirtError OPERATION_DENIED on a handle for reading
 */
export function requireFullAccess(
  access: Access,
  publicFunction: string,
  domain: ErrorDomain = ErrorDomain.DOMAIN,
): void {
  if (access === 'full') return;
  throw new VirtError(ErrorCode.OPERATION_DENIED, `read only access prevents ${publicFunction}`, { domain });
}

/**
 * Refuses XML flags that may show what only those who may change things are to see.
 * @throws VirtError OPERATION_DENIED on a handle for reading
 */
export function requirePlainXml(
  access: Access,
  flags: number,
  secret: number,
  publicFunction: string,
  domain: ErrorDomain = ErrorDomain.DOMAIN,
): void {
  if (access === 'full' || (flags & secret) === 0) return;
  throw new VirtError(ErrorCode.OPERATION_DENIED, `${publicFunction} with secure flag`, { domain });
}
