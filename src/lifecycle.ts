/** A domain's life: start, pause, end, and the events that go with each step. */

import { aliasFor, diskSpec, ImageIndexes, type LiveDisk } from './blockjob/live.ts';
import { chainOf } from './chains.ts';
import type { DiskSource, ImageDescription } from './conf/disk.ts';
import type { DomainDefinition } from './conf/domain.ts';
import type { GoneReason, MachineSpec } from './driver.ts';
import { ErrorCode, isVirtError, VirtError } from './errors.ts';
import { DomainState, EventId, LifecycleEvent } from './flags.ts';
import type { DomainRecord } from './record.ts';
import { publicType, RunningDomain, type RunningObserver, type StateAndReason } from './running.ts';

const SHUTDOWN_GUEST = 1;
const SHUTDOWN_HOST = 2;
/** STOPPED details (virDomainEventStoppedDetailType) by what ended the machine. */
const STOPPED_DETAIL: Readonly<Record<GoneReason, number>> = { shutdown: 0, destroyed: 1, crashed: 5 };
/** virDomainEventIOErrorAction. */
const IO_ERROR_ACTION = { none: 0, pause: 1, report: 2 } as const;
const SUSPENDED_IOERROR = 2;
const PAUSED_IOERROR = 5;

/**
 * Starts a domain: reads its chains, starts the machine, announces it.
 * @throws VirtError of the driver or of an image that cannot be read; the domain is shut off then
 */
export async function startDomain(record: DomainRecord, definition: DomainDefinition): Promise<void> {
  const { driver } = record.services;
  const indexes = new ImageIndexes();
  const disks = await liveDisks(record, definition, indexes);
  const machine = await driver.start(machineSpec(definition, disks));
  const running = new RunningDomain({
    id: record.services.nextDomainId(),
    machine,
    disks,
    indexes,
    observer: observe(record),
    notRunning: () => new VirtError(ErrorCode.OPERATION_FAILED, 'domain is not running'),
  });
  record.live = definition;
  record.running = running;
  // libvirt announces the resumed CPUs before the start that they are part of.
  emitLifecycle(record, LifecycleEvent.RESUMED, 0);
  emitLifecycle(record, LifecycleEvent.STARTED, 0);
  running.listen();
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

function machineSpec(definition: DomainDefinition, disks: readonly LiveDisk[]): MachineSpec {
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
  await running.machine.destroy();
  await running.gone;
}

/** virDomainSuspend; an already paused domain stays so without an event. */
export async function suspendDomain(record: DomainRecord): Promise<void> {
  const running = record.requireRunning();
  if (running.state.state === DomainState.PAUSED) return;
  await running.pause();
}

/**
 * virDomainResume.
 * @throws VirtError OPERATION_INVALID if it runs already
 */
export async function resumeDomain(record: DomainRecord): Promise<void> {
  const running = record.requireRunning();
  if (running.state.state === DomainState.RUNNING) {
    throw new VirtError(ErrorCode.OPERATION_INVALID, 'domain is already running');
  }
  await running.resume();
}

function observe(record: DomainRecord): RunningObserver {
  const domain = record.handle;
  const { events } = record.services;
  return {
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
    deleteImages: (images) => deleteImages(record, images),
    shuttingDown: () => emitLifecycle(record, LifecycleEvent.SHUTDOWN, SHUTDOWN_GUEST),
    gone(reason) {
      record.running = undefined;
      record.live = undefined;
      if (reason === 'destroyed') emitLifecycle(record, LifecycleEvent.SHUTDOWN, SHUTDOWN_HOST);
      emitLifecycle(record, LifecycleEvent.STOPPED, STOPPED_DETAIL[reason]);
      if (!record.persistent) record.services.forget(record);
    },
  };
}

/** libvirt leaves behind, with a warning in its log, what it cannot unlink; only local files are unlinked. */
async function deleteImages(record: DomainRecord, images: readonly ImageDescription[]): Promise<void> {
  for (const { type, path } of images) {
    if (type !== 'file') continue;
    try {
      await record.services.driver.volumes.remove(path);
    } catch (error) {
      if (!isVirtError(error)) throw error;
    }
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

/** virDomainGetState; a domain that is shut off has the reason it was started with unknown, so 0. */
export function stateOf(record: DomainRecord): StateAndReason {
  return record.running?.state ?? { state: DomainState.SHUTOFF, reason: 0 };
}
