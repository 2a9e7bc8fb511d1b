/** A domain's life: start, pause, end, and the events that go with each step. */

import { isRecorded, mergeBitmaps } from './bitmaps.ts';
import { aliasFor, diskSpec, ImageIndexes, type LiveDisk } from './blockjob/live.ts';
import type { JobRecord } from './blockjob/registry.ts';
import { chainOf } from './chains.ts';
import { type DiskSource, emptiedDiskXml, type ImageDescription } from './conf/disk.ts';
import { type DomainDefinition, withDiskElements } from './conf/domain.ts';
import type { XmlElement } from './conf/xml.ts';
import type { GoneReason, Machine, MachineSpec } from './driver.ts';
import { ErrorCode, isVirtError, VirtError } from './errors.ts';
import { tellCutOff, unlinkLeft } from './fates.ts';
import { DomainState, EventId, LifecycleEvent } from './flags.ts';
import type { DomainRecord } from './record.ts';
import { publicType, RunningDomain, type RunningObserver, type StateAndReason } from './running.ts';

const SHUTDOWN_GUEST = 1;
const SHUTDOWN_HOST = 2;
/** How a run can end: by itself, or because its state was saved or a snapshot halted it. */
type EndReason = GoneReason | 'saved' | 'halted' | 'reverted' | 'unseen';
/** By what ended the machine: STOPPED's detail (virDomainEventStoppedDetailType) and the reason of being shut off. */
const ENDS: Readonly<Record<EndReason, { readonly detail: number; readonly reason: number }>> = {
  shutdown: { detail: 0, reason: 1 },
  destroyed: { detail: 1, reason: 2 },
  crashed: { detail: 5, reason: 3 },
  saved: { detail: 4, reason: 5 },
  halted: { detail: 6, reason: 7 },
  reverted: { detail: 6, reason: 7 },
  unseen: { detail: 0, reason: 1 },
};
/** virDomainEventIOErrorAction. */
const IO_ERROR_ACTION = { none: 0, pause: 1, report: 2 } as const;
const SUSPENDED_IOERROR = 2;
const PAUSED_IOERROR = 5;

interface Announcement {
  readonly event: LifecycleEvent;
  readonly detail: number;
}

/** How a start goes: what is announced, in libvirt's order, and the state it leads to. */
export interface StartMode {
  readonly state: StateAndReason;
  readonly announce: readonly Announcement[];
}

const announce = (event: LifecycleEvent, detail: number): Announcement => ({ event, detail });

/** The ways to start (virDomainCreate, START_PAUSED, virDomainRestore with its two flags). */
export const START_MODES = {
  // libvirt announces the resumed CPUs before the start that they are part of.
  booted: {
    state: { state: DomainState.RUNNING, reason: 1 },
    announce: [announce(LifecycleEvent.RESUMED, 0), announce(LifecycleEvent.STARTED, 0)],
  },
  'booted-paused': {
    state: { state: DomainState.PAUSED, reason: 1 },
    announce: [announce(LifecycleEvent.STARTED, 0), announce(LifecycleEvent.SUSPENDED, 0)],
  },
  restored: {
    state: { state: DomainState.RUNNING, reason: 3 },
    announce: [announce(LifecycleEvent.STARTED, 2), announce(LifecycleEvent.RESUMED, 2)],
  },
  'restored-paused': {
    state: { state: DomainState.PAUSED, reason: 2 },
    announce: [announce(LifecycleEvent.STARTED, 2), announce(LifecycleEvent.SUSPENDED, 4)],
  },
  reverted: {
    state: { state: DomainState.RUNNING, reason: 4 },
    announce: [announce(LifecycleEvent.STARTED, 3), announce(LifecycleEvent.RESUMED, 2)],
  },
  'reverted-paused': {
    state: { state: DomainState.PAUSED, reason: 7 },
    announce: [announce(LifecycleEvent.STARTED, 3), announce(LifecycleEvent.SUSPENDED, 5)],
  },
  /** From what a snapshot without memory kept of its disks. */
  'reverted-booted': {
    state: { state: DomainState.RUNNING, reason: 1 },
    announce: [announce(LifecycleEvent.RESUMED, 0), announce(LifecycleEvent.STARTED, 3)],
  },
  'reverted-booted-paused': {
    state: { state: DomainState.PAUSED, reason: 1 },
    announce: [announce(LifecycleEvent.STARTED, 3), announce(LifecycleEvent.SUSPENDED, 5)],
  },
  /** Only for the block layer, to merge images of a domain that is off: nobody is told. */
  unseen: { state: { state: DomainState.PAUSED, reason: 1 }, announce: [] },
} as const satisfies Record<string, StartMode>;

/** One of {@link START_MODES}. */
export type StartModeName = keyof typeof START_MODES;

/**
 * Starts a domain: reads its chains, starts the machine, announces it.
 * @param restoreFrom a saved state that the machine goes on from; for the `restored` modes
 * @param loadSnapshot an internal snapshot that it goes on from; for the `reverted` modes
 * @throws VirtError of the driver or of an image that cannot be read; the domain is shut off then
 */
export async function startDomain(
  record: DomainRecord,
  definition: DomainDefinition,
  modeName: StartModeName = 'booted',
  restoreFrom?: string,
  loadSnapshot?: string,
): Promise<void> {
  const { driver } = record.services;
  const mode: StartMode = START_MODES[modeName];
  const indexes = new ImageIndexes();
  const present = await applyStartupPolicy(record, definition);
  const disks = await liveDisks(record, present, indexes);
  const paused = mode.state.state === DomainState.PAUSED;
  const { state } = mode;
  let handle: string | undefined;
  const launched = (found: string): void => {
    handle = found;
    record.launching = { handle: found, live: present, disks, indexes, state };
    record.journal();
  };
  let machine: Machine;
  try {
    machine = await driver.start({
      ...machineSpec(present, disks),
      ...(paused && { startPaused: true }),
      ...(restoreFrom !== undefined && { restoreFrom }),
      ...(loadSnapshot !== undefined && { loadSnapshot }),
      ...(record.services.state && { launched }),
    });
  } catch (error) {
    abandonLaunch(record);
    throw error;
  }
  const running = new RunningDomain({
    id: record.services.nextDomainId(),
    machine,
    handle,
    disks,
    indexes,
    state: mode.state,
    observer: observe(record),
    notRunning: () => new VirtError(ErrorCode.OPERATION_FAILED, 'domain is not running'),
  });
  if (restoreFrom !== undefined && !paused) await machine.resume();
  record.live = present;
  record.running = running;
  record.launching = undefined;
  record.journal();
  for (const { event, detail } of mode.announce) emitLifecycle(record, event, detail);
  running.listen();
}

/** What DISK_CHANGE calls an emptied drive, and a disk that is left out. */
const MISSING_ON_START = 0;
const DROP_MISSING_ON_START = 1;

/** A source with startupPolicy='optional' that is not there: the drive starts empty, the disk is left out. */
async function applyStartupPolicy(
  record: DomainRecord,
  definition: DomainDefinition,
): Promise<DomainDefinition> {
  const { driver, events } = record.services;
  const kept: XmlElement[] = [];
  let changed = false;
  for (const disk of definition.disks) {
    const { source, optional, element } = disk;
    if (!source || !optional || (await driver.volumes.stat(source.path))) {
      kept.push(element);
      continue;
    }
    changed = true;
    const emptied = disk.device === 'cdrom';
    if (emptied) kept.push(emptiedDiskXml(element));
    events.emit(EventId.DISK_CHANGE, {
      domain: record.handle,
      oldSourcePath: source.path,
      newSourcePath: null,
      deviceAlias: aliasFor(disk),
      reason: emptied ? MISSING_ON_START : DROP_MISSING_ON_START,
    });
  }
  return changed ? withDiskElements(definition, kept) : definition;
}

/**
 * Reads every chain and numbers the images as libvirt does: disks from the last to the first, and what the definition
 * names of all of them before what was found below that. An empty drive takes a number too.
 */
async function liveDisks(
  record: DomainRecord,
  definition: DomainDefinition,
  indexes: ImageIndexes,
): Promise<LiveDisk[]> {
  const { volumes } = record.services.driver;
  const disks: LiveDisk[] = [];
  const found = new Map<LiveDisk, readonly DiskSource[]>();
  for (const disk of definition.disks) {
    const live: LiveDisk = {
      definition: disk,
      target: disk.target,
      alias: aliasFor(disk),
      chain: [],
      mirror: undefined,
    };
    found.set(live, await chainOf(volumes, disk));
    disks.push(live);
  }
  const lastFirst = [...disks].reverse();
  for (const disk of lastFirst) {
    const { source, backing } = disk.definition;
    if (source) disk.chain = indexes.number((found.get(disk) ?? []).slice(0, 1 + backing.length));
    else indexes.next();
  }
  for (const disk of lastFirst) {
    const below = (found.get(disk) ?? []).slice(disk.chain.length);
    disk.chain = [...disk.chain, ...indexes.number(below)];
  }
  return disks;
}

/** A start that failed has left nothing, and so does the journal. */
function abandonLaunch(record: DomainRecord): void {
  if (!record.launching) return;
  record.launching = undefined;
  record.journal();
}

/** What the driver starts, or finds again. */
export function machineSpec(definition: DomainDefinition, disks: readonly LiveDisk[]): MachineSpec {
  return {
    name: definition.name,
    uuid: definition.uuid,
    memoryBytes: definition.memoryBytes,
    machineType: definition.machineType,
    emulator: definition.emulator,
    disks: disks.map(diskSpec),
  };
}

/** Ends a domain at once (virDomainDestroy); does not wait for the job lock, so that it gets through a stuck job. */
export async function destroyDomain(record: DomainRecord): Promise<void> {
  const running = record.requireRunning();
  record.guard('destroy');
  await running.machine.destroy();
  await running.gone;
}

/** virDomainSuspend; an already paused domain stays so without an event. */
export async function suspendDomain(record: DomainRecord): Promise<void> {
  const running = record.requireRunning();
  record.guard('suspend');
  if (running.state.state === DomainState.PAUSED) return;
  await running.pause();
}

/**
 * virDomainResume.
 * @throws VirtError OPERATION_INVALID if it runs already
 */
export async function resumeDomain(record: DomainRecord): Promise<void> {
  const running = record.requireRunning();
  record.guard('resume');
  if (running.state.state === DomainState.RUNNING) {
    throw new VirtError(ErrorCode.OPERATION_INVALID, 'domain is already running');
  }
  await running.resume();
}

/** What a running domain's news do to the domain and its connection. */
export function observe(record: DomainRecord): RunningObserver {
  const domain = record.handle;
  const { events } = record.services;
  return {
    changed: () => record.journal(),
    ended: (outcome) => record.outcomes.add(outcome),
    told: ({ target }) => record.outcomes.clear(target),
    cutOff: (job) => tellCutOff(record, job),
    jobEvent(job, status) {
      const type = publicType(job);
      const path = job.disk.chain[0]?.path;
      if (path) events.emit(EventId.BLOCK_JOB, { domain, disk: path, type, status });
      events.emit(EventId.BLOCK_JOB_2, { domain, disk: job.disk.target, type, status });
    },
    chainChanged: (disk, previous) => record.followChain(disk, previous?.path),
    stateChanged: (state) => emitState(record, state),
    ioError(disk, action, reason) {
      const payload = {
        domain,
        sourcePath: disk?.chain[0]?.path ?? '',
        deviceAlias: disk?.alias ?? '',
        action: IO_ERROR_ACTION[action],
        reason,
      };
      events.emit(EventId.IO_ERROR, payload);
      events.emit(EventId.IO_ERROR_REASON, payload);
    },
    threshold: (device, path, threshold, excess) =>
      events.emit(EventId.BLOCK_THRESHOLD, { domain, device, path, threshold, excess }),
    leavingImages: (job, chain) =>
      isRecorded(record.checkpoints, job.disk.target) ? carryOn(record, job, chain) : undefined,
    unlinkLeft: (leaving) => unlinkLeft(record, leaving),
    shuttingDown: () => emitLifecycle(record, LifecycleEvent.SHUTDOWN, SHUTDOWN_GUEST),
    gone(gone) {
      const reason: EndReason = record.endingAs ?? gone;
      record.endingAs = undefined;
      record.running = undefined;
      record.live = undefined;
      record.offReason = ENDS[reason].reason;
      tryJournal(record);
      if (reason === 'destroyed') emitLifecycle(record, LifecycleEvent.SHUTDOWN, SHUTDOWN_HOST);
      if (reason !== 'unseen') emitLifecycle(record, LifecycleEvent.STOPPED, ENDS[reason].detail);
      // What is reverted is about to run again.
      if (!record.persistent && reason !== 'reverted') record.services.forget(record);
    },
    reset: () => events.emit(EventId.REBOOT, { domain }),
    diskRemoved: (disk) => events.emit(EventId.DEVICE_REMOVED, { domain, deviceAlias: disk.alias }),
  };
}

/** A bitmap that cannot be carried on is no reason to withhold the end of a job. */
async function carryOn(
  { running }: DomainRecord,
  job: JobRecord,
  chain: readonly ImageDescription[],
): Promise<void> {
  try {
    if (running) await mergeBitmaps(running.machine, chain, job);
  } catch (error) {
    if (!isVirtError(error)) throw error;
  }
}

/** The end has happened whether it can be written down or not; the next connection finds the machine gone. */
function tryJournal(record: DomainRecord): void {
  try {
    record.journal();
  } catch (error) {
    if (!isVirtError(error)) throw error;
  }
}

function emitState(record: DomainRecord, { state, reason }: StateAndReason): void {
  if (state === DomainState.RUNNING) emitLifecycle(record, LifecycleEvent.RESUMED, 0);
  if (state !== DomainState.PAUSED) return;
  emitLifecycle(record, LifecycleEvent.SUSPENDED, reason === PAUSED_IOERROR ? SUSPENDED_IOERROR : 0);
}

/** Emits a lifecycle event of a domain. */
export function emitLifecycle(record: DomainRecord, event: LifecycleEvent, detail: number): void {
  record.services.events.emit(EventId.LIFECYCLE, { domain: record.handle, event, detail });
}

/** virDomainGetState. */
export function stateOf(record: DomainRecord): StateAndReason {
  return record.running?.state ?? { state: DomainState.SHUTOFF, reason: record.offReason };
}
