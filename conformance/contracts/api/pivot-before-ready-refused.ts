import { BlockJobAbortFlags, BlockJobStatus, BlockJobType, ErrorCode } from '../../../src/index.ts';
import { copies } from '../../arbitraries.ts';
import { property } from '../../contract.ts';
import { expectEqual, expectRefused } from '../../expect.ts';

export const pivotBeforeReadyRefused = property({
  id: 'api/pivot-before-ready-refused',
  title:
    'A pivot before READY is refused with BLOCK_COPY_ACTIVE (83), and the job lives on and can pivot later',
  source: 'virDomainBlockJobAbort with PIVOT; qemuDomainBlockPivot: "not ready for pivot yet"',
  needs: ['copy', 'readyEvent'],
  arbitrary: copies({ held: true }),
  async check(world, copy) {
    const vm = await world.start(copy.disk);
    const target = await vm.copy(copy);
    await vm.write(copy.during);
    expectEqual(vm.statuses(), [], 'job events of a copy that is held back');
    await expectRefused(
      vm.domain.blockJobAbort(vm.disk, BlockJobAbortFlags.PIVOT),
      ErrorCode.BLOCK_COPY_ACTIVE,
      'a pivot before READY',
    );
    expectEqual((await vm.info())?.type, BlockJobType.COPY, 'type of the job after the refusal');
    expectEqual(vm.statuses(), [], 'job events after the refusal');
    await vm.letGo(copy.speedBytesPerSecond);
    await vm.ready();
    await vm.domain.blockJobAbort(vm.disk, BlockJobAbortFlags.PIVOT);
    expectEqual(vm.statuses(), [BlockJobStatus.READY, BlockJobStatus.COMPLETED], 'job events');
    expectEqual((await vm.view()).chain[0], target, 'active image after the later pivot');
  },
});
