import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runOnServer, withStatus } from './socket-server.ts';

const MOCK_QEMU = join(import.meta.dirname, '../../../mock-qemu/shells/cli.ts');
const SOME = ['qmp/protocol/', 'qmp/graph/', 'qmp/data/', 'qmp/sequence/stream', 'qmp/verb/job-cancel-'];

test('a server at a socket is held to the qmp/ contracts, and is empty again after each', {
  timeout: 60_000,
}, async () => {
  const { report, left } = await runOnServer([process.execPath, MOCK_QEMU], (id) =>
    SOME.some((start) => id.startsWith(start)),
  );
  expect(withStatus(report, 'fail')).toEqual([]);
  expect(withStatus(report, 'skip')).toEqual([
    expect.stringMatching(/^qmp\/protocol\/quit: needs qmpEndable, which the server \(QEMU .*\) lacks$/),
  ]);
  expect(left).toEqual(['qmp.sock']);
});

test('contracts that need a server without a name and running are skipped on another', {
  timeout: 60_000,
}, async () => {
  const { report } = await runOnServer(
    [process.execPath, MOCK_QEMU, '-name', 'somebody', '-S'],
    (id) => id === 'qmp/protocol/id-echoed' || id === 'qmp/protocol/stop-event-first',
  );
  expect(withStatus(report, 'skip')).toEqual([
    expect.stringContaining('needs qmpUnnamed'),
    expect.stringContaining('needs qmpRunning'),
  ]);
});
