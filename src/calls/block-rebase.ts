/** virDomainBlockRebase: a pull down to a base, or with COPY the older way to ask for a copy. */
import { bytesPerSecond } from '../blockjob/bandwidth.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { BlockCopyFlags, BlockRebaseFlags } from '../flags.ts';
import type { DomainRecord } from '../record.ts';
import { copyTo } from './block-copy.ts';
import { pull } from './block-pull.ts';
import { checkFlags, checkNonNull } from './checks.ts';

const COPY_ONLY =
  BlockRebaseFlags.SHALLOW |
  BlockRebaseFlags.REUSE_EXT |
  BlockRebaseFlags.COPY_RAW |
  BlockRebaseFlags.COPY_DEV;

/** The flags that mean the same to a copy. */
const SHARED = BlockCopyFlags.SHALLOW | BlockCopyFlags.REUSE_EXT;

/** See {@link Domain.blockRebase}. */
export async function blockRebase(
  record: DomainRecord,
  name: string,
  base: string | null,
  bandwidth: number | bigint,
  flags: number,
): Promise<void> {
  checkNonNull(name, 'disk', 'virDomainBlockRebase');
  const copies = (flags & BlockRebaseFlags.COPY) !== 0;
  if (copies) checkNonNull(base, 'base', 'virDomainBlockRebase');
  else if ((flags & COPY_ONLY) !== 0) throw needsCopy();
  checkFlags(flags, BlockRebaseFlags, 'qemuDomainBlockRebase');
  if (!copies || base === null) {
    await pull(record, { call: 'DomainBlockRebase', name, base, bandwidth, flags });
    return;
  }
  record.requireKnown();
  const speed = bytesPerSecond(bandwidth, (flags & BlockRebaseFlags.BANDWIDTH_BYTES) !== 0);
  if ((flags & BlockRebaseFlags.RELATIVE) !== 0) {
    throw new VirtError(ErrorCode.ARGUMENT_UNSUPPORTED, 'Relative backing during copy not supported yet');
  }
  const destination = {
    type: (flags & BlockRebaseFlags.COPY_DEV) === 0 ? 'file' : 'block',
    path: base,
    format: (flags & BlockRebaseFlags.COPY_RAW) === 0 ? undefined : 'raw',
    isRemote: false,
    isPassed: false,
    backing: [],
    backingTerminated: false,
  } as const;
  await copyTo(record, 'DomainBlockRebase', name, destination, { bandwidth: speed }, flags & SHARED);
}

function needsCopy(): VirtError {
  return new VirtError(ErrorCode.INVALID_ARG, 'use of flags requires a copy job', {
    domain: ErrorDomain.DOMAIN,
    bare: true,
  });
}
