/** What the calls around block jobs refuse: those that are judged by a refusal, and flags that ask for what is not. */
import { DeviceModifyFlags, ErrorCode, ErrorDomain, SnapshotCreateFlags } from '../../../../src/index.ts';
import { diskXml, type Lab } from '../../../lab.ts';
import type { RefusalRow } from './row.ts';

const { INVALID_ARG, OPERATION_INVALID, CONFIG_UNSUPPORTED, INTERNAL_ERROR } = ErrorCode;
const { DOMAIN, DOMAIN_SNAPSHOT, QEMU } = ErrorDomain;
const CREATE = 'VIR_DOMAIN_SNAPSHOT_CREATE_';
const { LIVE, CONFIG, FORCE } = DeviceModifyFlags;
const { DISK_ONLY, NO_METADATA } = SnapshotCreateFlags;

const NOT_RUNNING = 'domain is not running';

const FORCED = {
  attach: 'qemuDomainAttachDeviceLiveAndConfig',
  detach: 'qemuDomainDetachDeviceLiveAndConfig',
} as const;
const CHANGES = ['attach', 'detach', 'update'] as const;

const devices: readonly RefusalRow[] = CHANGES.flatMap((verb): RefusalRow[] => {
  const call = `${verb}DeviceFlags` as const;
  const change = (flags: number) => (lab: Lab) =>
    lab.domain[call](diskXml(verb === 'attach' ? 'vdc' : 'vdb', lab.path('other')), flags);
  return [
    {
      id: `${verb}-live-not-running`,
      call,
      options: { inactive: true },
      act: change(LIVE),
      code: OPERATION_INVALID,
      says: NOT_RUNNING,
      domain: DOMAIN,
    },
    {
      id: `${verb}-config-transient`,
      call,
      act: change(CONFIG),
      code: OPERATION_INVALID,
      says: 'transient domains do not have any persistent config',
      domain: DOMAIN,
    },
    ...(verb === 'update'
      ? []
      : [
          {
            id: `${verb}-force`,
            call,
            act: change(FORCE),
            code: INVALID_ARG,
            says: `unsupported flags (0x4) in function ${FORCED[verb]}`,
            bare: true as const,
          },
        ]),
  ];
});

const running: readonly RefusalRow[] = (['shutdown', 'reboot', 'reset'] as const).map((call) => ({
  id: `${call}-not-running`,
  call,
  options: { inactive: true },
  act: ({ domain }) => domain[call](),
  code: OPERATION_INVALID,
  says: NOT_RUNNING,
  ...(call === 'shutdown' ? {} : { domain: DOMAIN }),
}));

const snapshots: readonly RefusalRow[] = [
  {
    id: 'snapshot-current-without-redefine',
    call: 'snapshotCreateXML',
    act: (lab) => lab.snapshot(DISK_ONLY | SnapshotCreateFlags.CURRENT),
    code: INVALID_ARG,
    says: `Flag '${CREATE}REDEFINE' is required by flag '${CREATE}CURRENT'`,
    domain: DOMAIN_SNAPSHOT,
    bare: true,
  },
  {
    id: 'snapshot-redefine-without-metadata',
    call: 'snapshotCreateXML',
    act: (lab) => lab.snapshot(DISK_ONLY | NO_METADATA | SnapshotCreateFlags.REDEFINE),
    code: INVALID_ARG,
    says: `Flags '${CREATE}REDEFINE' and '${CREATE}NO_METADATA' are mutually exclusive`,
    domain: DOMAIN_SNAPSHOT,
    bare: true,
  },
  {
    id: 'snapshot-quiesce-alone',
    call: 'snapshotCreateXML',
    act: (lab) => lab.snapshot(SnapshotCreateFlags.QUIESCE),
    code: INVALID_ARG,
    says: `Flag '${CREATE}DISK_ONLY' is required by flag '${CREATE}QUIESCE'`,
    bare: true,
  },
  ...(
    [
      [
        'memory-of-off',
        { inactive: true },
        "<memory snapshot='internal'/>",
        0,
        ErrorCode.XML_ERROR,
        DOMAIN_SNAPSHOT,
        'memory state cannot be saved with offline or disk-only snapshot',
      ],
      [
        'memory-without-file',
        {},
        "<memory snapshot='external'/>",
        0,
        ErrorCode.XML_ERROR,
        DOMAIN_SNAPSHOT,
        'external memory snapshots require a filename',
      ],
      [
        'memory-in-relative-file',
        {},
        "<memory snapshot='external' file='x'/>",
        0,
        ErrorCode.XML_ERROR,
        DOMAIN_SNAPSHOT,
        'memory snapshot file path (x) must be absolute',
      ],
      [
        'memory-no-with-file',
        {},
        "<memory snapshot='no' file='/a'/>",
        0,
        ErrorCode.XML_ERROR,
        DOMAIN_SNAPSHOT,
        "memory filename '/a' requires external snapshot",
      ],
      [
        'memory-no-of-running',
        {},
        "<memory snapshot='no'/>",
        0,
        ErrorCode.OPERATION_UNSUPPORTED,
        QEMU,
        'internal snapshot of a running VM must include the memory state',
      ],
      [
        'memory-and-internal-disk',
        {},
        "<memory snapshot='external' file='/a'/><disks><disk name='vda' snapshot='internal'/></disks>",
        0,
        CONFIG_UNSUPPORTED,
        QEMU,
        'mixing internal and external targets for a snapshot is not yet supported',
      ],
      [
        'disk-left-out-of-internal',
        { inactive: true },
        "<disks><disk name='vda' snapshot='no'/></disks>",
        0,
        CONFIG_UNSUPPORTED,
        DOMAIN_SNAPSHOT,
        "disk 'vda' must use snapshot mode 'internal'",
      ],
      [
        'disk-outside-of-internal',
        { inactive: true },
        "<disks><disk name='vda' snapshot='external'/></disks>",
        0,
        CONFIG_UNSUPPORTED,
        DOMAIN_SNAPSHOT,
        "disk 'vda' must use snapshot mode 'internal'",
      ],
      [
        'internal-of-raw',
        { inactive: true, disks: ['shared'] },
        '',
        0,
        CONFIG_UNSUPPORTED,
        QEMU,
        'internal snapshot for disk vds unsupported for storage type raw',
      ],
      [
        'live-without-memory-file',
        {},
        '',
        SnapshotCreateFlags.LIVE,
        ErrorCode.OPERATION_UNSUPPORTED,
        QEMU,
        'live snapshot creation is supported only during full system snapshots',
      ],
    ] as const
  ).map(
    ([why, options, inner, flags, code, domain, says]): RefusalRow => ({
      id: `snapshot-${why}`,
      call: 'snapshotCreateXML',
      options,
      act: (lab) => lab.domain.snapshotCreateXML(`<domainsnapshot>${inner}</domainsnapshot>`, flags),
      code,
      domain,
      says,
    }),
  ),
  {
    id: 'snapshot-halt-transient',
    call: 'snapshotCreateXML',
    act: (lab) => lab.snapshot(DISK_ONLY | NO_METADATA | SnapshotCreateFlags.HALT),
    code: OPERATION_INVALID,
    says: 'cannot halt after transient domain snapshot',
  },
];

const others: readonly RefusalRow[] = [
  {
    id: 'core-dump-during-copy',
    call: 'coreDump',
    job: 'ready-copy',
    act: (lab) => lab.domain.coreDump(lab.path('core')),
    code: OPERATION_INVALID,
    says: 'domain has active block job',
  },
  {
    id: 'backup-during-copy',
    call: 'backupBegin',
    job: 'ready-copy',
    act: ({ domain }) => domain.backupBegin(),
    code: INTERNAL_ERROR,
    says: "disk 'vda' has a blockjob assigned",
  },
  {
    id: 'rename-running',
    call: 'rename',
    act: ({ domain }) => domain.rename('other-name'),
    code: OPERATION_INVALID,
    says: 'cannot rename active domain',
  },
  {
    id: 'revert-to-disk-snapshot',
    call: 'revertToSnapshot',
    options: { persistent: true },
    async given(lab) {
      await lab.snapshot(DISK_ONLY);
    },
    act: async ({ domain }) => domain.revertToSnapshot(await domain.snapshotLookupByName('snap')),
    code: CONFIG_UNSUPPORTED,
    says: 'revert to external snapshot not supported yet',
  },
];

/** The rows. */
export const aroundRows: readonly RefusalRow[] = [...devices, ...running, ...snapshots, ...others].map(
  (row) => ({ ...row, needs: ['extras'] }),
);
