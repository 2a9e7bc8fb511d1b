/** A plain model of a disk: what a guest must read back after what it wrote. */
import type { Run, Write } from './target.ts';

const SECTOR_BYTES = 512;

/** What a guest wrote, one byte value a sector. */
export class DiskModel {
  readonly capacityBytes: number;
  readonly #sectors: Uint8Array;

  constructor(capacityBytes: number, sectors?: Uint8Array) {
    this.capacityBytes = capacityBytes;
    this.#sectors = sectors ?? new Uint8Array(capacityBytes / SECTOR_BYTES);
  }

  /** Takes note of a write. */
  write({ offsetBytes, lengthBytes, byte }: Write): void {
    this.#sectors.fill(byte, offsetBytes / SECTOR_BYTES, (offsetBytes + lengthBytes) / SECTOR_BYTES);
  }

  /** The model as it is now; later writes do not reach it. */
  snapshot(): DiskModel {
    return new DiskModel(this.capacityBytes, this.#sectors.slice());
  }

  /** The first byte at which an image differs from this model; undefined if none does. */
  firstDifference(
    runs: readonly Run[],
  ): { offsetBytes: number; expected: number; found: number } | undefined {
    const found = new DiskModel(this.capacityBytes);
    for (const run of runs) {
      const partial = partialSector(run);
      if (partial !== undefined) return { offsetBytes: partial, expected: -1, found: run.byte };
      found.write(run);
    }
    const count = this.#sectors.length;
    for (let at = 0; at < count; at++)
      if (this.#sectors[at] !== found.#sectors[at])
        return {
          offsetBytes: at * SECTOR_BYTES,
          expected: this.#sectors[at] ?? 0,
          found: found.#sectors[at] ?? 0,
        };
    return undefined;
  }
}

/** Guests write whole sectors here, so a run that ends inside one is already wrong. */
function partialSector(run: Run): number | undefined {
  if (run.offsetBytes % SECTOR_BYTES !== 0) return run.offsetBytes;
  const endBytes = run.offsetBytes + run.lengthBytes;
  return endBytes % SECTOR_BYTES === 0 ? undefined : endBytes;
}

/** Joins neighbouring runs of one byte, sorts, and leaves zeroes out. */
export function canonicalRuns(runs: Iterable<Run>): Run[] {
  const sorted = [...runs].filter((run) => run.byte !== 0 && run.lengthBytes > 0);
  sorted.sort((left, right) => left.offsetBytes - right.offsetBytes);
  const merged: Run[] = [];
  for (const run of sorted) {
    const last = merged.at(-1);
    if (last && last.byte === run.byte && last.offsetBytes + last.lengthBytes === run.offsetBytes)
      merged[merged.length - 1] = { ...last, lengthBytes: last.lengthBytes + run.lengthBytes };
    else merged.push(run);
  }
  return merged;
}
