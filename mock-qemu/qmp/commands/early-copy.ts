/**
 * Mirrors before images had node names: the job opens the target's file itself, and the guest gets to it by
 * block-job-complete or, before that, by reopening the drive.
 */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import { CommandError, refuse } from '../../core/errors.ts';
import type { BlockBackend } from '../../core/graph/backend.ts';
import { backingOf, skipFilters } from '../../core/graph/data.ts';
import { DRIVERS } from '../../core/graph/drivers.ts';
import { refuseNoMedium } from '../../core/graph/graph.ts';
import type { BlockNode } from '../../core/graph/node.ts';
import { imageBelow, openNode, probeFormat } from '../../core/graph/open.ts';
import { EarlyMirrorTask } from '../../core/jobs/early-mirror.ts';
import type { Job, JobTask } from '../../core/jobs/job.ts';
import type { MirrorSync } from '../../core/jobs/mirror-options.ts';
import type { ErrorPolicy } from '../../core/jobs/policy.ts';
import { ALL, deviceRights, WRITE } from '../../core/rights.ts';
import type { Vm } from '../../core/vm.ts';
import { createOverFilter } from './copy.ts';
import { createImageFile } from './nodes.ts';
import {
  type CommandContext,
  type CommandTable,
  choice,
  exactInteger,
  type Finish,
  flag,
  LATER,
  needText,
  text,
} from './table.ts';

/** A mirror that has passed every check, its target open. */
export interface PreparedMirror {
  start(): void;
  /** Closes the target; its file stays. */
  abandon(): void;
}

/** The drive of that name; refuses a name that is none. */
export function driveNamed(vm: Vm, device: string): BlockBackend {
  const backend = vm.graph.backends.find((each) => each.name !== '' && each.name === device);
  return (
    backend ?? refuse(`Device '${device}' not found`, 'DeviceNotFound', { kind: 'device-not-found', device })
  );
}

/** The image of a drive that nothing works on; refuses an unknown, an empty and a busy one. */
export function idleDrive(vm: Vm, device: string): BlockNode {
  const node = driveNamed(vm, device).node ?? refuseNoMedium(device);
  if (node.blockers.length > 0) refuseInUse(device);
  return node;
}

const refuseInUse = (device: string): never =>
  refuse(`Device '${device}' is in use`, 'GenericError', { kind: 'in-use', device });

const refuseOpen = (filename: string): never =>
  refuse(`Could not open '${filename}'`, 'GenericError', { kind: 'open-failed', filename });

/** Does something that opens a file; whatever is wrong, the file cannot be opened. */
function opening<T>(filename: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return refuseOpen(filename);
  }
}

function checkFormat(format: string | undefined): void {
  if (format === undefined || (Object.hasOwn(DRIVERS, format) && format !== 'file')) return;
  refuse(`Invalid block format '${format}'`, 'GenericError', { kind: 'invalid-format', name: format });
}

/** Opens a file as a drive has it. */
function openFile(vm: Vm, path: string, format: string | undefined, options: JsonObject): BlockNode {
  const driver = format ?? probeFormat(vm.images, path);
  const { backing, ...rights } = options;
  const file = { driver: 'file', filename: path, ...rights };
  return openNode(vm, {
    driver,
    file,
    ...rights,
    ...(driver === 'qcow2' && backing === null && { backing }),
  });
}

/** A job that holds its drive and never does anything. */
const DEAD: JobTask = {
  // biome-ignore lint/correctness/useYield: it is never run
  *run() {
    return undefined;
  },
};

/** Checks a mirror, makes and opens its target. */
export function prepareMirror(context: CommandContext, args: JsonObject, wanted: MirrorSync): PreparedMirror {
  const { vm, profile } = context;
  const device = needText(args, 'device');
  const path = needText(args, 'target');
  const source = driveNamed(vm, device).node ?? refuseNoMedium(device);
  const existing = text(args, 'mode') === 'existing';
  const format = text(args, 'format') ?? (existing ? undefined : skipFilters(source).driver.name);
  checkFormat(format);
  idleDrive(vm, device);
  const sync = wanted === 'top' && backingOf(source) === undefined ? 'full' : wanted;
  checkSpeed(context, args, path);
  if (!existing) opening(path, () => createTarget(vm, path, format ?? 'raw', source, sync));
  const nodes = [{ node: source, as: 'main node' }] as const;
  const target = opening(path, () => {
    try {
      return openFile(vm, path, format, { backing: null });
    } catch (error) {
      if (profile.bugs.zombieJobAfterFailedOpen)
        vm.jobs.create({ id: device, type: 'mirror', task: DEAD, nodes });
      throw error;
    }
  });
  vm.reach('mirror.target-created');
  return {
    abandon: () => vm.graph.collect(target),
    start() {
      const task = new EarlyMirrorTask({
        source,
        target,
        sync,
        onSourceError: choice<ErrorPolicy>(args, 'on-source-error', 'report'),
        onTargetError: choice<ErrorPolicy>(args, 'on-target-error', 'report'),
        // What is reopened is flushed then; before that nothing of the target has to last.
        flushes: profile.behaviour.pivot === 'complete',
        showsEarly: profile.bugs.offsetReachesLenEarly,
      });
      const speed = exactInteger(args, 'speed') ?? 0;
      const early = { args: { speed }, defaultId: device, type: 'mirror', task, nodes } as const;
      createOverFilter(vm, early, (job) => {
        vm.jobs.addBackend(job, target, { needs: WRITE, shares: ALL });
        vm.jobs.use(job, { node: target, as: 'target' });
      }).start();
    },
  };
}

/** A speed below zero: without policies the whole mirror is taken for one that cannot be opened. */
function checkSpeed({ profile }: CommandContext, args: JsonObject, path: string): void {
  if ((exactInteger(args, 'speed') ?? 0) >= 0) return;
  if (!profile.behaviour.errorPolicies) refuseOpen(path);
  refuseSpeed();
}

/** Refuses a speed below zero. */
export const refuseSpeed = (): never =>
  refuse("Invalid parameter 'speed'", 'GenericError', { kind: 'invalid-parameter', name: 'speed' });

function createTarget(vm: Vm, path: string, driver: string, source: BlockNode, sync: MirrorSync): void {
  const below = sync === 'none' ? source : sync === 'top' ? backingOf(source) : undefined;
  createImageFile(vm, path, {
    driver,
    sizeBytes: source.lengthBytes,
    backing: driver === 'qcow2' ? below : undefined,
  });
}

/** How much a mirror copies where that is a yes or no: all, or the active image only. */
export const syncOf = (args: JsonObject): MirrorSync => (flag(args, 'full') ? 'full' : 'top');

function startMirror(context: CommandContext, args: JsonObject, sync: MirrorSync): undefined {
  const mirror = prepareMirror(context, args, sync);
  mirror.start();
  return undefined;
}

/** Puts another file into a drive, its job being over: the pivot of a QEMU that has no block-job-complete. */
function switchImage(vm: Vm, drive: BlockBackend, args: JsonObject): undefined {
  const path = needText(args, 'new-image-file');
  const format = text(args, 'format');
  checkFormat(format);
  const before = drive.node;
  if (before && before.blockers.length > 0) refuseInUse(drive.name);
  const rights = { 'read-only': drive.readOnly };
  const oldPath = before && imageBelow(before)?.path;
  const oldFormat = before?.driver.name;
  const put = (node: BlockNode) => {
    const rights = deviceRights(drive.readOnly);
    drive.root = vm.graph.hold({ kind: 'backend', backend: drive }, 'root', node, rights);
  };
  if (vm.reach('pivot.before-graph-change') !== undefined) refuseOpen(path);
  vm.graph.letGo(drive.root);
  drive.root = undefined;
  try {
    put(openFile(vm, path, format, rights));
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    // Back to what was there; a drive that cannot even go back is dead, and the error names the old file.
    if (oldPath !== undefined) opening(oldPath, () => put(openFile(vm, oldPath, oldFormat, rights)));
    refuseOpen(path);
  }
  vm.reach('pivot.after-graph-change');
  const witness = text(args, 'witness');
  // One byte proves, to whoever finds the file after a crash, that the guest may have written to the new image.
  if (witness !== undefined) vm.descriptors.get(witness)?.push(0);
  return undefined;
}

/** Ends the drive's job, if it has one, and waits until it is gone. */
function driveReopen(
  { vm, profile }: CommandContext,
  args: JsonObject,
  finish: Finish,
): typeof LATER | undefined {
  const device = needText(args, 'device');
  const witness = text(args, 'witness');
  if (witness !== undefined && !vm.descriptors.has(witness)) {
    refuse('no such descriptor', 'GenericError', { kind: 'fd-not-found', name: witness });
  }
  const drive = driveNamed(vm, device);
  const job = vm.jobs.find(device);
  if (!job) return switchImage(vm, drive, args);
  if (isDead(job)) return profile.bugs.reopenHangsOnZombieJob ? LATER : refuseInUse(device);
  vm.jobs.whenGone(job, () => finish(attempt(() => afterJob(vm, job, drive, args))));
  vm.jobs.userCancel(job, false);
  return LATER;
}

/** A job that was not synced was cancelled, and with it goes the copy: the drive stays where it is. */
function afterJob(vm: Vm, job: Job, drive: BlockBackend, args: JsonObject): undefined {
  if (job.error !== undefined) refuseInUse(drive.name);
  return switchImage(vm, drive, args);
}

/** Whether a job was never started. */
export const isDead = (job: Job): boolean => job.status === 'created';

function attempt(work: () => undefined): CommandError | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof CommandError) return error;
    throw error;
  }
}

/** Start and end of early mirrors. */
export const earlyCopyCommands: CommandTable = {
  'drive-mirror': (context, args) => startMirror(context, args, choice<MirrorSync>(args, 'sync', 'full')),
  'full-drive-mirror': (context, args) => startMirror(context, args, syncOf(args)),
  'drive-reopen': driveReopen,
};
