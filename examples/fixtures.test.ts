/** A domain, a QEMU and a virtual clock as fixtures of vitest. */
import { BlockJobAbortFlags } from 'mockvirt';
import { test } from 'mockvirt/conformance/vitest';
import { expect } from 'vitest';

test('a copy becomes ready, and a pivot makes it the disk', async ({ vm }) => {
  const target = vm.target();
  await vm.domain.blockCopy(
    'vda',
    `<disk type='file'><driver type='qcow2'/><source file='${target}'/></disk>`,
  );
  await vm.ready();
  await vm.domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT);
  expect((await vm.view()).chain).toEqual([target]);
});

test('nobody waits for a virtual hour', async ({ clock, qmp }) => {
  await clock.sleep(3_600_000);
  expect(await qmp.list('query-block-jobs')).toEqual([]);
});
