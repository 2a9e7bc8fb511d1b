import fc from 'fast-check';
import { BlockJobType, ErrorCode } from '../../../src/index.ts';
import { type CopyPlan, copies, type PullPlan, pulls } from '../../arbitraries.ts';
import { property } from '../../contract.ts';
import { expectEqual, expectRefused } from '../../expect.ts';
import type { Vm } from '../../vm.ts';

const second = fc.constantFrom('copy' as const, 'pull' as const);
const any = { copy: copies(), pull: pulls() };

export const oneJobPerDisk = property({
  id: 'api/one-job-per-disk',
  title: 'A second job on a disk is refused: 83 while a mirror exists, 84 otherwise; it leaves no trace',
  source: 'qemuDomainDiskBlockJobIsActive: "disk already in active block job"',
  needs: ['copy', 'pull', 'readyEvent'],
  arbitrary: fc.oneof(
    fc.record({
      first: fc.constant('copy' as const),
      second,
      ready: fc.boolean(),
      copy: copies({ held: true }),
    }),
    fc.record({ first: fc.constant('pull' as const), second, pull: pulls({ held: true }), copy: any.copy }),
  ),
  async check(world, input) {
    const vm = await world.start(input.first === 'copy' ? input.copy.disk : input.pull.disk);
    const target = await startFirst(vm, input);
    const before = await vm.view();
    expectEqual(before.mirror?.path, target, 'mirror of the first job');
    const isMirror = input.first === 'copy';
    await expectRefused(
      input.second === 'pull'
        ? vm.domain.blockPull(vm.disk)
        : vm.copy({ ...input.copy, shallow: false, granularityBytes: 0, bufSizeBytes: 0 }, 'second'),
      isMirror ? ErrorCode.BLOCK_COPY_ACTIVE : ErrorCode.OPERATION_UNSUPPORTED,
      `a ${input.second} during a ${input.first}`,
    );
    expectEqual((await vm.info())?.type, isMirror ? BlockJobType.COPY : BlockJobType.PULL, 'type of the job');
    expectEqual(await vm.view(), before, 'disk after the refusal');
    expectEqual(
      await world.connection.volumes.stat(vm.target('second')),
      undefined,
      'file of the refused copy',
    );
  },
});

type First =
  | { readonly first: 'copy'; readonly ready: boolean; readonly copy: CopyPlan }
  | { readonly first: 'pull'; readonly pull: PullPlan };

/** Starts the job that is there first and stays; resolves to its mirror's path, if it has one. */
async function startFirst(vm: Vm, input: First): Promise<string | undefined> {
  if (input.first === 'pull') {
    await vm.pull(input.pull);
    return undefined;
  }
  return input.ready ? vm.copyUntilReady(input.copy) : vm.copy(input.copy);
}
