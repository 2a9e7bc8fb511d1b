/** Random calls of the block-job family. */
import {
  BlockCommitFlags,
  BlockCopyFlags,
  BlockJobAbortFlags,
  BlockJobSetSpeedFlags,
  BlockPullFlags,
  BlockResizeFlags,
  type Domain,
  ErrorCode,
  SnapshotCreateFlags,
} from '../../src/index.ts';
import { attempt, type Call, call, settle } from './call.ts';
import { isMirror, type Plain, type PlainDisk, type PlainJob, SLOT_BYTES } from './plain.ts';
import type { Rig } from './rig.ts';

/** A job that has the ballast to move gets nowhere. One that has less to do is not held back: when it would end is open. */
const HELD_BYTES_PER_SECOND = 1;
/** Whatever drains the machine cuts a throttled job's sleep short: its step is to be small beside the ballast. */
const SMALL_STEPS = { 'buf-size': SLOT_BYTES };
const MIB = 1 << 20;
const print = (name: string, ...values: readonly unknown[]): string =>
  `calls.${name}(${values.map((value) => JSON.stringify(value)).join(', ')})`;

const targetOf = (disk: number): string => `vd${'abc'[disk]}`;

/** What every call about a disk can be refused for. */
function refusedDisk({ domain, disks }: Plain, disk: number): ErrorCode | undefined {
  if (domain === 'off') return ErrorCode.OPERATION_INVALID;
  return disks[disk] ? undefined : ErrorCode.INVALID_ARG;
}

function refusedJob(plain: Plain, disk: number): ErrorCode | undefined {
  const job = plain.disks[disk]?.job;
  if (plain.domain !== 'running' || !job) return refusedDisk(plain, disk);
  return isMirror(job) ? ErrorCode.BLOCK_COPY_ACTIVE : ErrorCode.OPERATION_UNSUPPORTED;
}

/** What the model has of a job before it is begun. */
type Begun = Omit<PlainJob, 'ready' | 'recovered' | 'end'>;

/** Where a job can be made to fail. */
const FAULT: Readonly<Record<PlainJob['kind'], string>> = {
  copy: 'mirror.target-write',
  'active-commit': 'mirror.target-write',
  pull: 'stream.write',
  commit: 'commit.write',
};

/** Starts a job, and waits for what can be said of it. */
async function start(
  plain: Plain,
  rig: Rig,
  disk: number,
  {
    refusal,
    fails,
    job,
    make,
  }: {
    readonly refusal: ErrorCode | undefined;
    readonly fails: boolean | undefined;
    readonly job: (disk: PlainDisk) => Begun;
    /** `speed`: bytes/s; 0: unlimited. */
    readonly make: (domain: Domain, speed: number) => Promise<void>;
  },
): Promise<void> {
  const found = plain.disks[disk];
  const will = found && refusal === undefined && plain.domain === 'running' ? job(found) : undefined;
  // A fault cannot tell jobs apart: there must not be another one.
  const alone = plain.disks.every((other) => other === found || !other.job);
  const breaks = will !== undefined && fails === true && will.heavy && plain.canFail && alone;
  // A mirror that has failed notices when it has slept its debt off: one that is held back, after days.
  const isHeld = will?.held && will.heavy && !(breaks && isMirror(will));
  const speed = isHeld ? HELD_BYTES_PER_SECOND : 0;
  if (breaks) await rig.fail(FAULT[will.kind]);
  // Events may come before the call returns.
  if (found && will) plain.begin(found, breaks ? { ...will, held: false } : will);
  if (found?.job && breaks) found.job.end = 'failed';
  await attempt(plain, rig, refusal, (domain) => make(domain, speed));
  if (found && will) await settle(plain, rig, found);
}

/** How a copy is asked for. */
export interface CopyOptions {
  readonly held?: boolean;
  readonly shallow?: boolean;
  readonly raw?: boolean;
  /** Said unless it is false. */
  readonly transientJob?: boolean;
  /** The destination cannot be written. */
  readonly fails?: boolean;
}

/** virDomainBlockCopy of a disk to a new file. */
export function blockCopy(disk: number, options: CopyOptions = {}): Call {
  const { held = false, shallow = false, raw = false, transientJob = true, fails } = options;
  return call(print('blockCopy', disk, options), async (plain, rig) => {
    const below = plain.disks[disk]?.chain.slice(1) ?? [];
    const isShallow = shallow && below.length > 0;
    const refusal =
      refusedJob(plain, disk) ??
      (plain.persistent && !transientJob ? ErrorCode.OPERATION_INVALID : undefined) ??
      (isShallow && raw ? ErrorCode.CONFIG_UNSUPPORTED : undefined);
    const path = plain.newImage();
    const flags = (shallow ? BlockCopyFlags.SHALLOW : 0) | (transientJob ? BlockCopyFlags.TRANSIENT_JOB : 0);
    const xml = `<disk type='file'><driver type='${raw ? 'raw' : 'qcow2'}'/><source file='${path}'/></disk>`;
    if (raw) plain.raw.add(path);
    await start(plain, rig, disk, {
      refusal,
      fails,
      job: ({ chain: [active = ''] }) => ({
        kind: 'copy',
        chainAfter: isShallow ? [path, ...below] : [path],
        writes: path,
        reads: active,
        heavy: isShallow ? plain.heavy.has(active) : true,
        held,
      }),
      make: (domain, speed) =>
        domain.blockCopy(targetOf(disk), xml, speed > 0 ? { bandwidth: speed, ...SMALL_STEPS } : {}, flags),
    });
  });
}

/** How a pull is asked for. */
export interface PullOptions {
  readonly held?: boolean;
  /** Keeps the chain from this place on; all of it goes when left out. */
  readonly base?: number;
  /** The active image cannot be written. */
  readonly fails?: boolean;
}

/** virDomainBlockPull, or with a base virDomainBlockRebase. */
export function blockPull(disk: number, options: PullOptions = {}): Call {
  const { held = false, base, fails } = options;
  return call(print('blockPull', disk, options), async (plain, rig) => {
    const chain = plain.disks[disk]?.chain ?? [];
    const isThere = base === undefined || (base > 0 && base < chain.length);
    const refusal = refusedJob(plain, disk) ?? (isThere ? undefined : ErrorCode.INVALID_ARG);
    const flags = BlockPullFlags.BANDWIDTH_BYTES;
    const path = base === undefined ? null : (chain[base] ?? plain.newImage());
    await start(plain, rig, disk, {
      refusal,
      fails,
      job: ({ chain: [active = ''] }) => ({
        kind: 'pull',
        chainAfter: [active, ...chain.slice(base ?? chain.length)],
        writes: active,
        reads: active,
        heavy: !plain.heavy.has(active) && chain.slice(1, base).some((image) => plain.heavy.has(image)),
        held,
      }),
      make: (domain, speed) =>
        base === undefined
          ? domain.blockPull(targetOf(disk), speed, flags)
          : domain.blockRebase(targetOf(disk), path, speed, flags),
    });
  });
}

/** How a commit is asked for. */
export interface CommitOptions {
  readonly held?: boolean;
  /** Place in the chain, 0 is the active image; that one, unnamed, when left out. */
  readonly top?: number;
  /** Place in the chain; the deepest image when left out. */
  readonly base?: number;
  readonly active?: boolean;
  /** The images that were committed are unlinked. */
  readonly deletes?: boolean;
  /** The base cannot be written. */
  readonly fails?: boolean;
}

function refusedCommit(plain: Plain, disk: number, options: CommitOptions): ErrorCode | undefined {
  const { top = 0, base, active = false } = options;
  const { chain = [], job } = plain.disks[disk] ?? {};
  const baseAt = base ?? chain.length - 1;
  // The images are looked up before anything else; those of a domain that is off have no chain.
  if (plain.domain === 'off') return ErrorCode.INVALID_ARG;
  if (top >= chain.length || baseAt <= top || baseAt >= chain.length) return ErrorCode.INVALID_ARG;
  if (job) return refusedJob(plain, disk);
  return active === (top === 0) ? undefined : ErrorCode.INVALID_ARG;
}

/** virDomainBlockCommit. */
export function blockCommit(disk: number, options: CommitOptions = {}): Call {
  const { held = false, top = 0, base, active = false, deletes = false, fails } = options;
  return call(print('blockCommit', disk, options), async (plain, rig) => {
    const chain = plain.disks[disk]?.chain ?? [];
    const baseAt = base ?? chain.length - 1;
    const pathAt = (place: number | undefined) =>
      place === undefined ? null : (chain[place] ?? `${plain.directory}/none`);
    const flags =
      BlockCommitFlags.BANDWIDTH_BYTES |
      (active ? BlockCommitFlags.ACTIVE : 0) |
      (deletes ? BlockCommitFlags.DELETE : 0);
    await start(plain, rig, disk, {
      refusal: refusedCommit(plain, disk, options),
      fails,
      job: () => ({
        kind: top === 0 ? 'active-commit' : 'commit',
        chainAfter: [...chain.slice(0, top), ...chain.slice(baseAt)],
        writes: chain[baseAt] ?? '',
        reads: chain[top] ?? '',
        deletes,
        heavy: chain.slice(top, baseAt).some((image) => plain.heavy.has(image)),
        // The steps of an active commit cannot be made small.
        held: held && top > 0,
      }),
      make: (domain, speed) =>
        domain.blockCommit(targetOf(disk), pathAt(base), pathAt(options.top), speed, flags),
    });
  });
}

/** How a job is ended. */
export interface AbortOptions {
  readonly pivot?: boolean;
  readonly async?: boolean;
  /** The pivot fails half-way, with the disk on its source. */
  readonly fails?: boolean;
}

function refusedAbort(plain: Plain, disk: number, pivot: boolean): ErrorCode | undefined {
  const job = plain.disks[disk]?.job;
  if (plain.domain !== 'running' || !plain.disks[disk]) return refusedDisk(plain, disk);
  if (!job) return ErrorCode.INVALID_ARG;
  return pivot && !job.ready ? ErrorCode.BLOCK_COPY_ACTIVE : undefined;
}

/** virDomainBlockJobAbort. Without ASYNC the job is over, and everybody was told, when it returns. */
export function blockJobAbort(disk: number, options: AbortOptions = {}): Call {
  const { pivot = false, async = false, fails = false } = options;
  return call(print('blockJobAbort', disk, options), async (plain, rig) => {
    const refusal = refusedAbort(plain, disk, pivot);
    const found = plain.disks[disk];
    const job = refusal === undefined ? found?.job : undefined;
    const left = found?.chain[0] ?? '';
    const view = found && plain.read(found);
    const breaks = job !== undefined && pivot && fails && plain.canFail;
    if (breaks) await rig.fail('pivot.before-graph-change');
    // Whoever asks for its end waits for it.
    if (job) job.recovered = false;
    if (job) job.end = pivot ? (breaks ? 'failed' : 'completed') : 'canceled';
    const flags = (pivot ? BlockJobAbortFlags.PIVOT : 0) | (async ? BlockJobAbortFlags.ASYNC : 0);
    const code = breaks && !async ? ErrorCode.OPERATION_FAILED : refusal;
    await attempt(plain, rig, code, (domain) => domain.blockJobAbort(targetOf(disk), flags));
    if (!found || !job || !view) return;
    if (!async) rig.absorb(plain);
    else await settle(plain, rig, found);
    if (found.job) rig.broken(`the ${job.kind} is over and its last event has not come`);
    // What a copy leaves behind is what the disk was at that moment.
    const whole = job.kind === 'copy' && job.ready && !breaks;
    if (whole) await rig.expectView(pivot ? left : job.writes, view, 'after the copy');
  });
}

/** virDomainBlockJobSetSpeed: lets a job that is held back go. @param speedMiB per second; 0: unlimited */
export function blockJobSetSpeed(disk: number, speedMiB: number): Call {
  return call(print('blockJobSetSpeed', disk, speedMiB), async (plain, rig) => {
    const job = plain.disks[disk]?.job;
    const refusal =
      refusedDisk(plain, disk) ?? (plain.domain === 'running' && !job ? ErrorCode.INVALID_ARG : undefined);
    if (job && refusal === undefined) job.held = false;
    const flags = BlockJobSetSpeedFlags.BANDWIDTH_BYTES;
    await attempt(plain, rig, refusal, (domain) =>
      domain.blockJobSetSpeed(targetOf(disk), speedMiB * MIB, flags),
    );
    const found = plain.disks[disk];
    if (found) await settle(plain, rig, found);
  });
}

/** virDomainBlockResize: a disk grows by some MiB. */
export function blockResize(disk: number, growMiB: number): Call {
  return call(print('blockResize', disk, growMiB), async (plain, rig) => {
    const found = plain.disks[disk];
    const busy = plain.domain === 'running' && found?.job ? ErrorCode.INTERNAL_ERROR : undefined;
    const size = (found?.capacityBytes ?? 0) + growMiB * MIB;
    const done = await attempt(plain, rig, refusedDisk(plain, disk) ?? busy, (domain) =>
      domain.blockResize(targetOf(disk), size, BlockResizeFlags.BYTES),
    );
    if (found && done) found.capacityBytes = size;
  });
}

/** virDomainSnapshotCreateXML, disk-only and without metadata, of the disks that are named and there. */
export function snapshot(disks: readonly number[]): Call {
  return call(print('snapshot', disks), async (plain, rig) => {
    const chosen = plain.disks.filter((_, index) => disks.includes(index));
    const busy =
      plain.domain === 'running'
        ? chosen.map(({ target }) => refusedJob(plain, 'abc'.indexOf(target.slice(2))))
        : [];
    const overlays = new Map(chosen.map((disk) => [disk, plain.newImage()]));
    const elements = plain.disks.map((disk) => {
      const path = overlays.get(disk);
      const source = path && `<source file='${path}'/>`;
      return `<disk name='${disk.target}' snapshot='${path ? 'external' : 'no'}'>${source ?? ''}</disk>`;
    });
    const xml = `<domainsnapshot><disks>${elements.join('')}</disks></domainsnapshot>`;
    const none = chosen.length === 0 ? ErrorCode.CONFIG_UNSUPPORTED : undefined;
    const refusal = busy.find((code) => code !== undefined) ?? none;
    const flags = SnapshotCreateFlags.DISK_ONLY | SnapshotCreateFlags.NO_METADATA;
    const done = await attempt(plain, rig, refusal, (domain) => domain.snapshotCreateXML(xml, flags));
    if (!done) return;
    for (const [disk, path] of overlays) {
      plain.views.set(path, plain.read(disk));
      disk.chain = [path, ...disk.chain];
    }
  });
}
