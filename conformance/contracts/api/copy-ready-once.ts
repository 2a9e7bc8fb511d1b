import fc from 'fast-check';
import { BlockJobAbortFlags, BlockJobStatus } from '../../../src/index.ts';
import { copies } from '../../arbitraries.ts';
import { property } from '../../contract.ts';
import { expectEqual } from '../../expect.ts';

export const copyReadyOnce = property({
  id: 'api/copy-ready-once',
  title: 'A copy announces READY exactly once, whatever the guest writes before and after it',
  source: 'virConnectDomainEventBlockJobCallback (READY); qemu_blockjob.c: a repeated ready is ignored',
  needs: ['copy', 'readyEvent'],
  arbitrary: fc.record({ copy: copies(), pivot: fc.boolean() }),
  async check(world, { copy, pivot }) {
    const vm = await world.start(copy.disk);
    await vm.copyUntilReady(copy);
    await vm.domain.blockJobAbort(vm.disk, pivot ? BlockJobAbortFlags.PIVOT : 0);
    await vm.domain.destroy();
    const ready = (statuses: readonly number[]) =>
      statuses.filter((status) => status === BlockJobStatus.READY).length;
    expectEqual(ready(vm.statuses()), 1, 'number of READY events (BLOCK_JOB_2)');
    expectEqual(ready(vm.statusesByPath()), 1, 'number of READY events (BLOCK_JOB)');
  },
});
