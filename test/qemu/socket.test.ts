import { expect, test } from 'vitest';
import { runOnServer, withStatus } from '../unit/entry/socket-server.ts';

test('a QEMU that somebody else started keeps every contract of the qmp/ family', {
  timeout: 120_000,
}, async () => {
  const { report, left } = await runOnServer(['qemu-system-x86_64'], (id) => id.startsWith('qmp/'));
  expect(withStatus(report, 'fail')).toEqual([]);
  // It stays, has no disks of the suite's, plans no faults, and is not of the generations that
  // change running jobs, make nodes inactive, or have no nodes.
  const lacking =
    /needs (qmpEndable(, qmpNbd)?|qmpDisks(, faults)?|qmpJobChange|qmpActive, qmpEndable|earlyQmp(, \w+)?), which the server/;
  expect(withStatus(report, 'skip').filter((line) => !lacking.test(line))).toEqual([]);
  expect(withStatus(report, 'skip')).toContainEqual(expect.stringContaining('needs qmpEndable'));
  expect(left).toEqual(['qmp.sock']);
});
