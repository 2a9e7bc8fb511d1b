/** `cur` and `end` as libvirt reports them, so that equal means ready. */
import type { JobSnapshot } from '../driver.ts';

/** virDomainBlockJobInfo's progress pair, in the hypervisor's units (bytes). */
export interface Progress {
  readonly cur: number;
  readonly end: number;
}

/**
 * libvirt's rules (qemuDomainGetBlockJobInfo): nothing known yet is 0/1, everything copied but not ready is one short
 * of the end, and a size of zero that is ready is 1/1. Where the hypervisor cannot say ready, its numbers stand.
 */
export function progressOf(job: JobSnapshot | undefined): Progress {
  if (!job) return { cur: 0, end: 1 };
  const { current, total, ready } = job;
  if (current === 0 && total === 0) {
    if (ready === undefined) return { cur: 0, end: 0 };
    return ready ? { cur: 1, end: 1 } : { cur: 0, end: 1 };
  }
  if (current === total && ready === false) return { cur: current - 1, end: total };
  return { cur: current, end: total };
}
