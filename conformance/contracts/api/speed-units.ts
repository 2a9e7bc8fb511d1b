import fc from 'fast-check';
import { BlockJobInfoFlags, BlockJobSetSpeedFlags } from '../../../src/index.ts';
import { copies } from '../../arbitraries.ts';
import { property } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { HELD_BYTES_PER_SECOND, type Vm } from '../../vm.ts';

const MIB = 1024 * 1024;

export const speedUnits = property({
  id: 'api/speed-units',
  title: 'A speed is MiB/s, or bytes/s with BANDWIDTH_BYTES; info rounds it up to whole MiB/s',
  source:
    'virDomainBlockJobSetSpeed, virDomainGetBlockJobInfo (BANDWIDTH_BYTES); bandwidth is divided rounding up',
  needs: ['copy', 'readyEvent'],
  arbitrary: fc.record({
    copy: copies({ held: true }),
    bytesPerSecond: fc.oneof(fc.integer({ min: 1, max: 4 * MIB }), fc.integer({ min: 1, max: 2 ** 40 })),
    mebibytesPerSecond: fc.integer({ min: 1, max: 2 ** 20 }),
  }),
  async check(world, { copy, bytesPerSecond, mebibytesPerSecond }) {
    const vm = await world.start(copy.disk);
    await vm.copy(copy);
    await expectSpeed(vm, HELD_BYTES_PER_SECOND, 'the speed of the start, in bytes/s');
    await vm.letGo();
    await expectSpeed(vm, 0, 'unlimited speed');
    // In READY the job stays, however fast it may be.
    await vm.ready();
    await vm.domain.blockJobSetSpeed(vm.disk, bytesPerSecond, BlockJobSetSpeedFlags.BANDWIDTH_BYTES);
    await expectSpeed(vm, bytesPerSecond, 'a speed set in bytes/s');
    await vm.domain.blockJobSetSpeed(vm.disk, mebibytesPerSecond);
    await expectSpeed(vm, mebibytesPerSecond * MIB, 'a speed set in MiB/s');
  },
});

async function expectSpeed(vm: Vm, bytesPerSecond: number, what: string): Promise<void> {
  const exact = await vm.domain.getBlockJobInfo(vm.disk, BlockJobInfoFlags.BANDWIDTH_BYTES);
  const rounded = await vm.domain.getBlockJobInfo(vm.disk);
  expect(exact !== null && rounded !== null, 'the job is gone');
  expectEqual(Number(exact.bandwidth), bytesPerSecond, `${what}, read in bytes/s`);
  expectEqual(Number(rounded.bandwidth), Math.ceil(bytesPerSecond / MIB), `${what}, read in MiB/s`);
}
