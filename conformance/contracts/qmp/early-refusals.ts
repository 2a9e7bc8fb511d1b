/** What the first QEMUs with block jobs refuse, each generation in its own words. */
import { expectEqual } from '../../expect.ts';
import { DISK, type EarlyRow, HELD_SPEED, refusalOf, SIZE } from '../../qmp/early-bench.ts';
import type { WireMessage } from '../../wire.ts';

/** A command that is refused, and how. */
interface EarlyRefusal {
  readonly id: string;
  readonly command: string;
  readonly args: WireMessage;
  /** Class and text, where they are the generation's own. */
  readonly mirror?: readonly [errorClass: string, desc: string];
  readonly redHat?: readonly [errorClass: string, desc: string];
  /** Done before. */
  readonly first?: readonly [command: string, args: WireMessage];
}

const HELD: EarlyRefusal['first'] = ['block-stream', { ...DISK, speed: HELD_SPEED }];
const NO_DEVICE = ['DeviceNotFound', "Device 'nowhere' not found"] as const;
const NO_BASE = "Base 'nowhere' not found";
const IN_USE = "Device 'disk' is in use";

const REFUSALS: readonly EarlyRefusal[] = [
  {
    id: 'no-device',
    command: 'block-stream',
    args: { device: 'nowhere' },
    mirror: NO_DEVICE,
    redHat: NO_DEVICE,
  },
  {
    id: 'no-base',
    command: 'block-stream',
    args: { ...DISK, base: 'nowhere' },
    mirror: ['GenericError', NO_BASE],
    redHat: ['BaseNotFound', NO_BASE],
  },
  {
    id: 'no-job',
    command: 'block-job-cancel',
    args: DISK,
    mirror: ['DeviceNotActive', "No active block job on device 'disk'"],
    redHat: ['DeviceNotActive', "Device 'disk' has not been activated by the guest"],
  },
  {
    id: 'second-job',
    command: 'block-stream',
    args: DISK,
    first: HELD,
    mirror: ['GenericError', IN_USE],
    redHat: ['DeviceInUse', IN_USE],
  },
  {
    id: 'resized-during-job',
    command: 'block_resize',
    args: { ...DISK, size: SIZE },
    first: HELD,
    redHat: ['DeviceInUse', IN_USE],
  },
  {
    id: 'negative-speed',
    command: 'block-job-set-speed',
    args: { ...DISK, speed: -1 },
    first: HELD,
    mirror: ['GenericError', "Invalid parameter 'speed'"],
    redHat: ['NotSupported', 'Not supported'],
  },
  {
    id: 'argument-missing',
    command: 'block-stream',
    args: {},
    redHat: ['MissingParameter', "Parameter 'device' is missing"],
  },
  {
    id: 'command-unknown',
    command: 'query-jobs',
    args: {},
    mirror: ['CommandNotFound', 'The command query-jobs has not been found'],
    redHat: ['CommandNotFound', 'The command query-jobs has not been found'],
  },
];

const refusalRow = (
  { id, command, args, first }: EarlyRefusal,
  [errorClass, desc]: readonly [string, string],
  generation: string,
): EarlyRow => ({
  id: `refused/${id}-${generation}`,
  title: `${command} ${JSON.stringify(args)} is refused with ${errorClass}: ${desc}`,
  async check({ monitor }) {
    if (first) await monitor.succeed(...first);
    expectEqual<unknown>(refusalOf(await monitor.execute(command, args)), [errorClass, desc], 'refusal');
  },
});

/** The rows of one generation. */
export const refusalsOf = (member: 'mirror' | 'redHat', generation: string): readonly EarlyRow[] =>
  REFUSALS.flatMap((row) => {
    const refusal = row[member];
    return refusal ? [refusalRow(row, refusal, generation)] : [];
  });
