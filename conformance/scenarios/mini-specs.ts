/** The scenarios with plays: what happens, and an application in the middle of it. */
import { convergencePlays } from './plays/convergence.ts';
import { baseFullPlays, targetFullPlays } from './plays/space.ts';
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
];
