/** The scenarios with plays: what happens, and an application in the middle of it. */
import { pivotCrashContracts } from '../contracts/api/pivot-crashes.ts';
import { convergencePlays } from './plays/convergence.ts';
import { crashPlays, disorderPlays, lostReplyPlays } from './plays/deaths.ts';
import { endPlays } from './plays/ends.ts';
import { pausedPlays } from './plays/meanings.ts';
import { baseFullPlays, targetFullPlays } from './plays/space.ts';
import { timeoutPlays } from './plays/timeouts.ts';
import { played, type Scenario, scenario } from './scenario.ts';

/** The entries. */
export const miniSpecs: readonly Scenario[] = [
  played(
    scenario(
      'mirror/never-converges',
      'The guest dirties its disk faster than the copy may go, for an hour.',
      'No READY, progress that does not go back, an end that grows; READY once the guest is slower or the copy faster.',
      'KubeVirt enhancements #322; Proxmox 60e1b142',
      'api/info-bounded',
    ),
    convergencePlays,
  ),
  played(
    scenario(
      'mirror/target-enospc',
      'The target of a mirror runs full, before or after READY, with each of the error policies.',
      'report: the error, and the source untouched. stop, enospc: a stopped job that goes on when there is room. ignore: no end while it is full.',
      'tp-qemu #2398, #2636, #2747; vdsm #395; Harvester #11208; QEMU #462',
      'qmp/io-error/mirror-target-enospc-report',
      'qmp/io-error/mirror-target-enospc-stop',
      'qmp/io-error/mirror-target-enospc-ignore',
      'qmp/io-error/ready-force-cancel',
    ),
    targetFullPlays,
  ),
  played(
    scenario(
      'commit/base-enospc',
      'The base of a commit is on a thin lease that is too small; extending it takes seconds, fails, or is never answered.',
      'The job stops and goes on when there is room; given up, the overlay is still the top of a chain that can be read.',
      'vdsm #352, #357, 5e5498506, e89258204, 8ae0c79d1',
      'qmp/io-error/resume-without-cure',
    ),
    baseFullPlays,
  ),
  played(
    scenario(
      'pivot/crash-points',
      'QEMU dies at each step of a pivot, while its guest writes and flushes.',
      'What became of the job is told as completed, failed, or unknown with both images named; no flushed write is lost.',
      'KubeVirt VEP 321; libvirt 400ac797, eaba79d22e',
      ...pivotCrashContracts.map(({ id }) => id).filter((id) => id.startsWith('api/pivot-crash/')),
    ),
    crashPlays,
  ),
  played(
    scenario(
      'pivot/daemon-restart-reply-lost',
      'The management process dies in a pivot and never hears what came of it; QEMU goes on.',
      'The next one finds the truth: the image that QEMU has open, no job left, a guest that runs; a second pivot is refused.',
      'libvirt 400ac797, eaba79d22e, febf84c',
      'api/takeover/pivot',
      'api/takeover/pivot-paused',
      'api/takeover/one-at-a-time',
    ),
    lostReplyPlays,
  ),
  played(
    scenario(
      'events/missed-or-reordered',
      'Events are lost in a disconnect, or come in another order.',
      'After the disconnect one query gives the view that QEMU has, whatever was lost and in whatever order the rest came.',
      'KubeVirt #194; virtnbdbackup #205; libvirt c412383796c, d3158852fa',
      'api/takeover/pivot',
    ),
    disorderPlays,
  ),
  played(
    scenario(
      'vm/dies',
      'The machine ends in the middle of a copy: killed, aborted, told to quit, switched off by its guest, panicking, or reset.',
      'What is pending is answered within a second, the copy is never told to be completed, and nobody asks for ever.',
      'tp-qemu #3145, #2739; virtnbdbackup #145; qmpbackup #29; libvirt #36',
      'qmp/protocol/quit',
    ),
    endPlays,
  ),
  played(
    scenario(
      'job/wait-timeout-but-job-runs',
      'A client gives up waiting for a pivot, which goes on and ends later.',
      'Until then what must not be is refused, each with its own error; the path of the disk has to be read again.',
      'CloudStack #14030, #6836, #13914',
      'api/guards/ready-copy',
    ),
    timeoutPlays,
  ),
  played(
    scenario(
      'guest/paused-on-io-error-events-still-flow',
      "A guest is stopped by an I/O error of its disk, and the disk's job ends meanwhile.",
      'The end of the job is told all the same; the guest stays stopped until somebody lets it go on.',
      'KubeVirt #16778, #18648; CloudStack #12821',
      'qmp/guest-error/write-enospc-stop',
      'qmp/guest-error/cont-without-cure',
    ),
    pausedPlays,
  ),
  scenario(
    'source/read-eio',
    'A sector of the source cannot be read.',
    'With each policy what it says: the job ends with the error, stops, or goes on; BLOCK_JOB_ERROR tells in any case, before the end.',
    'tp-qemu blockdev_mirror_after_block_error, blockdev_stream_with_ioerror; QEMU 32c81a4a',
    'qmp/io-error/mirror-source-eio-report',
    'qmp/io-error/mirror-source-eio-stop',
    'qmp/io-error/mirror-source-eio-ignore',
    'qmp/io-error/order-report',
  ),
];
