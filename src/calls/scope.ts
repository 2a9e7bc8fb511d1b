/** Which of a domain's two definitions a call is about (libvirt: virDomainObjUpdateModificationImpact). */
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { DomainModificationImpact } from '../flags.ts';
import type { DomainRecord } from '../record.ts';
import type { RunningDomain } from '../running.ts';

/** What a call changes or reads: one of them, or both. */
export interface Scope {
  readonly live: RunningDomain | undefined;
  readonly config: boolean;
}

const { LIVE, CONFIG } = DomainModificationImpact;

/**
 * Neither flag means what the domain is now.
 * @throws VirtError OPERATION_INVALID for a definition that there is not
 */
export function scopeOf(record: DomainRecord, flags: number): Scope {
  const { running, persistent } = record;
  const current = (flags & (LIVE | CONFIG)) === 0;
  const live = (flags & LIVE) !== 0 || (current && running !== undefined);
  const config = (flags & CONFIG) !== 0 || (current && running === undefined);
  if (live && !running) record.requireRunning();
  if (config && !persistent) {
    throw new VirtError(ErrorCode.OPERATION_INVALID, 'transient domains do not have any persistent config', {
      domain: ErrorDomain.DOMAIN,
    });
  }
  return { live: live ? running : undefined, config };
}
