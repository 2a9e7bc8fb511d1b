import fc from 'fast-check';
import { BlockJobAbortFlags } from '../../../src/index.ts';
import { copies, pulls } from '../../arbitraries.ts';
import { property } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import type { Vm } from '../../vm.ts';

export const infoAbsentWithoutJob = property({
  id: 'api/info-absent-without-job',
  title: 'There is no job info before a job and after its end, and there is while it runs',
  source: 'virDomainGetBlockJobInfo: returns 0 and fills nothing in when there is no job',
  needs: ['copy', 'pull', 'readyEvent'],
  arbitrary: fc.oneof(
    fc.record({ end: fc.constantFrom('pivot' as const, 'abort' as const), copy: copies() }),
    fc.record({ end: fc.constant('pull' as const), pull: pulls({ held: true }) }),
  ),
  async check(world, input) {
    const vm = await world.start(input.end === 'pull' ? input.pull.disk : input.copy.disk);
    await expectNone(vm, 'before the job');
    if (input.end === 'pull') {
      await vm.pull(input.pull);
      expect((await vm.info()) !== null, 'there is no job info while a pull runs');
      await vm.domain.blockJobAbort(vm.disk);
    } else {
      await vm.copyUntilReady(input.copy);
      expect((await vm.info()) !== null, 'there is no job info while a copy is READY');
      await vm.domain.blockJobAbort(vm.disk, input.end === 'pivot' ? BlockJobAbortFlags.PIVOT : 0);
    }
    await expectNone(vm, 'after the job');
  },
});

async function expectNone(vm: Vm, when: string): Promise<void> {
  expectEqual(await vm.domain.getBlockJobInfo(vm.disk), null, `job info ${when}`);
}
