/** qemu-kvm of RHEL 6.3 (builds for RHEV): mirror and reopen under Red Hat's names, and no READY event. */
import { type HandwrittenQemu, handwritten } from './handwritten.ts';
import type { Profile } from './profile.ts';
import { EARLY_COMMANDS, LATER_OPTIONS, qemu13 } from './qemu-1.3.ts';

const MIRROR = 'device:str target:str full?:bool mode?:NewImageMode format?:str speed?:int';
const SNAPSHOT = 'device:str snapshot-file:str format?:str mode?:NewImageMode';

const introspected: HandwrittenQemu = {
  // Every release of RHEL 6 gives this version: features must be probed by query-commands.
  greeting: { version: { major: 0, minor: 12, micro: 1 }, package: '(qemu-kvm-0.12.1.2)', capabilities: [] },
  enums: { NewImageMode: ['existing', 'absolute-paths'] },
  types: { BlockdevSnapshot: SNAPSHOT, BlockdevMirror: MIRROR },
  unions: {
    BlockdevAction: {
      'blockdev-snapshot-sync': 'BlockdevSnapshot',
      '__com.redhat_drive-mirror': 'BlockdevMirror',
    },
  },
  commands: {
    ...EARLY_COMMANDS,
    'block-stream': 'device:str speed?:int base?:str',
    'block-job-set-speed': 'device:str speed:int',
    'block-job-cancel': 'device:str',
    'blockdev-snapshot-sync': SNAPSHOT,
    transaction: 'actions:[BlockdevAction]',
    '__com.redhat_drive-mirror': MIRROR,
    '__com.redhat_drive-reopen': 'device:str new-image-file:str format?:str witness?:str',
    '__com.redhat_drive_add': 'id:str file?:str format?:str',
    '__com.redhat_drive_del': 'id:str',
  },
  unchecked: ['device_add', '__com.redhat_drive_add'],
  events: [
    ...['SHUTDOWN', 'RESET', 'POWERDOWN', 'STOP', 'RESUME', 'BLOCK_IO_ERROR'],
    ...['BLOCK_JOB_COMPLETED', 'BLOCK_JOB_CANCELLED'],
  ],
};

/** qemu-kvm-0.12.1.2-2.295.el6_3. */
export const rhel63: Profile = {
  name: 'rhel-6.3',
  introspection: handwritten(introspected),
  errors: {
    data: true,
    wording: 'rich',
    beforeNegotiation: 'not-found',
    repeatedNegotiation: 'not-found',
    enumValue: 'value',
    json: 'plain',
    idOnBadRequest: false,
    lookup: 'device-not-found',
  },
  behaviour: {
    ...qemu13.behaviour,
    pivot: 'drive-reopen',
    readyEvent: false,
    errorPolicies: false,
    ioErrorDetail: { reason: '__com.redhat_reason', debugInfo: '__com.redhat_debug_info' },
  },
  aliases: {
    '__com.redhat_drive-mirror': 'full-drive-mirror',
    '__com.redhat_drive-reopen': 'drive-reopen',
    '__com.redhat_drive_add': 'drive-add',
    '__com.redhat_drive_del': 'drive-del',
  },
  // -machine none and the options around it came with the first QEMU that could be asked over QMP what it can do.
  laterOptions: [...LATER_OPTIONS, '-machine', '-no-user-config', '-display'],
  bugs: {
    ...qemu13.bugs,
    zombieJobAfterFailedOpen: true,
    reopenHangsOnZombieJob: true,
    offsetReachesLenEarly: true,
  },
};
