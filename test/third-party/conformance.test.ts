import fc from 'fast-check';
import { contracts, copies, defineConformance } from 'mockvirt/conformance';
import { test, vitestBindings } from 'mockvirt/conformance/vitest';
import { expect } from 'vitest';
import { tinyTarget } from './target.ts';

defineConformance(tinyTarget, vitestBindings, {
  runs: 2,
  contracts: contracts.filter(({ id }) => id.startsWith('api/')),
});

test('the fixtures come with a simulated QEMU', async ({ vm, qmp, clock }) => {
  expect(await vm.info()).toBeNull();
  expect(await qmp.list('query-block-jobs')).toEqual([]);
  await clock.sleep(60_000);
});

test('the arbitraries are there for properties of one’s own', () => {
  fc.assert(fc.property(copies(), ({ disk }) => disk.capacityBytes >= 1_048_576));
});
