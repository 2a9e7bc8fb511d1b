/** QEMU 7.2, as in Debian 12: the main target. Later generations are written as differences to it. */
import captured from './captured/qemu-7.2.json' with { type: 'json' };
import { fromCapture } from './introspection.ts';
import type { Profile } from './profile.ts';

/** QEMU 7.2.22 of Debian bookworm. */
export const qemu72: Profile = {
  name: 'qemu-7.2',
  introspection: fromCapture(captured),
  errors: {
    data: false,
    wording: 'qapi',
    beforeNegotiation: 'expecting',
    repeatedNegotiation: 'command-ignored',
    enumValue: 'member-and-value',
    json: 'detailed',
    idOnBadRequest: true,
    lookup: 'quoted',
  },
  behaviour: {
    pivot: 'complete',
    readyEvent: true,
    cancelledEvent: true,
    errorPolicies: true,
    jobStatusEvents: true,
    completeInStandby: true,
    forceCancelInReady: 'cancelled',
    pauseShows: 'at-once',
    quitReply: 'last',
    quitReadyJobs: 'cancelled',
    mirrorSizeCheck: 'text',
    mirrorProgress: 'dirty-bytes',
    activelySynced: false,
    drainCutsRateLimit: true,
    drainsAreGlobal: false,
    rateLimit: 'debt',
    imageLocking: true,
    resizeBusyText: 'device-in-use',
    transactionPropertyText: 'Transaction property',
    singlestep: true,
    inactiveNodes: false,
    ioErrorNodeName: true,
    ioErrorQomPath: false,
    ioErrorThrottled: false,
    ioErrorDetail: 'reason',
    shutdownData: 'guest-and-reason',
    nodeNames: true,
  },
  aliases: {},
  laterOptions: [],
  bugs: {
    zombieJobAfterFailedOpen: false,
    reopenHangsOnZombieJob: false,
    offsetReachesLenEarly: false,
    ignoresUnknownMembers: false,
    jobChangeIgnoresType: false,
  },
};
