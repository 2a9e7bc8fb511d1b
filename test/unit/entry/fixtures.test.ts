import { describe, expect } from 'vitest';
import { test } from '../../../entry/vitest.ts';
import { BlockJobAbortFlags } from '../../../src/index.ts';

describe('the fixtures', () => {
  test('a domain runs, and a copy of it pivots', async ({ vm, world }) => {
    const path = vm.target();
    await vm.domain.blockCopy(
      'vda',
      `<disk type='file'><driver type='qcow2'/><source file='${path}'/></disk>`,
    );
    await vm.ready();
    await vm.domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT);
    expect((await vm.view()).chain).toEqual([path]);
    expect(world.jobEvents(vm.domain.name)).toHaveLength(2);
  });

  test('a QEMU answers on a bare connection', async ({ qmp }) => {
    const { major } = ((await qmp.succeed('query-version')) as { qemu: { major: number } }).qemu;
    expect(major).toBeGreaterThan(0);
  });

  test('a virtual hour passes at once', async ({ clock }) => {
    const before = clock.now();
    await clock.sleep(3_600_000);
    expect(clock.now() - before).toBeGreaterThanOrEqual(3_600_000);
  });

  test.extend({
    seed: 7,
    disk: { capacityBytes: 1_048_576, isDeclared: false, layers: [{ format: 'raw', writes: [] }] },
  })('the disk can be another one', async ({ vm, seed }) => {
    expect([vm.model.capacityBytes, seed, vm.chain.length]).toEqual([1_048_576, 7, 1]);
  });
});
