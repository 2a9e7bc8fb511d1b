/** A copy that never converges: the guest dirties its disk faster than the copy may go. */
import { assert } from '../../src/util/assert.ts';
import { below, type Measure } from '../figure.ts';
import { BenchMachine } from '../machine.ts';

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const ONE_SECOND_NS = 1_000_000_000;
const SECONDS = 3600;
const COPY_BYTES_PER_SECOND = 100 * MIB;
const WRITE_BYTES_PER_SECOND = 200 * MIB;
const HOT_BYTES = 8 * GIB;
const DISK_BYTES = 100 * GIB;
const MAX_MS = 50;

/** Real milliseconds for an hour of such a copy, from its start on; somebody looks at its progress every so many virtual seconds. */
function hourMs(stepSeconds: number): number {
  const machine = new BenchMachine({ sizeBytes: DISK_BYTES, extents: 1 });
  machine.load(WRITE_BYTES_PER_SECOND, HOT_BYTES);
  machine.mirror(COPY_BYTES_PER_SECOND);
  const started = performance.now();
  for (let second = 0; second < SECONDS; second += stepSeconds) {
    machine.advance(stepSeconds * ONE_SECOND_NS);
    machine.run('query-block-jobs');
  }
  const ms = performance.now() - started;
  assert(!machine.events.has('BLOCK_JOB_READY'), 'the copy does not converge');
  return ms;
}

/** Virtual hours of such a copy. */
export const hour: Measure = async () => {
  const ms = hourMs(SECONDS);
  const watchedMs = hourMs(1);
  return [
    {
      id: 'hour-ms',
      title: 'a virtual hour of a copy that never converges',
      unit: 'ms',
      simulated: ms,
      goal: below(ms, MAX_MS, 'ms'),
      note: 'the guest writes 200 MiB a second over 8 GiB, the copy may move 100 MiB; looked at once, at its end',
    },
    {
      id: 'hour-watched-ms',
      title: 'the same, with query-block-jobs each virtual second',
      unit: 'ms',
      simulated: watchedMs,
    },
  ];
};
