/** Images as arrays: one number a sector, which is the byte that fills it, or that nothing was written there. */
import type { VolumeInfo, VolumeSpec, Volumes } from '../../src/driver.ts';
import { ErrorCode, VirtError } from '../../src/errors.ts';

/** The smallest unit that a guest writes. */
export const SECTOR_BYTES = 512;
/** A sector that is read from the backing file. */
export const UNALLOCATED = -1;

/** One image. */
export interface MemoryImage {
  readonly format: string;
  readonly sectors: Int16Array;
  backing: VolumeInfo['backing'];
}

/** A stretch of one byte value. */
export interface MemoryWrite {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly byte: number;
}

/** The files of a driver, by path. */
export class MemoryImages {
  readonly #files = new Map<string, MemoryImage>();

  /** Image files as the library wants to see them. */
  readonly volumes: Volumes = {
    create: async (spec) => this.create(spec),
    inspect: async (path) => {
      const { format, sectors, backing } = this.open(path);
      return {
        path,
        format,
        capacityBytes: sectors.length * SECTOR_BYTES,
        ...(backing ? { backing } : {}),
      };
    },
    stat: async (path) =>
      this.#files.has(path) ? { kind: 'file', sizeBytes: this.sizeBytes(path) } : undefined,
    remove: async (path) => this.remove(path),
  };

  /** @throws VirtError SYSTEM_ERROR if there is none */
  open(path: string): MemoryImage {
    const image = this.#files.get(path);
    if (image) return image;
    throw new VirtError(ErrorCode.SYSTEM_ERROR, `Could not open '${path}': No such file or directory`, {
      errno: 2,
    });
  }

  /** @throws VirtError SYSTEM_ERROR if there is one already */
  create({ path, format, capacityBytes, backing }: VolumeSpec): void {
    if (this.#files.has(path))
      throw new VirtError(ErrorCode.SYSTEM_ERROR, `Could not create '${path}': File exists`, { errno: 17 });
    const sectors = new Int16Array(capacityBytes / SECTOR_BYTES).fill(UNALLOCATED);
    this.#files.set(path, { format, sectors, backing: backing && named(path, backing) });
  }

  remove(path: string): void {
    this.#files.delete(path);
  }

  sizeBytes(path: string): number {
    const { format, sectors } = this.open(path);
    // Whatever is not raw has a header.
    const headerSectors = format === 'raw' ? 0 : 1;
    return (headerSectors + sectors.filter((byte) => byte !== UNALLOCATED).length) * SECTOR_BYTES;
  }

  write(path: string, { offsetBytes, lengthBytes, byte }: MemoryWrite): void {
    const end = (offsetBytes + lengthBytes) / SECTOR_BYTES;
    this.open(path).sectors.fill(byte, offsetBytes / SECTOR_BYTES, end);
  }

  /** The byte of a sector through the chain of backing files down to, not including, `base`. */
  read(path: string, sector: number, base?: string): number {
    for (
      let at: string | undefined = path;
      at !== undefined && at !== base;
      at = this.open(at).backing?.path
    ) {
      const byte = this.open(at).sectors[sector] ?? UNALLOCATED;
      if (byte !== UNALLOCATED) return byte;
    }
    return UNALLOCATED;
  }
}

/** A backing file as the header names it, and where that leads: a relative name starts from the image's directory. */
function named(
  path: string,
  { path: name, format }: NonNullable<VolumeSpec['backing']>,
): VolumeInfo['backing'] {
  const resolved = name.startsWith('/') ? name : path.slice(0, path.lastIndexOf('/') + 1) + name;
  return { path: resolved, name, format };
}
