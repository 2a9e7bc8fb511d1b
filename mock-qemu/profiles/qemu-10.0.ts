/** QEMU 10.0, as in Debian 13 and bookworm-backports. */
import captured from './captured/qemu-10.0.json' with { type: 'json' };
import { fromCapture } from './introspection.ts';
import type { Profile } from './profile.ts';
import { qemu72 } from './qemu-7.2.ts';

/** QEMU 10.0.2 of Debian bookworm-backports. */
export const qemu100: Profile = {
  name: 'qemu-10.0',
  introspection: fromCapture(captured),
  errors: qemu72.errors,
  behaviour: {
    ...qemu72.behaviour,
    activelySynced: true,
    drainCutsRateLimit: false,
    drainsAreGlobal: true,
    flaps: {
      ...qemu72.behaviour.flaps,
      borrow: 4,
      open: 5,
      streamEndBelow: 0,
      targetEnd: 0,
      pivot: 0,
      jobEnd: 2,
    },
    rawFollowsFile: false,
    idleJobsYield: true,
    snapshotErrorSaysWhy: true,
    failedCommitBase: 'read-only',
    backupsAlwaysRead: true,
    jobBitmapsOn: 'filter',
    fileDetails: true,
    zoneStatistics: true,
    snapshotTable: 'underscored',
    transactionsCommit: 'newest-first',
    exportsStopNewestFirst: true,
    resizeBusyText: 'node-busy',
    groupChecked: 'first',
    transactionPropertyText: 'transaction property',
    singlestep: false,
    inactiveNodes: true,
    ioErrorQomPath: true,
    ioErrorThrottled: true,
  },
  aliases: {},
  laterOptions: [],
  bugs: {
    ...qemu72.bugs,
    jobChangeIgnoresType: true,
    loadUnderMirrorCrashes: false,
    listingWhileFormattingAborts: false,
    olderNodesLeftOut: true,
    reopenTwiceStaysHeld: true,
  },
};
