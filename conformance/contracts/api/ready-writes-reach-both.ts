import fc from 'fast-check';
import { BlockJobAbortFlags } from '../../../src/index.ts';
import { copies } from '../../arbitraries.ts';
import { property } from '../../contract.ts';
import type { Write } from '../../target.ts';
import { expectImage } from '../../vm.ts';

/** There is always one write in READY, over data that has been copied already. */
const IN_READY: Write = { offsetBytes: 64 * 1024, lengthBytes: 4096, byte: 0xc3 };

export const readyWritesReachBoth = property({
  id: 'api/ready-writes-reach-both',
  title: 'What the guest writes in READY is in the source and in the destination once the copy has ended',
  source: 'virDomainBlockCopy: in READY both are kept in sync until pivot or abort; QAPI blockdev-mirror',
  needs: ['copy', 'readyEvent'],
  arbitrary: fc.record({ copy: copies(), pivot: fc.boolean() }),
  async check(world, { copy, pivot }) {
    const vm = await world.start(copy.disk);
    const target = await vm.copyUntilReady(copy);
    await vm.write([IN_READY]);
    await vm.domain.blockJobAbort(vm.disk, pivot ? BlockJobAbortFlags.PIVOT : 0);
    const [used, left] = pivot ? [target, vm.source] : [vm.source, target];
    await vm.expectContents(used, vm.model, pivot ? 'the destination' : 'the source');
    await expectImage(world, left, vm.model, pivot ? 'the old source' : 'the destination');
  },
});
