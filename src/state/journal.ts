/** Writes a domain's status document: called after every change, and before every step that cannot be taken back. */
import type { ImageIndexes, LiveDisk } from '../blockjob/live.ts';
import type { JobRecord } from '../blockjob/registry.ts';
import { type DomainDefinition, textOfDomain } from '../conf/domain.ts';
import { formatXml, type XmlElement } from '../conf/xml.ts';
import { DomainState } from '../flags.ts';
import type { MomentStore } from '../moments.ts';
import type { DomainRecord } from '../record.ts';
import type { StateAndReason } from '../running.ts';
import { onceFor } from '../util/once-for.ts';
import { type DiskStatus, formatStatus, type JobStatus, type LeftMoment, type RunStatus } from './status.ts';

/** A machine that has been launched and whose start has not succeeded yet. */
export interface Launching {
  readonly handle: string;
  readonly live: DomainDefinition;
  readonly disks: readonly LiveDisk[];
  readonly indexes: ImageIndexes;
  readonly state: StateAndReason;
}

/** Elements of disks are replaced, never changed. */
const textOfDisk = onceFor((element: XmlElement) => formatXml(element));

/** Writes down what is known of a domain; without a store, nothing. */
export function writeJournal(record: DomainRecord): void {
  const { state } = record.services;
  if (state === undefined || record.recovering) return;
  const outcomes = record.outcomes.all;
  if (record.forgotten && outcomes.length === 0) {
    state.remove(record.uuid);
    return;
  }
  const { name, uuid, persistent, offReason } = record;
  const kept = persistent && textOfDomain(persistent);
  state.write(
    uuid,
    formatStatus({
      name,
      uuid,
      persistent: kept,
      autostart: record.autostart || undefined,
      offReason,
      run: runOf(record),
      outcomes,
      snapshots: momentsOf(record.snapshots),
      checkpoints: momentsOf(record.checkpoints),
    }),
  );
}

function runOf({ running, live, launching }: DomainRecord): RunStatus | undefined {
  if (running?.handle !== undefined && live) {
    const { id, handle, state, indexes, disks, jobs, pausedFor, thresholds, leaving } = running;
    return {
      id,
      handle,
      starting: false,
      state: runState(state),
      live: textOfDomain(live),
      lastIndex: indexes.last,
      disks: disks.map(diskStatus),
      jobs: jobs.all().flatMap((job) => (job.settled ? [] : [jobStatus(job)])),
      pausedFor,
      armedByIndex: thresholds.armedByIndex,
      leaving: leaving.length > 0 ? leaving : undefined,
    };
  }
  return launching && startingStatus(launching);
}

function startingStatus({ handle, live, disks, indexes, state }: Launching): RunStatus {
  return {
    id: 0,
    handle,
    starting: true,
    state: runState(state),
    live: textOfDomain(live),
    lastIndex: indexes.last,
    disks: disks.map(diskStatus),
    jobs: [],
    pausedFor: undefined,
    armedByIndex: undefined,
    leaving: undefined,
  };
}

function runState({ state, reason }: StateAndReason): RunStatus['state'] {
  return { state: state === DomainState.PAUSED ? state : DomainState.RUNNING, reason };
}

function diskStatus({ definition, alias, chain, mirror, emptyIndex, next }: LiveDisk): DiskStatus {
  return { xml: textOfDisk(definition.element), alias, chain, mirror, emptyIndex, next };
}

function jobStatus({
  id,
  kind,
  disk,
  state,
  after,
  deletes,
  request,
  target,
  verdict,
}: JobRecord): JobStatus {
  return {
    id,
    kind,
    disk: disk.target,
    state,
    after,
    deletes,
    reuse: target?.reuse ?? false,
    shallow: request.kind === 'copy' && request.shallow,
    top: request.kind === 'commit' ? request.top.index : undefined,
    verdict,
  };
}

/** In the order in which they were made; undefined: none. */
function momentsOf<D extends { readonly name: string }>(
  moments: MomentStore<D>,
): readonly (D & LeftMoment)[] | undefined {
  if (moments.size === 0) return undefined;
  return moments.all().map((entry) => ({
    ...entry.definition,
    parent: entry.parent?.definition.name,
    current: entry === moments.current,
  }));
}
