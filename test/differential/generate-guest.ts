/** Reads and writes as a guest would do them, by the human monitor's qemu-io. */
import fc from 'fast-check';
import type { Step } from './script.ts';

const target = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom('-d /machine/peripheral/vd0/virtio-backend', 'drive0') },
  { weight: 2, arbitrary: fc.constantFrom('copy', 'raw', 'n1') },
  { weight: 1, arbitrary: fc.constantFrom('top', 'mid', 'nope', 'top-file') },
);

const offset = fc.constantFrom('0', '64k', '1M', '3M', '4M', '512', '7M', '2097664', '8M');
const length = fc.constantFrom('64k', '512', '128k', '1M', '65024');
const range = fc.tuple(offset, length).map(([from, bytes]) => `${from} ${bytes}`);

const io = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.integer({ min: 5, max: 255 }), range)
      .map(([byte, at]) => `write -P ${byte} ${at}`),
  },
  { weight: 2, arbitrary: range.map((at) => `write -z ${at}`) },
  { weight: 2, arbitrary: range.map((at) => `discard ${at}`) },
  { weight: 2, arbitrary: fc.tuple(fc.nat({ max: 4 }), range).map(([byte, at]) => `read -P ${byte} ${at}`) },
  { weight: 1, arbitrary: fc.constant('flush') },
);

/** human-monitor-command qemu-io. */
export const guestIo: fc.Arbitrary<Step> = fc.tuple(target, io).map(([where, what]) => ({
  execute: 'human-monitor-command',
  arguments: { 'command-line': `qemu-io ${where} "${what}"` },
}));
