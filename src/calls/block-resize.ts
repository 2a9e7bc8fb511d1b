/** virDomainBlockResize. */
import type { LiveDisk } from '../blockjob/live.ts';
import { imageRef } from '../blockjob/live.ts';
import { ErrorCode, VirtError } from '../errors.ts';
import { BlockResizeFlags } from '../flags.ts';
import { guardDisk } from '../guards.ts';
import type { DomainRecord } from '../record.ts';
import { checkFlags, checkNonNull, checkUnsigned, noSupport } from './checks.ts';

const KIB = 1024n;
const MAX_ULLONG = 2n ** 64n - 1n;
const SECTOR_BYTES = 512n;
/** Formats whose virtual size is a whole number of sectors. */
const SECTORED = new Set(['qcow2', 'qed']);

/** See {@link Domain.blockResize}. */
export async function blockResize(
  record: DomainRecord,
  name: string,
  size: number | bigint,
  flags: number,
): Promise<void> {
  checkNonNull(name, 'disk', 'virDomainBlockResize');
  checkFlags(flags, BlockResizeFlags, 'qemuDomainBlockResize');
  const asked = bytesOf(checkUnsigned(size, 'size'), flags);
  await record.locked('DomainBlockResize', async () => {
    const running = record.requireRunning();
    const disk = diskOf(running.disks, name);
    const [image] = disk.chain;
    if (disk.definition.vhostUser) {
      const detail = 'block resize is not supported for vhostuser disk';
      throw new VirtError(ErrorCode.OPERATION_UNSUPPORTED, detail);
    }
    if (!image || disk.definition.readonly) {
      throw new VirtError(
        ErrorCode.OPERATION_UNSUPPORTED,
        `can't resize empty or readonly disk '${disk.target}'`,
      );
    }
    const sizeBytes = SECTORED.has(image.format) ? roundUp(asked) : asked;
    guardDisk('resize', disk.target, running.jobs.onDisk(disk));
    if (!running.machine.resizeDisk) throw noSupport('virDomainBlockResize');
    const exact = sizeBytes <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(sizeBytes) : sizeBytes;
    await running.machine.resizeDisk(disk.target, imageRef(image), exact);
  });
}

function bytesOf(size: bigint, flags: number): bigint {
  if ((flags & BlockResizeFlags.BYTES) !== 0) return size;
  if (size > MAX_ULLONG / KIB) throw tooLarge(MAX_ULLONG / KIB);
  return size * KIB;
}

/** libvirt lets the rounding wrap to 0 and cuts the image off; here it is an overflow like the other one. */
function roundUp(bytes: bigint): bigint {
  const rounded = ((bytes + SECTOR_BYTES - 1n) / SECTOR_BYTES) * SECTOR_BYTES;
  if (rounded > MAX_ULLONG) throw tooLarge(MAX_ULLONG - SECTOR_BYTES + 1n);
  return rounded;
}

const tooLarge = (limit: bigint): VirtError =>
  new VirtError(ErrorCode.OVERFLOW, `size must be less than ${limit}`);

/** Unlike the job calls, a path that two disks share finds none. */
function diskOf(disks: readonly LiveDisk[], name: string): LiveDisk {
  const found = disks.filter(({ target, chain }) =>
    name.startsWith('/') ? chain[0]?.path === name : target === name,
  );
  const [disk] = found;
  if (disk && found.length === 1) return disk;
  throw new VirtError(ErrorCode.INVALID_ARG, `disk '${name}' was not found in the domain config`);
}
