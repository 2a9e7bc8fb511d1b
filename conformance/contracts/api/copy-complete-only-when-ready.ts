import { BlockJobStatus } from '../../../src/index.ts';
import { copies } from '../../arbitraries.ts';
import { property } from '../../contract.ts';
import { expect } from '../../expect.ts';
import type { Vm } from '../../vm.ts';

export const copyCompleteOnlyWhenReady = property({
  id: 'api/copy-complete-only-when-ready',
  title: 'cur never equals end before READY has been announced, and does so afterwards',
  source: 'virDomainGetBlockJobInfo; qemuDomainGetBlockJobInfo reports end-1 until the job is ready',
  needs: ['copy', 'readyEvent'],
  arbitrary: copies({ held: true }),
  async check(world, copy) {
    const vm = await world.start(copy.disk);
    await vm.copy(copy);
    await expectNotYet(vm);
    await vm.write(copy.during);
    await expectNotYet(vm);
    await vm.letGo(copy.speedBytesPerSecond);
    await world.until('cur to equal end', () => expectNotYet(vm));
    await vm.write(copy.later);
    await world.until('cur to equal end again after writes in READY', () => expectNotYet(vm));
  },
});

/** One look at the progress; true once cur equals end, which must not be before READY. */
async function expectNotYet(vm: Vm): Promise<boolean> {
  const info = await vm.info();
  expect(info !== null, 'the job is gone');
  const isEqual = info.cur === info.end;
  const isReady = vm.statuses().includes(BlockJobStatus.READY);
  expect(!isEqual || isReady, `cur equals end (${info.cur}) although READY has not been announced`);
  return isEqual;
}
