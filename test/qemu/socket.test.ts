import { expect, test } from 'vitest';
import { runOnServer, withStatus } from '../unit/entry/socket-server.ts';

test('a QEMU that somebody else started keeps every contract of the qmp/ family', {
  timeout: 120_000,
}, async () => {
  const { report, left } = await runOnServer(['qemu-system-x86_64'], (id) => id.startsWith('qmp/'));
  expect(withStatus(report, 'fail')).toEqual([]);
  expect(withStatus(report, 'skip')).toEqual([expect.stringContaining('needs qmpEndable')]);
  expect(left).toEqual(['qmp.sock']);
});
