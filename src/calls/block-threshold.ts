/** virDomainSetBlockThreshold. */
import { imageRef, type LiveDisk } from '../blockjob/live.ts';
import type { ImageDescription } from '../conf/disk.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { guardDisk } from '../guards.ts';
import type { DomainRecord } from '../record.ts';
import { imagesOf } from '../running.ts';
import { checkFlags, checkNonNull, checkUnsigned, noSupport } from './checks.ts';

/** `vda` or `vda[3]`; libvirt 9.0 itself dies of an empty name, here it is a disk that is not found. */
const DEVICE = /^([^[]*)(?:\[(\d+)\])?$/;

/** See {@link Domain.setBlockThreshold}. */
export async function setBlockThreshold(
  record: DomainRecord,
  device: string,
  threshold: number | bigint,
  flags: number,
): Promise<void> {
  checkNonNull(device, 'dev', 'virDomainSetBlockThreshold');
  checkFlags(flags, {}, 'qemuDomainSetBlockThreshold');
  const exact = checkUnsigned(threshold, 'threshold');
  await record.locked('DomainSetBlockThreshold', async () => {
    const running = record.requireRunning();
    const { disk, image, byIndex } = find(running.disks, device);
    if (disk.definition.vhostUser) {
      const detail = 'setting device threshold is not supported for vhostuser disk';
      throw new VirtError(ErrorCode.OPERATION_UNSUPPORTED, detail);
    }
    guardDisk('threshold', disk.target, running.jobs.onDisk(disk));
    if (!image) {
      throw new VirtError(ErrorCode.INTERNAL_ERROR, "argument key 'node-name' must not have null value", {
        domain: ErrorDomain.NONE,
      });
    }
    if (!running.machine.setWriteThreshold) throw noSupport('virDomainSetBlockThreshold');
    const bytes = exact <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(exact) : exact;
    await running.machine.setWriteThreshold(imageRef(image), bytes);
    running.thresholds.arm(image.index, byIndex);
    record.journal();
  });
}

interface Found {
  readonly disk: LiveDisk;
  readonly image: ImageDescription | undefined;
  readonly byIndex: boolean;
}

/** Indexes of the chain, and of a copy's destination and what is below it (libvirt: qemuDomainGetStorageSourceByDevstr). */
function find(disks: readonly LiveDisk[], device: string): Found {
  const parsed = DEVICE.exec(device);
  if (!parsed) throw new VirtError(ErrorCode.INVALID_ARG, `failed to parse block device '${device}'`);
  const [, target, digits = '0'] = parsed;
  const index = Number(digits);
  const disk = disks.find((candidate) => candidate.target === target);
  const images = disk ? imagesOf(disk) : [];
  const image = index === 0 ? disk?.chain[0] : images.find((candidate) => candidate.index === index);
  if (disk && (image || index === 0)) return { disk, image, byIndex: index !== 0 };
  throw new VirtError(ErrorCode.INVALID_ARG, `failed to find disk '${device}'`);
}
