/** What the calls around block jobs refuse: those that are judged by a refusal, and flags that ask for what is not. */
import { DeviceModifyFlags, ErrorCode, ErrorDomain, SnapshotCreateFlags } from '../../../../src/index.ts';
import { diskXml, type Lab } from '../../../lab.ts';
import type { RefusalRow } from './row.ts';

const { INVALID_ARG, OPERATION_INVALID, CONFIG_UNSUPPORTED, INTERNAL_ERROR } = ErrorCode;
const { DOMAIN, DOMAIN_SNAPSHOT } = ErrorDomain;
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
