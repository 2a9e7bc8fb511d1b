/** virDomainSetBlockIoTune, virDomainGetBlockIoTune. */
import type { LiveDisk } from '../blockjob/live.ts';
import { type DiskDefinition, diskFromXml } from '../conf/disk.ts';
import { withDiskElements } from '../conf/domain.ts';
import {
  contradictionOf,
  IO_TUNE_FIELDS,
  IO_TUNE_MAX,
  IO_TUNE_RATES,
  type IoTune,
  type IoTuneField,
  isTuned,
  withIoTune,
} from '../conf/iotune.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { DomainModificationImpact, EventId } from '../flags.ts';
import { guardDisk } from '../guards.ts';
import type { DomainRecord } from '../record.ts';
import type { RunningDomain } from '../running.ts';
import { checkFlags, checkNonNull, noSupport, requireDisk } from './checks.ts';
import { scopeOf } from './scope.ts';

/** What is to be limited (VIR_DOMAIN_BLOCK_IOTUNE_*): bytes or requests per second, 0 for no limit. */
export type BlockIoTuneParams = Readonly<Partial<Record<IoTuneField, number | bigint>>> & {
  /** Disks of one group share its limits. */
  readonly group_name?: string;
};

/** All limits of a disk. */
export type BlockIoTune = Readonly<Record<IoTuneField, number>> & { readonly group_name: string };

const { LIVE, CONFIG } = DomainModificationImpact;
const FLAGS = { LIVE, CONFIG };

/** What was asked for, checked. */
interface Asked {
  readonly values: Readonly<Partial<Record<IoTuneField, number>>>;
  readonly group: string | undefined;
}

/** See {@link Domain.setBlockIoTune}. */
export async function setBlockIoTune(
  record: DomainRecord,
  name: string,
  params: BlockIoTuneParams,
  flags: number,
): Promise<void> {
  checkNonNull(name, 'disk', 'virDomainSetBlockIoTune');
  checkSome(params);
  checkFlags(flags, FLAGS, 'qemuDomainSetBlockIoTune');
  checkTypes(params);
  await record.locked('DomainSetBlockIoTune', async () => {
    const { live, config } = scopeOf(record, flags);
    const asked = checkValues(params);
    // Both are looked at before either is changed.
    const disk = live && requireDisk(live.disks, name);
    const wanted = disk && live && plannedLive(live, disk, asked);
    const kept = config ? plannedConfig(record, name, asked) : undefined;
    if (live && disk && wanted) await changeLive(record, live, disk, wanted);
    if (live && disk) tell(record, name, params);
    if (kept) changeConfig(record, kept.target, kept.tune);
    record.journal();
  });
}

function checkSome(params: BlockIoTuneParams): void {
  if (Object.keys(params).length > 0) return;
  throw new VirtError(ErrorCode.INVALID_ARG, 'nparams in virDomainSetBlockIoTune must be greater than zero', {
    domain: ErrorDomain.DOMAIN,
    bare: true,
  });
}

const isField = (name: string): name is IoTuneField => IO_TUNE_FIELDS.some((field) => field === name);
const MAX_ULLONG = 2n ** 64n - 1n;

/** libvirt: virTypedParamsValidate. */
function checkTypes(params: BlockIoTuneParams): void {
  const part = { domain: ErrorDomain.NONE };
  for (const [name, value] of Object.entries(params)) {
    if (name !== 'group_name' && !isField(name)) {
      throw new VirtError(ErrorCode.ARGUMENT_UNSUPPORTED, `parameter '${name}' not supported`, part);
    }
    const expected = name === 'group_name' ? 'string' : 'ullong';
    const found = typeof value === 'string' ? 'string' : isUnsigned(value) ? 'ullong' : typeof value;
    if (found === expected) continue;
    const detail = `invalid type '${found}' for parameter '${name}', expected '${expected}'`;
    throw new VirtError(ErrorCode.INVALID_ARG, detail, part);
  }
}

function isUnsigned(value: unknown): boolean {
  if (typeof value === 'bigint') return value >= 0n && value <= MAX_ULLONG;
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function checkValues({ group_name: group, ...numbers }: BlockIoTuneParams): Asked {
  const values: Partial<Record<IoTuneField, number>> = {};
  for (const [name, value] of Object.entries(numbers)) {
    if (value > IO_TUNE_MAX) {
      const detail = `block I/O throttle limit value must be no more than ${IO_TUNE_MAX}`;
      throw new VirtError(ErrorCode.ARGUMENT_UNSUPPORTED, detail);
    }
    values[name as IoTuneField] = Number(value);
  }
  const twice = contradictionOf(values);
  if (twice) {
    const detail = `total and read/write of ${twice} cannot be set at the same time`;
    throw new VirtError(ErrorCode.INVALID_ARG, detail);
  }
  return { values, group };
}

/** Which fields are set together: to set one is to clear those of its set that are left out. */
const SETS: readonly (readonly IoTuneField[])[] = [
  ...(['bytes_sec', 'iops_sec', 'bytes_sec_max', 'iops_sec_max'] as const).map((family) =>
    (['total', 'read', 'write'] as const).map((what) => `${what}_${family}` as const),
  ),
  ['size_iops_sec'],
];
const LENGTH_SETS = (['bytes_sec', 'iops_sec'] as const).map((family) =>
  (['total', 'read', 'write'] as const).map((what) => `${what}_${family}` as const),
);

/** What is asked for, with what it leaves as it was (libvirt: qemuDomainSetBlockIoTuneDefaults). */
function completed(asked: Asked, before: IoTune): IoTune {
  const values: Partial<Record<IoTuneField, number>> = {};
  for (const set of SETS) {
    const from = set.some((field) => asked.values[field] !== undefined) ? asked.values : before.values;
    for (const field of set) if (from[field]) values[field] = from[field];
  }
  for (const set of LENGTH_SETS) {
    const isSet = set.some((rate) => asked.values[`${rate}_max_length`] !== undefined);
    for (const rate of set) {
      const field = `${rate}_max_length` as const;
      const { [field]: length } = isSet ? asked.values : before.values;
      // Of a burst that there is, QEMU takes no length of 0.
      const kept = length || (isSet && (values[rate] || values[`${rate}_max`]) ? 1 : 0);
      if (kept) values[field] = kept;
    }
  }
  return { values, group: asked.group ?? before.group };
}

/** The group of an unlimited disk is given up; none is made without a limit (libvirt: qemuDomainCheckBlockIoTuneReset). */
function settled(tune: IoTune, asked: Asked, own: IoTune): IoTune {
  if (isTuned(tune)) return tune;
  if (asked.group !== undefined && asked.group !== own.group) {
    throw unsupported(
      'creating a new group/updating existing with all tune parameters zero is not supported',
    );
  }
  return { values: {}, group: undefined };
}

const unsupported = (detail: string): VirtError => new VirtError(ErrorCode.CONFIG_UNSUPPORTED, detail);

/** Who joins a group starts from its limits. */
function basis(disks: readonly DiskDefinition[], own: DiskDefinition, group: string | undefined): IoTune {
  if (group === undefined || group === '' || group === own.iotune.group) return own.iotune;
  return disks.find(({ iotune }) => iotune.group === group)?.iotune ?? own.iotune;
}

function plannedLive({ disks }: RunningDomain, disk: LiveDisk, asked: Asked): IoTune {
  const { definition } = disk;
  refuseServed(definition);
  const all = disks.map((other) => other.definition);
  const tune = settled(completed(asked, basis(all, definition, asked.group)), asked, definition.iotune);
  checkBursts(tune);
  return tune;
}

function refuseServed({ vhostUser }: DiskDefinition): void {
  if (vhostUser) throw unsupported('a block I/O throttling is not supported for vhostuser disk');
}

function checkBursts({ values }: IoTune): void {
  for (const rate of IO_TUNE_RATES) {
    const burst = values[`${rate}_max`];
    if (!burst) continue;
    if (!values[rate]) throw unsupported(`cannot reset '${rate}' when '${rate}_max' is set`);
    if (burst < values[rate]) throw unsupported(`value '${rate}_max' cannot be smaller than '${rate}'`);
  }
}

function plannedConfig(record: DomainRecord, name: string, asked: Asked) {
  const disks = record.persistent?.disks ?? [];
  const disk = configDisk(disks, name);
  if (!disk) {
    throw new VirtError(ErrorCode.INVALID_ARG, `missing persistent configuration for disk '${name}'`);
  }
  const tune = completed(asked, basis(disks, disk, asked.group));
  return { target: disk.target, tune: settled(tune, asked, disk.iotune) };
}

const configDisk = (disks: readonly DiskDefinition[], name: string): DiskDefinition | undefined =>
  disks.find(({ target, source }) => target === name || (name.startsWith('/') && source?.path === name));

/** An empty drive is not asked: its limits are for what comes into it. */
async function changeLive(
  record: DomainRecord,
  running: RunningDomain,
  disk: LiveDisk,
  tune: IoTune,
): Promise<void> {
  guardDisk('iotune', disk.target, running.jobs.onDisk(disk));
  const { machine } = running;
  if (!machine.setDiskLimits) throw noSupport('virDomainSetBlockIoTune');
  if (disk.chain.length > 0) await machine.setDiskLimits(disk.target, tune);
  for (const each of running.disks) {
    if (each !== disk && (!tune.group || each.definition.iotune.group !== tune.group)) continue;
    each.definition = tuned(each.definition, tune);
  }
  record.journal();
}

const tuned = (disk: DiskDefinition, tune: IoTune): DiskDefinition =>
  diskFromXml(withIoTune(disk.element, tune));

function changeConfig(record: DomainRecord, target: string, tune: IoTune): void {
  const { persistent } = record;
  if (!persistent) return;
  const elements = persistent.disks.map((disk) => {
    const shares = tune.group !== undefined && disk.iotune.group === tune.group;
    return disk.target === target || shares ? withIoTune(disk.element, tune) : disk.element;
  });
  record.persistent = withDiskElements(persistent, elements);
}

/** VIR_DOMAIN_TUNABLE_BLKDEV_*: what was asked for, under the name that the disk was called by. */
function tell(record: DomainRecord, name: string, params: BlockIoTuneParams): void {
  const told = Object.entries(params).map(([key, value]) => [`blkdeviotune.${key}`, value]);
  record.services.events.emit(EventId.TUNABLE, {
    domain: record.handle,
    parameters: { 'blkdeviotune.disk': name, ...Object.fromEntries(told) },
  });
}

/** See {@link Domain.getBlockIoTune}. */
export async function getBlockIoTune(
  record: DomainRecord,
  name: string,
  flags: number,
): Promise<BlockIoTune> {
  checkNonNull(name, 'disk', 'virDomainGetBlockIoTune');
  if ((flags & LIVE) !== 0 && (flags & CONFIG) !== 0) {
    const detail = "Flags 'VIR_DOMAIN_AFFECT_LIVE' and 'VIR_DOMAIN_AFFECT_CONFIG' are mutually exclusive";
    throw new VirtError(ErrorCode.INVALID_ARG, detail, { domain: ErrorDomain.DOMAIN, bare: true });
  }
  checkFlags(flags, { ...FLAGS, TYPED_PARAM_STRING_OK: 0x4 }, 'qemuDomainGetBlockIoTune');
  return record.locked('DomainGetBlockIoTune', async () => {
    const { live } = scopeOf(record, flags);
    return live ? limitsInForce(live, name) : limitsKept(record, name);
  });
}

async function limitsInForce({ disks, machine }: RunningDomain, name: string): Promise<BlockIoTune> {
  const disk = requireDisk(disks, name);
  refuseServed(disk.definition);
  if (!machine.diskLimits) throw noSupport('virDomainGetBlockIoTune');
  if (disk.chain.length === 0) {
    const detail = 'block_io_throttle inserted entry was not in expected format';
    throw new VirtError(ErrorCode.INTERNAL_ERROR, detail);
  }
  return shown(await machine.diskLimits(disk.target));
}

function limitsKept({ persistent }: DomainRecord, name: string): BlockIoTune {
  const disk = configDisk(persistent?.disks ?? [], name);
  if (disk) return shown(disk.iotune);
  throw new VirtError(ErrorCode.INVALID_ARG, `disk '${name}' was not found in the domain config`);
}

function shown({ values, group }: IoTune): BlockIoTune {
  const numbers = Object.fromEntries(IO_TUNE_FIELDS.map((field) => [field, values[field] ?? 0]));
  return { ...(numbers as Record<IoTuneField, number>), group_name: group ?? '' };
}
