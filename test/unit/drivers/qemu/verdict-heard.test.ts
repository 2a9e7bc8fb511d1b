/** What BLOCK_JOB_COMPLETED has told is not forgotten when QEMU dies before it can be asked. */
import { expect, test } from 'vitest';
import type { CopyRequest } from '../../../../src/driver.ts';
import { COPY, jobStates, startFake, TOP } from './fake-host.ts';

const REQUEST: CopyRequest = {
  kind: 'copy',
  id: 'job',
  disk: 'vda',
  source: TOP,
  target: { image: COPY },
  shallow: false,
  speedBytesPerSecond: 0,
  granularityBytes: 0,
  bufSizeBytes: 0,
  synchronousWrites: false,
};

/** A pivot, some events, and QEMU's death; what the driver has told of it. */
async function cutOff(...events: readonly (readonly [event: string, data: object])[]) {
  const { machine, server, emulator, events: told } = await startFake();
  await machine.prepareTarget({ disk: 'vda', source: TOP, image: COPY, backing: [], reuse: false });
  await machine.startJob(REQUEST);
  jobStates(server, 'job', 'ready');
  await machine.concludeJob('job', 'pivot');
  for (const [event, data] of events) server.event(event, { ...data });
  emulator.crash(null);
  await machine.gone;
  return told.map(({ type, ...rest }) =>
    'outcome' in rest ? `${type} ${rest.outcome}${'error' in rest ? `: ${rest.error}` : ''}` : type,
  );
}

const completed = { device: 'job', type: 'mirror', len: 1, offset: 1, speed: 0 };

test.each([
  ['nothing said', [], []],
  ['success', [['BLOCK_JOB_COMPLETED', completed]], ['job-verdict completed', 'job-ended completed']],
  [
    'failure',
    [['BLOCK_JOB_COMPLETED', { ...completed, error: 'No space' }]],
    ['job-verdict failed', 'job-ended failed: No space'],
  ],
  ["somebody else's", [['BLOCK_JOB_COMPLETED', { ...completed, device: 'other' }]], []],
] as const)('%s', async (_name, events, ends) => {
  expect(await cutOff(...events)).toEqual(['job-ready', ...ends, 'gone']);
});
