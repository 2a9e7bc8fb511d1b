/** What a row of the error table is made of. */
import {
  BlockCommitFlags,
  BlockJobAbortFlags,
  BlockRebaseFlags,
  ErrorCode,
  VirtError,
} from '../../../../src/index.ts';
import { COPY, type Lab } from '../lab.ts';

export const R = BlockRebaseFlags;
export const C = BlockCommitFlags;
export const { PIVOT, ASYNC } = BlockJobAbortFlags;
/** A bandwidth that no JSON integer of QEMU's holds. */
export const BEYOND = 2n ** 63n;

/** One refusal (or success) of one call. */
export interface Row {
  readonly api: string;
  readonly when: string;
  /** Puts the domain into the row's situation. */
  readonly given?: (lab: Lab) => Promise<unknown>;
  readonly persistent?: true;
  readonly call: (lab: Lab) => Promise<unknown>;
  /** Code, domain, message; undefined: succeeds. */
  readonly gives: readonly [number, number, string] | undefined;
}

export const INVALID = 'invalid argument: ';
export const STATE = 'Requested operation is not valid: ';
export const CONFIG = 'unsupported configuration: ';
export const UNSUPPORTED = 'Operation not supported: ';
export const ACTIVE = 'block copy still active: ';
export const INTERNAL = 'internal error: ';
export const OVERFLOW = 'numerical overflow: ';
export const BUSY = "disk 'vda' already in active block job";

export const destination = (path: string, { type = 'file', format = 'qcow2', extra = '' } = {}): string =>
  `<disk type='${type}'><driver type='${format}'/><source ${type === 'file' ? 'file' : 'dev'}='${path}'/>${extra}</disk>`;
export const copy = (lab: Lab, xml = COPY, flags = 0, disk = 'vda') =>
  lab.domain.blockCopy(disk, xml, {}, flags);
export const qemuRefuses = (lab: Lab, call: string, command: string, desc: string): void => {
  lab.machine.on[call] = () => {
    throw new VirtError(ErrorCode.INTERNAL_ERROR, `unable to execute QEMU command '${command}': ${desc}`);
  };
};
export const jobCalls: readonly [string, (lab: Lab, disk: string) => Promise<unknown>][] = [
  ['pull', ({ domain }, disk) => domain.blockPull(disk)],
  ['rebase', ({ domain }, disk) => domain.blockRebase(disk)],
  ['rebase copy', ({ domain }, disk) => domain.blockRebase(disk, '/img/copy', 0, R.COPY)],
  ['copy', (lab, disk) => copy(lab, COPY, 0, disk)],
  ['commit', ({ domain }, disk) => domain.blockCommit(disk, null, null, 0, C.ACTIVE)],
  ['abort', ({ domain }, disk) => domain.blockJobAbort(disk)],
  ['info', ({ domain }, disk) => domain.getBlockJobInfo(disk)],
  ['set-speed', ({ domain }, disk) => domain.blockJobSetSpeed(disk, 1)],
];
export const starters = jobCalls.slice(0, 5);
