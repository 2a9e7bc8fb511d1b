import { BlockJobAbortFlags } from '../../../src/index.ts';
import { copies } from '../../arbitraries.ts';
import { property } from '../../contract.ts';

export const pivotTargetEqualsGuest = property({
  id: 'api/pivot-target-equals-guest',
  title: 'After a pivot the destination holds exactly what the guest wrote before, during and after the copy',
  source: 'virDomainBlockCopy: the destination is a mirror of the disk; QAPI blockdev-mirror',
  needs: ['copy', 'readyEvent'],
  arbitrary: copies(),
  async check(world, copy) {
    const vm = await world.start(copy.disk);
    const target = await vm.copyUntilReady(copy);
    await vm.domain.blockJobAbort(vm.disk, BlockJobAbortFlags.PIVOT);
    await vm.expectContents(target, vm.model, 'the destination');
  },
});
