import fc from 'fast-check';
import { BlockJobAbortFlags, BlockJobStatus } from '../../../src/index.ts';
import { copies, pulls } from '../../arbitraries.ts';
import { property } from '../../contract.ts';
import { expectEqual } from '../../expect.ts';

export const syncAbortWaits = property({
  id: 'api/sync-abort-waits',
  title: 'Without ASYNC an abort or pivot returns when the job is gone, and no event of it comes later',
  source: 'virDomainBlockJobAbort: blocks until the operation has completed unless ASYNC is given',
  needs: ['copy', 'pull', 'readyEvent'],
  arbitrary: fc.oneof(
    fc.record({ how: fc.constantFrom('pivot' as const, 'abort' as const), copy: copies() }),
    fc.record({ how: fc.constant('abort-early' as const), copy: copies({ held: true }) }),
    fc.record({ how: fc.constant('abort-pull' as const), pull: pulls({ held: true }) }),
  ),
  async check(world, input) {
    const vm = await world.start('pull' in input ? input.pull.disk : input.copy.disk);
    if (input.how === 'abort-pull') await vm.pull(input.pull);
    else if (input.how === 'abort-early') await vm.copy(input.copy);
    else await vm.copyUntilReady(input.copy);

    const isPivot = input.how === 'pivot';
    await vm.domain.blockJobAbort(vm.disk, isPivot ? BlockJobAbortFlags.PIVOT : 0);
    const atReturn = vm.statuses();
    const end = isPivot ? BlockJobStatus.COMPLETED : BlockJobStatus.CANCELED;
    expectEqual<number | undefined>(atReturn.at(-1), end, 'last job event when the call returned');
    expectEqual(await vm.info(), null, 'job info when the call had returned');
    expectEqual((await vm.view()).mirror, undefined, 'mirror when the call had returned');
    // The domain's end is a fact behind which nothing of the job can come any more.
    await vm.domain.destroy();
    expectEqual(vm.statuses(), atReturn, 'job events after the call had returned');
  },
});
