/**
 * Takes over a domain that an earlier connection left. What the machine has open is the truth while it runs; when it
 * is gone too, the journal says what may have happened and the images what did.
 */
import { bitmapsLeftBehind } from './bitmaps.ts';
import { ImageIndexes, type LiveDisk } from './blockjob/live.ts';
import type { JobEntry, JobRecord } from './blockjob/registry.ts';
import type { JobState } from './blockjob/states.ts';
import { overlayConfig } from './calls/snapshot-create.ts';
import { diskFromXml, type ImageDescription } from './conf/disk.ts';
import { type DomainDefinition, domainFromXml } from './conf/domain.ts';
import { parseXml } from './conf/xml.ts';
import type { AttachedMachine, KnownJob } from './driver.ts';
import { ErrorCode, isVirtError, VirtError } from './errors.ts';
import { adoptResult, headersSay, tellCutOff, unlinkLeft } from './fates.ts';
import { DomainState } from './flags.ts';
import { machineSpec, observe } from './lifecycle.ts';
import type { MomentStore } from './moments.ts';
import type { DomainRecord } from './record.ts';
import { outcomeOf, RunningDomain, type StateAndReason } from './running.ts';
import { rebuildJob } from './state/jobs.ts';
import {
  brokenStatus,
  type DiskStatus,
  type DomainStatus,
  type LeftMoment,
  parseStatus,
  type RunStatus,
} from './state/status.ts';
import type { StoredText } from './state/store.ts';

/** A job as it stood. */
interface LeftJob {
  readonly entry: JobEntry;
  readonly state: JobState;
  readonly verdict: JobRecord['verdict'];
}

/** One run of a domain as it was left. */
interface LeftRun {
  readonly id: number;
  readonly handle: string;
  readonly starting: boolean;
  readonly state: StateAndReason;
  readonly live: DomainDefinition;
  readonly disks: readonly LiveDisk[];
  readonly indexes: ImageIndexes;
  readonly jobs: readonly LeftJob[];
  readonly pausedFor: RunStatus['pausedFor'];
  readonly armedByIndex: RunStatus['armedByIndex'];
  readonly leaving: RunStatus['leaving'];
}

/** A domain as it was left, with its XML understood. */
export interface LeftDomain
  extends Pick<
    DomainStatus,
    'name' | 'uuid' | 'autostart' | 'offReason' | 'outcomes' | 'snapshots' | 'checkpoints'
  > {
  readonly persistent: DomainDefinition | undefined;
  readonly run: LeftRun | undefined;
  /** What it is made from; undefined: only outcomes are left of it. */
  readonly definition: DomainDefinition | undefined;
}

/**
 * Reads what was stored of a domain, to the last member.
 * @throws VirtError XML_DETAIL that names the place
 */
export function readStatus(stored: StoredText): LeftDomain {
  const status = parseStatus(stored);
  const { name, uuid, autostart, offReason, outcomes, snapshots, checkpoints } = status;
  try {
    const persistent = status.persistent === undefined ? undefined : domainFromXml(status.persistent);
    // Most domains run as they are defined: their XML is read once.
    const same = status.run?.live === status.persistent ? persistent : undefined;
    const run = status.run && readRun(status.run, same);
    const definition = persistent ?? run?.live;
    for (const read of [persistent, run?.live]) {
      if (read && (read.uuid !== uuid || read.name !== name)) {
        throw new VirtError(ErrorCode.XML_ERROR, `the definition is of another domain, '${read.name}'`);
      }
    }
    return {
      name,
      uuid,
      autostart,
      offReason,
      outcomes,
      snapshots,
      checkpoints,
      persistent,
      run,
      definition,
    };
  } catch (error) {
    if (isVirtError(error)) throw brokenStatus(stored.place, error.message, error);
    throw error;
  }
}

function readRun(
  { disks, jobs, live, lastIndex, ...run }: RunStatus,
  same: DomainDefinition | undefined,
): LeftRun {
  const liveDisks = disks.map(readDisk);
  return {
    ...run,
    live: same ?? domainFromXml(live),
    disks: liveDisks,
    indexes: new ImageIndexes(lastIndex),
    jobs: jobs.map((job) => ({
      entry: rebuildJob(job, liveDisks),
      state: job.state,
      verdict: job.verdict,
    })),
  };
}

function readDisk({ xml, alias, chain, mirror, emptyIndex, next }: DiskStatus): LiveDisk {
  const definition = diskFromXml(parseXml(xml, 'device_definition'));
  return { definition, target: definition.target, alias, chain, mirror, emptyIndex, next };
}

/**
 * Takes over one domain.
 * @throws VirtError of a driver that finds the machine and cannot talk to it
 */
export async function recoverDomain(record: DomainRecord, left: LeftDomain): Promise<void> {
  record.persistent = left.persistent;
  record.wasDefined = left.persistent !== undefined;
  record.offReason = left.offReason;
  record.autostart = left.autostart ?? false;
  recoverMoments(record.snapshots, left.snapshots ?? []);
  recoverMoments(record.checkpoints, left.checkpoints ?? []);
  const { run } = left;
  if (!run) return;
  record.recovering = true;
  const attached = await find(record, run);
  if (run.starting) await attached?.machine.destroy();
  if (attached && !run.starting) await takeOver(record, run, attached);
  else await buryRun(record, run);
}

/** A moment may come before the one that it came from: a redefinition can say so. */
function recoverMoments<D extends { readonly name: string }>(
  moments: MomentStore<D>,
  left: readonly (D & LeftMoment)[],
): void {
  for (const { parent: _, current, ...definition } of left) {
    const entry = moments.put(definition as unknown as D, undefined);
    if (current) moments.makeCurrent(entry);
  }
  for (const { name, parent } of left) {
    const entry = moments.byName(name);
    if (entry && parent) entry.parent = moments.byName(parent);
  }
}

async function find(record: DomainRecord, run: LeftRun): Promise<AttachedMachine | undefined> {
  const { driver } = record.services;
  const spec = { ...machineSpec(run.live, run.disks), name: record.name };
  const jobs = run.jobs.map((job) => ({
    ...knownJob(job),
    bitmapsOf: bitmapsLeftBehind(record.checkpoints, job.entry),
  }));
  return driver.attach?.(run.handle, { spec, jobs });
}

const ASKED: Partial<Record<JobState, 'pivot' | 'abort'>> = { pivoting: 'pivot', aborting: 'abort' };

function knownJob({ entry: { request, target }, state }: LeftJob): KnownJob {
  const asked = ASKED[state];
  return { request, ...(target && { target }), ...(asked && { asked }) };
}

async function takeOver(
  record: DomainRecord,
  run: LeftRun,
  { machine, cpus }: AttachedMachine,
): Promise<void> {
  const running = new RunningDomain({
    id: run.id,
    machine,
    handle: run.handle,
    disks: run.disks,
    indexes: run.indexes,
    state: stateNow(run, cpus),
    pausedFor: run.pausedFor,
    armedByIndex: run.armedByIndex,
    ...(run.leaving && { leaving: run.leaving }),
    observer: observe(record),
    notRunning: () => new VirtError(ErrorCode.OPERATION_FAILED, 'domain is not running'),
  });
  record.live = run.live;
  record.running = running;
  for (const { entry, state } of run.jobs) running.jobs.register(entry, state);
  for (const disk of run.disks) await followMachine(record, running, disk);
  await running.releaseLeft();
  record.recovering = false;
  record.journal();
  running.listen();
  await finishAsked(record, running);
}

function stateNow({ state, pausedFor }: LeftRun, cpus: AttachedMachine['cpus']): StateAndReason {
  if (pausedFor) return state;
  if (cpus === 'running') return state.state === DomainState.RUNNING ? state : { state: 1, reason: 5 };
  if (state.state === DomainState.PAUSED) return state;
  return { state: DomainState.PAUSED, reason: cpus === 'io-error' ? 5 : 1 };
}

/** A change of chains that was being made: the machine knows whether it was. */
async function followMachine(record: DomainRecord, running: RunningDomain, disk: LiveDisk): Promise<void> {
  const { next } = disk;
  disk.next = undefined;
  if (!next) return;
  const open = (await running.machine.chains()).find(({ disk: target }) => target === disk.target);
  if ((open?.paths[0] ?? '') === (next[0]?.path ?? '')) adopt(record, disk, next);
}

function adopt(record: DomainRecord, disk: LiveDisk, next: readonly ImageDescription[]): void {
  const [overlay, below] = next;
  const active = disk.chain[0];
  if (overlay && active && below?.index === active.index) {
    overlayConfig(record, disk.target, active.path, overlay);
  }
  disk.chain = next;
}

/** Asks again for what was asked, or about to be: the request may not have got through, and twice does no harm. */
async function finishAsked(record: DomainRecord, running: RunningDomain): Promise<void> {
  for (const job of running.jobs.all()) {
    const asked = ASKED[job.state];
    if (job.settled || running.jobs.byId(job.id) !== job) continue;
    try {
      if (asked) await running.machine.concludeJob(job.id, asked, bitmapsLeftBehind(record.checkpoints, job));
      else if (job.state === 'new') running.jobs.transition(job, 'running');
    } catch (error) {
      // It is ending already, or the machine is: either way its event comes.
      if (!isVirtError(error)) throw error;
    }
  }
  const { pausedFor } = running;
  const job = pausedFor && running.jobs.byId(pausedFor.job);
  if (pausedFor && (!job || job.settled || job.state !== 'pivoting')) await running.endPivotPause();
}

const CRASHED = 3;
/** virDomainShutoffReason: it never got to run. */
const FAILED = 6;

/** The machine is gone: its jobs ended with it, one way or the other. */
async function buryRun(record: DomainRecord, run: LeftRun): Promise<void> {
  for (const job of run.jobs) await tellFate(record, run, job);
  await unlinkLeft(record, run.leaving ?? []);
  for (const disk of run.disks) await adoptOverlay(record, disk);
  record.offReason = run.starting ? FAILED : CRASHED;
  record.recovering = false;
  if (record.persistent) record.journal();
  else record.services.forget(record);
}

async function tellFate(
  record: DomainRecord,
  { pausedFor }: LeftRun,
  { entry, state, verdict }: LeftJob,
): Promise<void> {
  if (!entry.mirrors) return tellCutOff(record, entry);
  const doubt = state === 'pivoting' && pausedFor?.job !== entry.id && verdict === undefined;
  const completed = verdict === 'completed';
  record.outcomes.add(outcomeOf(entry, doubt ? 'unknown' : completed ? 'completed' : 'failed'));
  if (completed) await adoptResult(record, entry);
}

/** A new overlay shows what is below it until somebody writes to it: if it is there whole, it is the truth. */
async function adoptOverlay(record: DomainRecord, disk: LiveDisk): Promise<void> {
  const { next } = disk;
  disk.next = undefined;
  const active = disk.chain[0];
  if (next && active && next[1]?.index === active.index && (await headersSay(record, next))) {
    adopt(record, disk, next);
  }
}
