import { pulls } from '../../arbitraries.ts';
import { property } from '../../contract.ts';

export const pullKeepsData = property({
  id: 'api/pull-keeps-data',
  title: 'A pull changes nothing that the guest can read, whatever it writes meanwhile',
  source: 'virDomainBlockPull; QAPI block-stream',
  needs: ['pull'],
  arbitrary: pulls(),
  async check(world, pull) {
    const vm = await world.start(pull.disk);
    await vm.pullUntilEnded(pull);
    await vm.expectContents(vm.source, vm.model, 'the pulled image');
  },
});
