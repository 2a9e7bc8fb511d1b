import { pulls } from '../../arbitraries.ts';
import { property } from '../../contract.ts';
import { expectEqual } from '../../expect.ts';

export const pullDropsBacking = property({
  id: 'api/pull-drops-backing',
  title: 'A completed pull leaves the image without backing file, in the XML and in its header',
  source: 'virDomainBlockPull: flattens the chain; qemuBlockJobEventProcessConcludedPull',
  needs: ['pull'],
  arbitrary: pulls(),
  async check(world, pull) {
    const vm = await world.start(pull.disk);
    expectEqual(await vm.view(), { chain: vm.chain }, 'disk before the pull');
    await vm.pullUntilEnded(pull);
    await world.until('the job to be gone', async () => (await vm.info()) === null);
    expectEqual(await vm.view(), { chain: [vm.source] }, 'disk after the pull');
    const header = await world.connection.volumes.inspect(vm.source, 'qcow2');
    expectEqual(header.backing, undefined, 'backing file in the header');
    for (const path of vm.chain.slice(1)) await world.connection.volumes.remove(path);
    await vm.expectContents(vm.source, vm.model, 'the image without its former backing files');
  },
});
