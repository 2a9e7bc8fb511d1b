import { BlockJobAbortFlags } from '../../../src/index.ts';
import { copies } from '../../arbitraries.ts';
import { property } from '../../contract.ts';
import { expectEqual } from '../../expect.ts';
import type { Write } from '../../target.ts';
import { expectImage } from '../../vm.ts';

/** What the guest writes once it runs on the destination; no generated write has this byte in this place. */
const AFTER_PIVOT: Write = { offsetBytes: 512, lengthBytes: 1024, byte: 0xa5 };

export const pivotSwapsChain = property({
  id: 'api/pivot-swaps-chain',
  title:
    'A pivot makes the destination the active image, in the XML and for the guest, and the mirror is gone',
  source: 'virDomainBlockJobAbort with PIVOT; qemuBlockJobEventProcessConcludedCopyPivot',
  needs: ['copy', 'readyEvent'],
  arbitrary: copies(),
  async check(world, copy) {
    const vm = await world.start(copy.disk);
    const target = await vm.copyUntilReady(copy);
    const mirrored = await vm.view();
    expectEqual(mirrored.chain, vm.chain, 'chain while the copy is READY');
    expectEqual(
      mirrored.mirror,
      { path: target, job: 'copy', ready: 'yes' },
      'mirror while the copy is READY',
    );

    await vm.domain.blockJobAbort(vm.disk, BlockJobAbortFlags.PIVOT);
    const beforePivot = vm.model.snapshot();
    const below = copy.shallow ? vm.chain.slice(1) : [];
    expectEqual(await vm.view(), { chain: [target, ...below] }, 'disk after the pivot');

    await vm.write([AFTER_PIVOT]);
    await vm.expectContents(target, vm.model, 'the destination after the pivot');
    await expectImage(world, vm.source, beforePivot, 'the old source after the pivot');
  },
});
