/** virDomainBlockCopy. */
import { checkCopyBandwidth } from '../blockjob/bandwidth.ts';
import type { LiveDisk } from '../blockjob/live.ts';
import { type CopyChoice, planCopy } from '../blockjob/plan.ts';
import { startJob } from '../blockjob/run.ts';
import { chainBelow } from '../chains.ts';
import { type DestinationDefinition, type DiskSource, destinationFromXml } from '../conf/disk.ts';
import type { Volumes } from '../driver.ts';
import { ErrorCode, ErrorDomain, isVirtError, VirtError } from '../errors.ts';
import { BlockCopyFlags } from '../flags.ts';
import { guardDisk } from '../guards.ts';
import type { DomainRecord } from '../record.ts';
import { requireCheckpointSupport } from './checkpoints.ts';
import { checkFlags, checkNonNull, requireDisk, requireJobSupport } from './checks.ts';

/** Typed parameters of a copy (VIR_DOMAIN_BLOCK_COPY_*). */
export interface BlockCopyParams {
  /** Bytes per second; 0: unlimited. */
  readonly bandwidth?: number | bigint;
  /** Bytes, 0 or a power of two; 0: the hypervisor's default. */
  readonly granularity?: number;
  /** Bytes; 0: the hypervisor's default. */
  readonly 'buf-size'?: number | bigint;
}

type ParamType = 'ullong' | 'uint';
const PARAM_TYPES: Readonly<Record<string, ParamType>> = {
  bandwidth: 'ullong',
  granularity: 'uint',
  'buf-size': 'ullong',
};
const PARAM_MAX: Readonly<Record<ParamType, bigint>> = { ullong: 2n ** 64n - 1n, uint: 2n ** 32n - 1n };

const has = (flags: number, flag: keyof typeof BlockCopyFlags): boolean =>
  (flags & BlockCopyFlags[flag]) !== 0;

/** See {@link Domain.blockCopy}. */
export async function blockCopy(
  record: DomainRecord,
  name: string,
  destinationXml: string,
  params: BlockCopyParams,
  flags: number,
): Promise<void> {
  checkNonNull(name, 'disk', 'virDomainBlockCopy');
  checkNonNull(destinationXml, 'destxml', 'virDomainBlockCopy');
  checkFlags(flags, BlockCopyFlags, 'qemuDomainBlockCopy');
  checkParams(params);
  record.requireKnown();
  checkGranularity(params.granularity ?? 0);
  await copyTo(record, 'DomainBlockCopy', name, destinationFromXml(destinationXml), params, flags);
}

/**
 * The part that is common to blockCopy and to blockRebase with COPY (libvirt: qemuDomainBlockCopyCommon).
 * @param call libvirt's name of the dispatched call
 * @param flags BlockCopyFlags
 */
export async function copyTo(
  record: DomainRecord,
  call: string,
  name: string,
  destination: DestinationDefinition,
  params: BlockCopyParams,
  flags: number,
): Promise<void> {
  if (!destination.isRemote && !destination.path.startsWith('/')) {
    throw new VirtError(ErrorCode.INVALID_ARG, 'absolute path must be used as block copy target');
  }
  checkCopyBandwidth(params.bandwidth ?? 0);
  await record.locked(call, async () => {
    const running = record.requireRunning();
    requireCheckpointSupport(record, running);
    const disk = requireDisk(running.disks, name);
    guardDisk('start-job', disk.target, running.jobs.onDisk(disk));
    requireJobSupport(disk);
    if (destination.isPassed) {
      const detail = 'copy to a FD passed disk source is not yet supported';
      throw new VirtError(ErrorCode.CONFIG_UNSUPPORTED, detail);
    }
    checkTransience(record, flags);
    const choice = await choose(record, disk, destination, params, flags);
    await startJob(running.machine, running.jobs, planCopy(disk, choice));
  });
}

/** Names and types of the parameters (libvirt: virTypedParamsValidate). */
function checkParams(params: BlockCopyParams): void {
  for (const [name, value] of Object.entries(params) as [string, unknown][]) {
    if (value === undefined) continue;
    const type = PARAM_TYPES[name];
    if (!type) {
      throw new VirtError(ErrorCode.ARGUMENT_UNSUPPORTED, `parameter '${name}' not supported`, {
        domain: ErrorDomain.NONE,
      });
    }
    if (isOfType(value, type)) continue;
    const given = typeof value === 'number' ? 'double' : typeof value;
    throw new VirtError(
      ErrorCode.INVALID_ARG,
      `invalid type '${given}' for parameter '${name}', expected '${type}'`,
      { domain: ErrorDomain.NONE },
    );
  }
}

function isOfType(value: unknown, type: ParamType): boolean {
  if (typeof value === 'number' ? !Number.isSafeInteger(value) : typeof value !== 'bigint') return false;
  const exact = BigInt(value as number | bigint);
  return exact >= 0n && exact <= PARAM_MAX[type];
}

function checkGranularity(granularity: number): void {
  if (granularity === 0 || Number.isInteger(Math.log2(granularity))) return;
  throw new VirtError(ErrorCode.INVALID_ARG, 'granularity must be power of 2');
}

/** A persistent domain would come back without its mirror, so the caller has to say that it knows. */
function checkTransience(record: DomainRecord, flags: number): void {
  if (!record.persistent || has(flags, 'TRANSIENT_JOB')) return;
  throw new VirtError(ErrorCode.OPERATION_INVALID, 'domain is not transient');
}

/** Everything that depends on the source's chain and on what is at the destination, in libvirt's order. */
async function choose(
  record: DomainRecord,
  disk: LiveDisk,
  destination: DestinationDefinition,
  params: BlockCopyParams,
  flags: number,
): Promise<CopyChoice> {
  const { volumes } = record.services.driver;
  const [source, ...sourceBacking] = disk.chain;
  const reuse = has(flags, 'REUSE_EXT');
  const shallow = has(flags, 'SHALLOW') && sourceBacking.length > 0;
  // A bare <backingStore/> only says that nothing is below: libvirt takes it for no backing store at all.
  const explicitBacking = destination.backing.length > 0;
  checkShape(disk, destination, explicitBacking, shallow, reuse);
  if (destination.isRemote) throw remote(destination, reuse);
  await checkDestination(volumes, disk, destination, reuse);
  if (!source) {
    throw new VirtError(ErrorCode.INTERNAL_ERROR, "failed to update capacity data for block node '(null)'");
  }
  const { indexes, machine } = record.requireRunning();
  if (disk.definition.readonly && machine.capabilities.copiesReadOnly === false) {
    throw new VirtError(ErrorCode.OPERATION_UNSUPPORTED, 'copy of read-only disks is not supported');
  }
  const format = destination.format ?? (reuse ? await probeFormat(volumes, destination.path) : source.format);
  if (disk.definition.shareable && format !== 'raw') {
    throw new VirtError(
      ErrorCode.OPERATION_UNSUPPORTED,
      "can't pivot a shared disk to a storage volume not supporting sharing",
    );
  }
  const image: DiskSource = { type: destination.type, path: destination.path, format };
  const chain =
    shallow && reuse
      ? await chainBelow(volumes, [image, ...destination.backing], destination.backingTerminated)
      : [image];
  const [numbered, ...numberedBacking] = indexes.number(chain);
  return {
    destination: numbered ?? { ...image, index: indexes.next() },
    destinationBacking: numberedBacking,
    reuse,
    shallow,
    synchronousWrites: has(flags, 'SYNCHRONOUS_WRITES'),
    speedBytesPerSecond: params.bandwidth ?? 0,
    granularityBytes: params.granularity ?? 0,
    bufSizeBytes: params['buf-size'] ?? 0,
  };
}

function checkShape(
  disk: LiveDisk,
  destination: DestinationDefinition,
  explicitBacking: boolean,
  shallow: boolean,
  reuse: boolean,
): void {
  if (explicitBacking && !shallow) {
    throw new VirtError(
      ErrorCode.INVALID_ARG,
      "backingStore of mirror without VIR_DOMAIN_BLOCK_COPY_SHALLOW doesn't make sense",
    );
  }
  if (shallow && !reuse && destination.format === 'raw') {
    throw new VirtError(
      ErrorCode.CONFIG_UNSUPPORTED,
      `shallow copy of disk '${disk.target}' into a raw file is not possible`,
    );
  }
}

/** What is on another host cannot be looked at, and is not copied to here. */
function remote({ format }: DestinationDefinition, reuse: boolean): VirtError {
  const detail =
    reuse && format === undefined
      ? 'reused mirror destination format must be specified'
      : "disk type 'network' is not supported; use one of file, block";
  return new VirtError(ErrorCode.CONFIG_UNSUPPORTED, detail);
}

/** The format of an image that is reused without saying which it is: what QEMU would take it for. */
async function probeFormat(volumes: Volumes, path: string): Promise<string> {
  try {
    return (await volumes.inspect(path, 'qcow2')).format;
  } catch (error) {
    if (!isVirtError(error)) throw error;
    return 'raw';
  }
}

/** Looks at what is there (libvirt: qemuDomainBlockCopyValidateMirror). */
async function checkDestination(
  volumes: Volumes,
  disk: LiveDisk,
  { type, path }: DestinationDefinition,
  reuse: boolean,
): Promise<void> {
  const found = await volumes.stat(path);
  if (!found) {
    if (!reuse && type === 'file') return;
    throw new VirtError(
      ErrorCode.SYSTEM_ERROR,
      `missing destination file for disk ${disk.target}: ${path}: No such file or directory`,
      { errno: 2 },
    );
  }
  if (found.kind === 'block') return;
  if (!reuse && found.sizeBytes > 0) {
    throw new VirtError(
      ErrorCode.CONFIG_UNSUPPORTED,
      `external destination file for disk ${disk.target} already exists and is not a block device: ${path}`,
    );
  }
  if (type === 'block') {
    throw new VirtError(
      ErrorCode.INVALID_ARG,
      `blockdev flag requested for disk ${disk.target}, but file '${path}' is not a block device`,
    );
  }
}
