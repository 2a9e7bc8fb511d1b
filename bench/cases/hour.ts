/** A copy that never converges: the guest dirties faster than the copy is allowed to go. */
import { assert } from '../../src/util/assert.ts';
import { type BenchCase, below, percentile } from '../figure.ts';
import { BenchMachine } from '../machine.ts';

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const ONE_HOUR_NS = 3600 * 1_000_000_000;
const COPY_BYTES_PER_SECOND = 20 * MIB;
const WRITE_BYTES_PER_SECOND = 40 * MIB;
const DISK_BYTES = 100 * GIB;
const MAX_MS = 50;
const HOURS = 9;

/** Real milliseconds for the next hour. */
function hourMs(machine: BenchMachine): number {
  const started = performance.now();
  machine.advance(ONE_HOUR_NS);
  return performance.now() - started;
}

/** Virtual hours of such a copy. */
export const hour: BenchCase = {
  name: 'hour',
  isolated: true,
  async run() {
    const machine = new BenchMachine({ sizeBytes: DISK_BYTES, extents: 1 });
    machine.mirror(COPY_BYTES_PER_SECOND);
    machine.writeEachSecond(WRITE_BYTES_PER_SECOND);
    const firstMs = hourMs(machine);
    const ms = percentile(
      Array.from({ length: HOURS }, () => hourMs(machine)),
      0.5,
    );
    assert(!machine.events.has('BLOCK_JOB_READY'), 'the copy does not converge');
    return [
      {
        id: 'hour-ms',
        title: 'a virtual hour of a copy that never converges',
        unit: 'ms',
        simulated: ms,
        goal: below(ms, MAX_MS, 'ms'),
        note: 'the guest writes 40 MiB each second, the copy may move 20 MiB; the median of hours 2 to 10',
      },
      { id: 'hour-cold-ms', title: 'the same, the first hour of a process', unit: 'ms', simulated: firstMs },
    ];
  },
};
