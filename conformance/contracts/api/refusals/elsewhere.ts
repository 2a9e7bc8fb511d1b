/**
 * What only some machines can refuse: disks that no QEMU here has a device for, which the driver in memory takes, and what
 * the generations before block nodes cannot do. Each was seen on libvirt 9.0, with a vhost-user server of QEMU's own, but
 * those of generations that it does not drive any more, which are read.
 */
import { ErrorCode } from '../../../../src/index.ts';
import type { Lab } from '../../../lab.ts';
import { copyTargetXml } from '../../../vm.ts';
import type { DomainCall, RefusalRow } from './row.ts';

const { OPERATION_UNSUPPORTED, CONFIG_UNSUPPORTED } = ErrorCode;

const JOBS: readonly (readonly [
  name: string,
  call: DomainCall,
  act: (lab: Lab, disk: string) => Promise<unknown>,
])[] = [
  ['pull', 'blockPull', ({ domain }, disk) => domain.blockPull(disk)],
  ['rebase', 'blockRebase', ({ domain }, disk) => domain.blockRebase(disk)],
  ['copy', 'blockCopy', (lab, disk) => lab.domain.blockCopy(disk, copyTargetXml(lab.path('new'), 'qcow2'))],
];

const DISKS = [
  ['served', 'vdv', "vhostuser disk 'vdv'"],
  ['sd', 'sdc', "disk 'sdc' using bus 'sd'"],
] as const;

const jobs = JOBS.flatMap(([name, call, act]) =>
  DISKS.map(
    ([kind, disk, words]): RefusalRow => ({
      id: `${name}-of-${kind}-disk`,
      call,
      options: { disks: [kind] },
      needs: ['anyDisk'],
      act: (lab) => act(lab, disk),
      code: OPERATION_UNSUPPORTED,
      says: `block jobs are not supported on ${words}`,
    }),
  ),
);

const served = (
  id: string,
  call: DomainCall,
  code: number,
  says: string,
  act: (lab: Lab) => Promise<unknown>,
): RefusalRow => ({
  id,
  call,
  options: { disks: ['served'] },
  needs: ['anyDisk'],
  onlyNeeds: true,
  act,
  code,
  says,
});

const others: readonly RefusalRow[] = [
  served(
    'resize-of-served-disk',
    'blockResize',
    OPERATION_UNSUPPORTED,
    'block resize is not supported for vhostuser disk',
    ({ domain }) => domain.blockResize('vdv', 8192),
  ),
  served(
    'threshold-of-served-disk',
    'setBlockThreshold',
    OPERATION_UNSUPPORTED,
    'setting device threshold is not supported for vhostuser disk',
    ({ domain }) => domain.setBlockThreshold('vdv', 1),
  ),
  served(
    'iotune-of-served-disk',
    'setBlockIoTune',
    CONFIG_UNSUPPORTED,
    'a block I/O throttling is not supported for vhostuser disk',
    ({ domain }) => domain.setBlockIoTune('vdv', { total_bytes_sec: 1 }),
  ),
];

const early: readonly RefusalRow[] = [
  {
    id: 'copy-of-read-only-disk',
    call: 'blockCopy',
    options: { disks: ['readonly'] },
    needs: ['early'],
    act: (lab) => lab.domain.blockCopy('vdr', copyTargetXml(lab.path('new'), 'qcow2')),
    code: OPERATION_UNSUPPORTED,
    says: 'copy of read-only disks is not supported',
  },
  ...JOBS.map(
    ([name, call, act]): RefusalRow => ({
      id: `${name}-with-checkpoint`,
      call,
      needs: ['early'],
      async given({ domain }) {
        // Made by another emulator of the domain, as it were: this one cannot.
        await domain.checkpointCreateXML(
          '<domaincheckpoint><name>old</name><creationTime>1</creationTime></domaincheckpoint>',
          1,
        );
      },
      act: (lab) => act(lab, 'vda'),
      code: OPERATION_UNSUPPORTED,
      says: 'cannot perform block operations while checkpoint exists',
    }),
  ),
  {
    id: 'checkpoint-on-early-machine',
    call: 'checkpointCreateXML',
    needs: ['early'],
    act: ({ domain }) => domain.checkpointCreateXML('<domaincheckpoint/>'),
    code: OPERATION_UNSUPPORTED,
    says: 'incremental backup is not supported yet',
  },
];

const remote: readonly RefusalRow[] = [
  {
    id: 'copy-reusing-what-is-remote',
    call: 'blockCopy',
    act: ({ domain }) =>
      domain.blockCopy(
        'vda',
        "<disk type='network'><source protocol='nbd' name='x'><host name='localhost'/></source></disk>",
        {},
        2,
      ),
    code: CONFIG_UNSUPPORTED,
    says: 'reused mirror destination format must be specified',
  },
];

/** The rows. */
export const elsewhereRows: readonly RefusalRow[] = [...jobs, ...others, ...early, ...remote];
