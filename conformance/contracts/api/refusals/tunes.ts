/** What limits on disks refuse, each seen on libvirt 9.0, the order of the checks included. */
import { type BlockIoTuneParams, ErrorCode, ErrorDomain } from '../../../../src/index.ts';
import type { LabOptions } from '../../../lab.ts';
import type { RefusalRow } from './row.ts';

const { INVALID_ARG, CONFIG_UNSUPPORTED, ARGUMENT_UNSUPPORTED, INTERNAL_ERROR, OPERATION_INVALID } =
  ErrorCode;
const { DOMAIN, NONE } = ErrorDomain;
const LIVE = 0x1;
const CONFIG = 0x2;
const SOME: BlockIoTuneParams = { total_bytes_sec: 1000 };
const HUGE = 1_000_000_000_000_001;

type SetRow = Omit<RefusalRow, 'call' | 'act' | 'id'> & {
  readonly params: object;
  readonly disk?: string;
  readonly flags?: number;
};

const twice = (family: string): SetRow => ({
  params: { [`total_${family}`]: 10, [`write_${family}`]: 10 },
  disk: 'vdz',
  code: INVALID_ARG,
  says: `total and read/write of ${family} cannot be set at the same time`,
});

const off: { readonly options: LabOptions } = { options: { inactive: true } };

const SET: Readonly<Record<string, SetRow>> = {
  'unknown-disk': { params: SOME, disk: 'vdz', code: INVALID_ARG, says: "disk 'vdz' not found in domain" },
  'empty-disk': { params: SOME, disk: '', code: INVALID_ARG, says: "disk '' not found in domain" },
  'no-parameters': {
    params: {},
    code: INVALID_ARG,
    domain: DOMAIN,
    says: 'nparams in virDomainSetBlockIoTune must be greater than zero',
    bare: true,
  },
  'unknown-flag': {
    params: { foo: 1 },
    flags: 0x4,
    code: INVALID_ARG,
    says: 'unsupported flags (0x4) in function qemuDomainSetBlockIoTune',
    bare: true,
  },
  'unknown-parameter': {
    params: { foo: 1 },
    disk: 'vdz',
    code: ARGUMENT_UNSUPPORTED,
    domain: NONE,
    says: "parameter 'foo' not supported",
  },
  'text-for-a-number': {
    params: { total_bytes_sec: 'x' },
    code: INVALID_ARG,
    domain: NONE,
    says: "invalid type 'string' for parameter 'total_bytes_sec', expected 'ullong'",
  },
  'number-for-a-group': {
    params: { group_name: 5 },
    code: INVALID_ARG,
    domain: NONE,
    says: "invalid type 'ullong' for parameter 'group_name', expected 'string'",
  },
  'too-much': {
    params: { total_bytes_sec: 10, read_bytes_sec: HUGE },
    disk: 'vdz',
    code: ARGUMENT_UNSUPPORTED,
    says: 'block I/O throttle limit value must be no more than 1000000000000000',
  },
  'bytes-twice': twice('bytes_sec'),
  'requests-twice': twice('iops_sec'),
  'burst-of-bytes-twice': twice('bytes_sec_max'),
  'burst-of-requests-twice': twice('iops_sec_max'),
  'burst-alone': {
    params: { read_iops_sec_max: 100 },
    code: CONFIG_UNSUPPORTED,
    says: "cannot reset 'read_iops_sec' when 'read_iops_sec_max' is set",
  },
  'burst-below-rate': {
    params: { total_bytes_sec: 2000, total_bytes_sec_max: 1000 },
    flags: LIVE | CONFIG,
    options: { persistent: true },
    code: CONFIG_UNSUPPORTED,
    says: "value 'total_bytes_sec_max' cannot be smaller than 'total_bytes_sec'",
  },
  'length-without-burst': {
    params: { total_bytes_sec_max_length: 3 },
    code: INTERNAL_ERROR,
    says: "unable to execute QEMU command 'block_set_io_throttle': ",
    more: true,
  },
  'group-without-limits': {
    params: { group_name: 'g' },
    code: CONFIG_UNSUPPORTED,
    says: 'creating a new group/updating existing with all tune parameters zero is not supported',
  },
  'live-not-running': {
    params: SOME,
    flags: LIVE,
    disk: 'vdz',
    ...off,
    code: OPERATION_INVALID,
    domain: DOMAIN,
    says: 'domain is not running',
  },
  'config-transient': {
    params: SOME,
    flags: CONFIG,
    code: OPERATION_INVALID,
    domain: DOMAIN,
    says: 'transient domains do not have any persistent config',
  },
  'config-unknown-disk': {
    params: SOME,
    disk: 'vdz',
    ...off,
    code: INVALID_ARG,
    says: "missing persistent configuration for disk 'vdz'",
  },
};

const setting = Object.entries(SET).map(
  ([why, { params, disk = 'vda', flags = 0, ...row }]): RefusalRow => ({
    ...row,
    id: `iotune-${why}`,
    call: 'setBlockIoTune',
    act: ({ domain }) => domain.setBlockIoTune(disk, params as BlockIoTuneParams, flags),
  }),
);

const getting: readonly RefusalRow[] = [
  {
    id: 'iotune-read-unknown-disk',
    call: 'getBlockIoTune',
    act: ({ domain }) => domain.getBlockIoTune('vdz'),
    code: INVALID_ARG,
    says: "disk 'vdz' not found in domain",
  },
  {
    id: 'iotune-read-config-unknown-disk',
    call: 'getBlockIoTune',
    ...off,
    act: ({ domain }) => domain.getBlockIoTune('vdz'),
    code: INVALID_ARG,
    says: "disk 'vdz' was not found in the domain config",
  },
  {
    id: 'iotune-read-both',
    call: 'getBlockIoTune',
    act: ({ domain }) => domain.getBlockIoTune('vda', LIVE | CONFIG),
    code: INVALID_ARG,
    domain: DOMAIN,
    says: "Flags 'VIR_DOMAIN_AFFECT_LIVE' and 'VIR_DOMAIN_AFFECT_CONFIG' are mutually exclusive",
    bare: true,
  },
  {
    id: 'iotune-read-unknown-flag',
    call: 'getBlockIoTune',
    act: ({ domain }) => domain.getBlockIoTune('vda', 8),
    code: INVALID_ARG,
    says: 'unsupported flags (0x8) in function qemuDomainGetBlockIoTune',
    bare: true,
  },
  {
    id: 'iotune-read-empty-drive',
    call: 'getBlockIoTune',
    options: { disks: ['empty'] },
    act: ({ domain }) => domain.getBlockIoTune('hdc'),
    code: INTERNAL_ERROR,
    says: 'block_io_throttle inserted entry was not in expected format',
  },
];

/** The rows. */
export const tuneRows: readonly RefusalRow[] = [...setting, ...getting].map((row) => ({
  ...row,
  needs: ['extras'],
}));
