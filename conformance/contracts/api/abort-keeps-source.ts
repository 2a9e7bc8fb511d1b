import fc from 'fast-check';
import { BlockJobStatus } from '../../../src/index.ts';
import { copies } from '../../arbitraries.ts';
import { property } from '../../contract.ts';
import { expectEqual } from '../../expect.ts';
import type { Write } from '../../target.ts';

const AFTER_ABORT: Write = { offsetBytes: 512, lengthBytes: 1024, byte: 0xa5 };

export const abortKeepsSource = property({
  id: 'api/abort-keeps-source',
  title: 'An abort, before or after READY, leaves the guest on its source with all that it wrote',
  source: 'virDomainBlockJobAbort without PIVOT; qemuBlockJobEventProcessConcludedCopyAbort',
  needs: ['copy', 'readyEvent'],
  arbitrary: fc.oneof(
    fc.record({ ready: fc.constant(false), copy: copies({ held: true }) }),
    fc.record({ ready: fc.constant(true), copy: copies() }),
  ),
  async check(world, { copy, ready }) {
    const vm = await world.start(copy.disk);
    if (ready) await vm.copyUntilReady(copy);
    else {
      await vm.copy(copy);
      await vm.write(copy.during);
    }
    await vm.domain.blockJobAbort(vm.disk);
    const expected = [...(ready ? [BlockJobStatus.READY] : []), BlockJobStatus.CANCELED];
    expectEqual<readonly number[]>(vm.statuses(), expected, 'job events');
    expectEqual(await vm.view(), { chain: vm.chain }, 'disk after the abort');
    await vm.write([AFTER_ABORT]);
    await vm.expectContents(vm.source, vm.model, 'the source after the abort');
  },
});
