/** All contracts, in the order of the report. */
import type { Contract } from '../contract.ts';
import { abortKeepsSource } from './api/abort-keeps-source.ts';
import { aroundContracts } from './api/around.ts';
import { checkpointContracts } from './api/checkpoints.ts';
import { copyCompleteOnlyWhenReady } from './api/copy-complete-only-when-ready.ts';
import { copyReadyOnce } from './api/copy-ready-once.ts';
import { cutOffContracts } from './api/cut-off.ts';
import { effectContracts } from './api/effects.ts';
import { guardContracts } from './api/guard-rails.ts';
import { infoAbsentWithoutJob } from './api/info-absent-without-job.ts';
import { infoBounded } from './api/info-bounded.ts';
import { iotuneContracts } from './api/iotune.ts';
import { momentContracts } from './api/moments.ts';
import { offMomentContracts } from './api/moments-off.ts';
import { oneJobPerDisk } from './api/one-job-per-disk.ts';
import { oneTerminalEvent } from './api/one-terminal-event.ts';
import { outlivingContracts } from './api/outliving.ts';
import { pivotBeforeReadyRefused } from './api/pivot-before-ready-refused.ts';
import { pivotCrashContracts } from './api/pivot-crashes.ts';
import { pivotSwapsChain } from './api/pivot-swaps-chain.ts';
import { pivotTargetEqualsGuest } from './api/pivot-target-equals-guest.ts';
import { pullDropsBacking } from './api/pull-drops-backing.ts';
import { pullKeepsData } from './api/pull-keeps-data.ts';
import { randomCalls } from './api/random-calls.ts';
import { readOnlyContracts } from './api/read-only.ts';
import { readyWritesReachBoth } from './api/ready-writes-reach-both.ts';
import { refusalContracts, transientJob } from './api/refusals.ts';
import { savingContracts } from './api/saving.ts';
import { speedUnits } from './api/speed-units.ts';
import { syncAbortWaits } from './api/sync-abort-waits.ts';
import { commandContracts } from './qmp/commands.ts';
import { driveContracts } from './qmp/drives.ts';
import { earlyContracts } from './qmp/early.ts';
import { errorContracts } from './qmp/errors.ts';
import { exportContracts } from './qmp/exports.ts';
import { graphContracts } from './qmp/graph.ts';
import { guestErrorContracts } from './qmp/guest-errors.ts';
import { ioErrorContracts } from './qmp/io-errors.ts';
import { keptContracts } from './qmp/kept.ts';
import { machineContracts } from './qmp/machine.ts';
import { protocolContracts } from './qmp/protocol.ts';
import { queryContracts } from './qmp/queries.ts';
import { sequenceContracts } from './qmp/sequences.ts';
import { verbContracts } from './qmp/verbs.ts';

/** Every contract of the suite. */
export const contracts: readonly Contract[] = [
  copyReadyOnce,
  copyCompleteOnlyWhenReady,
  pivotBeforeReadyRefused,
  pivotSwapsChain,
  pivotTargetEqualsGuest,
  readyWritesReachBoth,
  abortKeepsSource,
  pullKeepsData,
  pullDropsBacking,
  oneJobPerDisk,
  infoAbsentWithoutJob,
  infoBounded,
  speedUnits,
  syncAbortWaits,
  oneTerminalEvent,
  transientJob,
  ...effectContracts,
  ...aroundContracts,
  ...refusalContracts,
  ...guardContracts,
  ...readOnlyContracts,
  ...iotuneContracts,
  ...checkpointContracts,
  ...cutOffContracts,
  ...offMomentContracts,
  ...savingContracts,
  ...momentContracts,
  ...outlivingContracts,
  ...pivotCrashContracts,
  randomCalls,
  ...protocolContracts,
  ...verbContracts,
  ...sequenceContracts,
  ...errorContracts,
  ...queryContracts,
  ...graphContracts,
  ...ioErrorContracts,
  ...guestErrorContracts,
  ...commandContracts,
  ...driveContracts,
  ...exportContracts,
  ...keptContracts,
  ...machineContracts,
  ...earlyContracts,
];
