import { callSequences, runCalls } from '../../calls/index.ts';
import { property } from '../../contract.ts';

/** Short: what many contracts say one by one, here in any order. `scripts/random-sequences.ts` makes long ones. */
const MOST_CALLS = 12;

export const randomCalls = property({
  id: 'api/random-calls',
  title:
    'Whatever calls, writes, faults, crashes and restarts follow each other, a plain model says what is true after each',
  source:
    'libvirt-domain.h, virDomainBlockCopy, BlockPull, BlockCommit, BlockJobAbort, SnapshotCreateXML and their events, as libvirt 9.0 does them',
  needs: ['copy', 'pull', 'commit', 'activeCommit', 'readyEvent', 'extras', 'copyTuning', 'restart'],
  arbitrary: callSequences(MOST_CALLS),
  check: (world, { setup, calls }) => runCalls(world.session, setup, calls, world.wrap),
});
