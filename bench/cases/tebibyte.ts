/** A fully written disk of 1 TiB: its copy must cost what its extents cost. */
import { below, type Figure, type Measure } from '../figure.ts';
import { BenchMachine, type DiskShape } from '../machine.ts';
import { MemoryMeter } from '../memory.ts';

const TIB = 2 ** 40;
const MAX_MS = 1000;
const MAX_MIB = 128;
/** The same disk in other sizes and other pieces: the cost follows the second column, not the first. */
const SHAPES: readonly DiskShape[] = [
  { sizeBytes: TIB / 16, extents: 1 },
  { sizeBytes: 16 * TIB, extents: 1 },
  { sizeBytes: TIB, extents: 1_000 },
  { sizeBytes: TIB, extents: 100_000 },
];

/** Real milliseconds from the start of the mirror to the guest on its copy. */
function mirrorMs(shape: DiskShape): number {
  const machine = new BenchMachine(shape);
  const started = performance.now();
  machine.mirror();
  machine.untilReady();
  machine.pivot();
  return performance.now() - started;
}

const shapeTitle = ({ sizeBytes, extents }: DiskShape): string =>
  `mirror ${sizeBytes / TIB} TiB in ${extents.toLocaleString('en')} extent${extents === 1 ? '' : 's'}`;

/** Time and memory of a mirror of 1 TiB. */
export const tebibyte: Measure = async () => {
  const memory = new MemoryMeter();
  const ms = mirrorMs({ sizeBytes: TIB, extents: 1 });
  const [peakMiB, grownMiB] = [memory.peakMiB, memory.grownMiB];
  const first: Figure[] = [
    {
      id: 'tebibyte-ms',
      title: 'mirror 1 TiB, fully written',
      unit: 'ms',
      simulated: ms,
      goal: below(ms, MAX_MS, 'ms'),
      note: 'from blockdev-mirror to BLOCK_JOB_COMPLETED, real time, in a cold process',
    },
    {
      id: 'tebibyte-peak-mib',
      title: 'its memory: peak of the process',
      unit: 'MiB',
      simulated: peakMiB,
      goal: below(peakMiB, MAX_MIB, 'MiB'),
      note: 'peak resident set of the whole process, Node included',
    },
    {
      id: 'tebibyte-grown-mib',
      title: 'its memory: above the bare process',
      unit: 'MiB',
      simulated: grownMiB,
      note: 'that peak minus what was resident with all code loaded and nothing simulated',
    },
  ];
  return [
    ...first,
    ...SHAPES.map((shape) => ({
      id: `mirror-${shape.sizeBytes / TIB}-tib-${shape.extents}-extents-ms`,
      title: shapeTitle(shape),
      unit: 'ms',
      simulated: mirrorMs(shape),
    })),
  ];
};
