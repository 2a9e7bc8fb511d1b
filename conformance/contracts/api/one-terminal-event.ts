import fc from 'fast-check';
import { BlockJobAbortFlags, BlockJobStatus } from '../../../src/index.ts';
import { copies, pulls } from '../../arbitraries.ts';
import { property } from '../../contract.ts';
import { expectEqual } from '../../expect.ts';

const { READY, COMPLETED, CANCELED } = BlockJobStatus;

export const oneTerminalEvent = property({
  id: 'api/one-terminal-event',
  title: 'Every job ends with exactly one of COMPLETED, CANCELED, FAILED, after READY if there was one',
  source: 'virConnectDomainEventBlockJobCallback; qemuBlockJobEmitEvents',
  needs: ['copy', 'pull', 'readyEvent'],
  arbitrary: fc.oneof(
    fc.record({
      how: fc.constantFrom('pivot' as const, 'abort' as const),
      asynchronous: fc.boolean(),
      copy: copies(),
    }),
    fc.record({ how: fc.constant('pull' as const), pull: pulls() }),
  ),
  async check(world, input) {
    const vm = await world.start(input.how === 'pull' ? input.pull.disk : input.copy.disk);
    const expected = { pivot: [READY, COMPLETED], abort: [READY, CANCELED], pull: [COMPLETED] }[input.how];
    if (input.how === 'pull') await vm.pullUntilEnded(input.pull);
    else {
      await vm.copyUntilReady(input.copy);
      const flags =
        (input.how === 'pivot' ? BlockJobAbortFlags.PIVOT : 0) |
        (input.asynchronous ? BlockJobAbortFlags.ASYNC : 0);
      await vm.domain.blockJobAbort(vm.disk, flags);
      await vm.ended(input.how === 'pivot' ? COMPLETED : CANCELED);
    }
    await world.until('the job to be gone', async () => (await vm.info()) === null);
    await vm.domain.destroy();
    expectEqual<readonly number[]>(vm.statuses(), expected, 'events of the job (BLOCK_JOB_2)');
    expectEqual<readonly number[]>(vm.statusesByPath(), expected, 'events of the job (BLOCK_JOB)');
  },
});
