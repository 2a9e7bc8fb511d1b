/**
 * What the generations before block nodes have in common: a disk is a drive with a name, a job is known by its drive, and
 * events tell how it ended. The commands are those of libvirt 0.10 to 1.2.
 */
import type { DiskSpec, ImageRef, JobRequest, PullRequest, TargetSpec } from '../../../src/driver.ts';
import { ErrorCode, VirtError } from '../../../src/errors.ts';
import { optionValue } from '../arguments.ts';
import { numberOf, objectsOf, optionalText, textOf } from '../errors.ts';
import type { QmpEventMessage } from '../qmp-client.ts';
import { isQmpObject, member, type QmpCall, type QmpObject, type QmpValue } from '../qmp-json.ts';
import { earlyArguments } from './base-arguments.ts';
import { pathOf } from './blockdev.ts';
import type {
  Dialect,
  IoErrorSignal,
  JobReport,
  JobSignal,
  JobView,
  Preparation,
  Query,
  Step,
} from './dialect.ts';

const PREFIX = 'drive-';

/** libvirt's name of a disk's drive: `drive-virtio-disk0`. */
export const driveName = ({ alias }: Pick<DiskSpec, 'alias'>): string => `${PREFIX}${alias}`;

/** Something that this generation cannot do. */
export function unsupported(what: string): VirtError {
  return new VirtError(ErrorCode.CONFIG_UNSUPPORTED, `${what} not supported with this QEMU binary`);
}

function driveArguments({ alias, chain: [top], readonly, device }: DiskSpec): readonly string[] {
  const rights = readonly ? ',readonly=on' : '';
  const id = `if=none,id=${optionValue(driveName({ alias }))}`;
  if (top === undefined) return ['-drive', `${id},media=${device}${rights}`];
  // What is below the image QEMU finds in the headers.
  return ['-drive', `file=${optionValue(top.path)},${id},format=${top.format}${rights}`];
}

/** The job makes and opens its target; libvirt only sees to it that there is a file that QEMU may write to. */
function prepare({ image, backing, reuse }: TargetSpec): Preparation {
  const steps: readonly Step[] = reuse ? [] : [{ do: 'create-file', path: image.path }];
  return { steps, opens: [image, ...backing] };
}

/** What a pull becomes; `backingFile`: the name that the header gets can be chosen. */
export function startPull(
  { base, backingName, speedBytesPerSecond }: PullRequest,
  device: string,
  backingFile: boolean,
): QmpCall {
  return {
    execute: 'block-stream',
    arguments: {
      device,
      ...member('base', base?.path),
      ...(base && chosenName(backingName, base, backingFile, 'a relative name of the base is')),
      ...member('speed', Number(speedBytesPerSecond) === 0 ? undefined : speedBytesPerSecond),
    },
  };
}

/** The argument for a backing file's name; throws where it cannot be chosen and is not the path itself. */
export function chosenName(
  name: string | undefined,
  base: ImageRef,
  canChoose: boolean,
  what: string,
): QmpObject {
  if (name === undefined || name === base.path) return {};
  if (!canChoose) throw unsupported(what);
  return { 'backing-file': name };
}

/** Members of a copy's start that are the same everywhere; old libvirt always sent the speed. */
export function copyMembers({ request, target }: JobView, device: string): QmpObject {
  if (request.kind !== 'copy') throw new TypeError('not a copy');
  const { image } = request.target;
  return {
    device,
    target: image.path,
    speed: request.speedBytesPerSecond,
    mode: target?.reuse ? 'existing' : 'absolute-paths',
    format: image.format,
  };
}

const ENDS: ReadonlySet<string> = new Set(['BLOCK_JOB_COMPLETED', 'BLOCK_JOB_CANCELLED']);

/** How an event says that a job ended: a completed one that has not got to its end has failed. */
function verdictOf({ event, data }: QmpEventMessage): { readonly error?: string } {
  const error = optionalText(data, 'error');
  if (error !== undefined) return { error };
  if (event === 'BLOCK_JOB_CANCELLED') return { error: 'Operation canceled' };
  return data.offset === data.len ? {} : { error: 'the job ended before all was copied' };
}

function signal(message: QmpEventMessage): JobSignal | undefined {
  const { event, data } = message;
  if (typeof data.device !== 'string') return undefined;
  const key = data.device;
  if (event === 'BLOCK_JOB_READY') return { type: 'ready', key };
  return ENDS.has(event) ? { type: 'concluded', key, verdict: verdictOf(message) } : undefined;
}

const IO_ACTIONS = ['report', 'ignore', 'stop'] as const;

function ioError({ event, data }: QmpEventMessage, isNoSpace: (data: QmpObject) => boolean) {
  if (event !== 'BLOCK_IO_ERROR') return undefined;
  const device = optionalText(data, 'device') ?? '';
  const action = IO_ACTIONS.find((known) => known === data.action) ?? 'report';
  const found: IoErrorSignal = { action, reason: isNoSpace(data) ? 'enospc' : '' };
  return device.startsWith(PREFIX) ? { ...found, alias: device.slice(PREFIX.length) } : found;
}

function jobs(): Query<readonly JobReport[]> {
  const execute = 'query-block-jobs';
  return {
    call: { execute },
    read: (reply) =>
      objectsOf(reply, execute).map((job) => ({
        key: textOf(job, 'device', execute),
        current: numberOf(job, 'offset', execute),
        total: numberOf(job, 'len', execute),
        ready: typeof job.ready === 'boolean' ? job.ready : undefined,
        concluded: false,
        speedBytesPerSecond: numberOf(job, 'speed', execute),
      })),
  };
}

/** Paths that a drive has open. Before 1.5 a QEMU tells of its image and the one below, of no more. */
function pathsOf(inserted: QmpObject): string[] {
  const paths: string[] = [];
  for (let at: QmpValue | undefined = inserted.image; isQmpObject(at); at = at['backing-image']) {
    paths.push(pathOf(textOf(at, 'filename', 'query-block')));
  }
  if (paths.length > 0) return paths;
  const below = optionalText(inserted, 'backing_file');
  const active = textOf(inserted, 'file', 'query-block');
  return below === undefined ? [active] : [active, below];
}

function chains(): Query<ReadonlyMap<string, readonly string[]>> {
  const execute = 'query-block';
  return {
    call: { execute },
    read(reply) {
      const paths = new Map<string, readonly string[]>();
      for (const { device, inserted } of objectsOf(reply, execute)) {
        if (typeof device !== 'string' || !device.startsWith(PREFIX)) continue;
        paths.set(device.slice(PREFIX.length), isQmpObject(inserted) ? pathsOf(inserted) : []);
      }
      return paths;
    },
  };
}

/** What differs between dialects of drives. */
export interface DriveParts extends Pick<Dialect, 'name' | 'conclude' | 'polling'> {
  readonly capabilities: Pick<
    Dialect['capabilities'],
    'commit' | 'activeCommit' | 'copyTuning' | 'copiesReadOnly'
  >;
  readonly start: { readonly [K in JobRequest['kind']]: (job: JobView, request: never) => QmpCall };
  /** Whether BLOCK_IO_ERROR says that there was no space. */
  isNoSpace(data: QmpObject): boolean;
}

/** Builds a dialect of drives. */
export function createDriveDialect({ start, isNoSpace, capabilities, ...own }: DriveParts): Dialect {
  return {
    ...own,
    capabilities: {
      ...capabilities,
      pull: true,
      copy: true,
      synchronousWrites: false,
      readyEvent: true,
      monotonicProgress: false,
    },
    baseArguments: earlyArguments,
    driveArguments,
    driveName,
    geometry: () => undefined,
    prepare,
    jobKey: (_request, disk) => driveName(disk),
    start: (job) => start[job.request.kind](job, job.request as never),
    attach: () => [],
    holdsGuest: true,
    setSpeed: ({ key }, speed) => ({ execute: 'block-job-set-speed', arguments: { device: key, speed } }),
    signal,
    ioError: (event) => ioError(event, isNoSpace),
    // A job is listed until it has ended; that it failed, only its last event tells.
    verdict: (key) => {
      const query = jobs();
      const isListed = (reply: QmpValue) => query.read(reply).some((job) => job.key === key);
      return { call: query.call, read: (reply) => (isListed(reply) ? { error: 'the job goes on' } : {}) };
    },
    settle: () => [],
    settleCreation: () => [],
    jobs,
    chains,
    openNodes: () => undefined,
    release: () => [],
  };
}

/** A step that asks a drive's job to end without a pivot. */
export const cancelJob = ({ key }: JobView): Step => ({
  do: 'call',
  call: { execute: 'block-job-cancel', arguments: { device: key } },
});
