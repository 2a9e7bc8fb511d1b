/** QEMU 1.3: the first with drive-mirror and block-job-complete; no node names, no job-* commands, no schema. */
import { type HandwrittenQemu, handwritten } from './handwritten.ts';
import type { Profile } from './profile.ts';
import { qemu72 } from './qemu-7.2.ts';

const DEVICE = 'device:str';

/** Options of the command line that no QEMU of that time has. */
export const LATER_OPTIONS = ['-blockdev', '-accel', '-overcommit', '-sandbox', '-audiodev', '-msg'];

/** What 1.3 shares with the generations before it, without the block jobs. */
export const EARLY_COMMANDS: Readonly<Record<string, string>> = {
  qmp_capabilities: '',
  quit: '',
  stop: '',
  cont: '',
  system_reset: '',
  system_powerdown: '',
  'query-version': '',
  'query-commands': '',
  'query-status': '',
  'query-name': '',
  'query-uuid': '',
  'query-kvm': '',
  'query-chardev': '',
  'query-cpus': '',
  'query-block': '',
  'query-blockstats': '',
  'query-block-jobs': '',
  'human-monitor-command': 'command-line:str cpu-index?:int',
  device_add: 'driver:str bus?:str id?:str',
  device_del: 'id:str',
  eject: `${DEVICE} force?:bool`,
  change: `${DEVICE} target:str arg?:str`,
  block_passwd: `${DEVICE} password:str`,
  block_resize: `${DEVICE} size:int`,
  getfd: 'fdname:str',
  closefd: 'fdname:str',
};

const ON_ERROR = 'on-source-error?:BlockdevOnError on-target-error?:BlockdevOnError';

const introspected: HandwrittenQemu = {
  greeting: { version: { major: 1, minor: 3, micro: 0 }, package: '', capabilities: [] },
  enums: {
    BlockdevOnError: ['report', 'ignore', 'enospc', 'stop'],
    MirrorSyncMode: ['top', 'full', 'none'],
    NewImageMode: ['existing', 'absolute-paths'],
  },
  types: { BlockdevSnapshot: `${DEVICE} snapshot-file:str format?:str mode?:NewImageMode` },
  unions: { BlockdevAction: { 'blockdev-snapshot-sync': 'BlockdevSnapshot' } },
  commands: {
    ...EARLY_COMMANDS,
    'query-events': '',
    'block-stream': `${DEVICE} base?:str speed?:int on-error?:BlockdevOnError`,
    'block-commit': `${DEVICE} base?:str top:str speed?:int`,
    'drive-mirror': `${DEVICE} target:str format?:str sync:MirrorSyncMode mode?:NewImageMode speed?:int ${ON_ERROR}`,
    'block-job-set-speed': `${DEVICE} speed:int`,
    'block-job-cancel': `${DEVICE} force?:bool`,
    'block-job-pause': DEVICE,
    'block-job-resume': DEVICE,
    'block-job-complete': DEVICE,
    'blockdev-snapshot-sync': `${DEVICE} snapshot-file:str format?:str mode?:NewImageMode`,
    transaction: 'actions:[BlockdevAction]',
    block_set_io_throttle: `${DEVICE} bps:int bps_rd:int bps_wr:int iops:int iops_rd:int iops_wr:int`,
  },
  unchecked: ['device_add'],
  events: [
    ...['SHUTDOWN', 'RESET', 'POWERDOWN', 'STOP', 'RESUME', 'DEVICE_TRAY_MOVED', 'BLOCK_IO_ERROR'],
    ...['BLOCK_JOB_COMPLETED', 'BLOCK_JOB_CANCELLED', 'BLOCK_JOB_ERROR', 'BLOCK_JOB_READY'],
  ],
};

/** QEMU 1.3.0. */
export const qemu13: Profile = {
  name: 'qemu-1.3',
  introspection: handwritten(introspected),
  errors: {
    data: false,
    wording: 'generic',
    beforeNegotiation: 'not-found',
    repeatedNegotiation: 'not-found',
    enumValue: 'value',
    json: 'plain',
    idOnBadRequest: false,
    lookup: 'device-not-found',
  },
  behaviour: {
    ...qemu72.behaviour,
    jobStatusEvents: false,
    completeInStandby: false,
    forceCancelInReady: 'completed',
    pauseShows: 'when-woken',
    quitReply: 'first',
    quitReadyJobs: 'completed',
    mirrorSizeCheck: 'none',
    mirrorProgress: 'disk-size',
    ioErrorNodeName: false,
    ioErrorDetail: 'none',
    shutdownData: 'none',
    nodeNames: false,
    rateLimit: 'slice',
    imageLocking: false,
  },
  aliases: {},
  laterOptions: LATER_OPTIONS,
  // Nothing can be reopened yet.
  bugs: {
    ...qemu72.bugs,
    refusedStreamStays: false,
    emptyReopenAborts: false,
    reopenTwiceStaysHeld: false,
    groupAbortHangs: false,
    loadUnderMirrorCrashes: false,
    inactiveWriteAborts: false,
    debugDiscardKills: false,
    listingWhileFormattingAborts: false,
  },
};
