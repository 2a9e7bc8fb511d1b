/** Ends that are not kept, and pivots that do not wait. */
import { BlockJobAbortFlags } from '../../src/index.ts';
import { brokenDomain, type Canary, overlay } from '../canary.ts';

const KINDS = ['pull', 'commit', 'copy', 'active-commit'] as const;

/** Canaries of `api/cut-off/` and of pivots that have to wait. */
export const cutOffCanaries: readonly Canary[] = [
  ...KINDS.map(
    (kind): Canary => ({
      id: `cut-off-${kind}-forgotten`,
      contract: `api/cut-off/${kind}`,
      title: `Of a ${kind} whose machine ended nothing is kept`,
      api: (connection) => overlay(connection, { listBlockJobOutcomes: () => [] }),
    }),
  ),
  brokenDomain(
    'pivot-does-not-wait',
    'pivot-of-a-paused-job',
    'A pivot returns before the job has ended',
    (domain) => ({
      blockJobAbort: (disk, flags = 0) => domain.blockJobAbort(disk, flags | BlockJobAbortFlags.ASYNC),
    }),
  ),
];
