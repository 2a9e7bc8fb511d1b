/** An API that breaks its promises about calls. */
import { BlockJobAbortFlags, ErrorCode, isVirtError } from '../../src/index.ts';
import type { Canary } from '../canary.ts';
import { withDomains } from '../canary.ts';

/** Canaries for the contracts about refusals and waiting. */
export const callCanaries: readonly Canary[] = [
  {
    id: 'second-job-accepted',
    contract: 'api/one-job-per-disk',
    title: 'A job on a busy disk is accepted and never runs',
    api: (connection) =>
      withDomains(connection, (domain) => ({
        blockPull: (...args) => swallow(domain.blockPull(...args), ErrorCode.BLOCK_COPY_ACTIVE),
        blockCopy: (...args) => swallow(domain.blockCopy(...args), ErrorCode.OPERATION_UNSUPPORTED),
      })),
  },
  {
    id: 'early-pivot-swallowed',
    contract: 'api/pivot-before-ready-refused',
    title: 'A pivot before READY is accepted and does nothing',
    api: (connection) =>
      withDomains(connection, (domain) => ({
        blockJobAbort: (...args) => swallow(domain.blockJobAbort(...args), ErrorCode.BLOCK_COPY_ACTIVE),
      })),
  },
  {
    id: 'abort-does-not-wait',
    contract: 'api/sync-abort-waits',
    title: 'An abort returns as soon as QEMU has accepted it',
    api: (connection) =>
      withDomains(connection, (domain) => ({
        blockJobAbort: (disk, flags = 0) => domain.blockJobAbort(disk, flags | BlockJobAbortFlags.ASYNC),
      })),
  },
];

async function swallow(call: Promise<void>, code: ErrorCode): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isVirtError(error, code)) throw error;
  }
}
