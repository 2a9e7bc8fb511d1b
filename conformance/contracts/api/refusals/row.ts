/** What one refusal is: how it is brought about, and what libvirt says. */
import { type Domain, ErrorCode, ErrorDomain } from '../../../../src/index.ts';
import { type Contract, example } from '../../../contract.ts';
import { expectEqual, expectRefused } from '../../../expect.ts';
import { Lab, type LabJob, type LabOptions } from '../../../lab.ts';
import type { Capability } from '../../../target.ts';

/** A call of the block-job family that canaries know by name. */
export type DomainCall = {
  [K in keyof Domain]: Domain[K] extends (...args: never[]) => Promise<unknown> ? K : never;
}[keyof Domain];

/** Code, domain and words of an error; the words without what libvirt puts in front of them for the code. */
export interface Answer {
  readonly code: number;
  /** QEMU when left out. */
  readonly domain?: number;
  readonly says: string | ((lab: Lab) => string);
  /** libvirt puts nothing in front. */
  readonly bare?: true;
  /** What comes after these words are the hypervisor's own, which change from version to version. */
  readonly more?: true;
}

/** One refusal. */
export interface RefusalRow extends Answer {
  readonly id: string;
  readonly call: DomainCall;
  readonly options?: LabOptions;
  /** Besides what the call and the job need. */
  readonly needs?: readonly Capability[];
  /** The call is refused for what it is asked about, ahead of whether the machine can do it. */
  readonly onlyNeeds?: true;
  /** What goes on on vda. */
  readonly job?: LabJob;
  /** Brings the domain into the situation, with its job started. */
  readonly given?: (lab: Lab) => Promise<unknown>;
  readonly act: (lab: Lab) => Promise<unknown>;
  /** The refusal comes after the fact: the domain is not as it was. */
  readonly leavesTraces?: true;
}

/** What libvirt puts in front of an error's words (libvirt: virErrorMsgStrings). */
const PREFIX: Readonly<Record<number, string>> = {
  [ErrorCode.INTERNAL_ERROR]: 'internal error: ',
  [ErrorCode.NO_SUPPORT]: 'this function is not supported by the connection driver: ',
  [ErrorCode.INVALID_ARG]: 'invalid argument: ',
  [ErrorCode.OPERATION_FAILED]: 'operation failed: ',
  [ErrorCode.XML_ERROR]: 'XML error: ',
  [ErrorCode.OPERATION_DENIED]: 'operation forbidden: ',
  [ErrorCode.SYSTEM_ERROR]: '',
  [ErrorCode.NO_DOMAIN]: 'Domain not found: ',
  [ErrorCode.OPERATION_INVALID]: 'Requested operation is not valid: ',
  [ErrorCode.CONFIG_UNSUPPORTED]: 'unsupported configuration: ',
  [ErrorCode.OPERATION_TIMEOUT]: 'Timed out during operation: ',
  [ErrorCode.NO_DOMAIN_SNAPSHOT]: 'Domain snapshot not found: ',
  [ErrorCode.ARGUMENT_UNSUPPORTED]: 'argument unsupported: ',
  [ErrorCode.OVERFLOW]: 'numerical overflow: ',
  [ErrorCode.BLOCK_COPY_ACTIVE]: 'block copy still active: ',
  [ErrorCode.OPERATION_UNSUPPORTED]: 'Operation not supported: ',
  [ErrorCode.XML_INVALID_SCHEMA]: 'XML document failed to validate against schema: ',
  [ErrorCode.DEVICE_MISSING]: 'device not found: ',
  [ErrorCode.NO_DOMAIN_CHECKPOINT]: 'Domain checkpoint not found: ',
  [ErrorCode.CHECKPOINT_INCONSISTENT]: 'checkpoint inconsistent: ',
};

/** The whole message of an error. */
export function messageOf({ code, says, bare }: Answer, lab: Lab): string {
  return `${bare ? '' : (PREFIX[code] ?? '')}${typeof says === 'string' ? says : says(lab)}`;
}

/** Breaks the contract unless a call is refused with exactly this answer. */
export async function expectAnswer(
  lab: Lab,
  call: Promise<unknown>,
  answer: Answer,
  what: string,
): Promise<void> {
  const error = await expectRefused(call, answer.code, what);
  const words = messageOf(answer, lab);
  const said = answer.more ? error.message.slice(0, words.length) : error.message;
  expectEqual(said, words, `words of the refusal of ${what}`);
  expectEqual<number>(error.domain, answer.domain ?? ErrorDomain.QEMU, `domain of the refusal of ${what}`);
}

const CALL_NEEDS: Partial<Record<DomainCall, readonly Capability[]>> = {
  blockPull: ['pull'],
  blockRebase: ['pull', 'copy'],
  blockCopy: ['copy'],
  blockCommit: ['commit', 'activeCommit'],
  blockResize: ['extras'],
  setBlockThreshold: ['extras'],
};

/** What each job needs. */
export const JOB_NEEDS: Readonly<Record<LabJob, readonly Capability[]>> = {
  copy: ['copy'],
  'ready-copy': ['copy', 'readyEvent'],
  'active-commit': ['activeCommit'],
  'ready-active-commit': ['activeCommit', 'readyEvent'],
  pull: ['pull'],
  commit: ['commit'],
};

const SOURCE = 'libvirt 9.0 qemu_driver.c, qemu_domain.c, qemu_block.c: the checks before a block job starts';

/** The contract of one refusal. */
export function refusalContract(row: RefusalRow): Contract {
  const { id, call, options, needs = [], onlyNeeds, job, given, act, code, says } = row;
  const words = typeof says === 'string' ? `: ${says}` : '';
  return example({
    id,
    title: `${call} is refused with code ${code}${words}`,
    source: SOURCE,
    needs: [
      ...new Set([...(onlyNeeds ? [] : (CALL_NEEDS[call] ?? [])), ...(job ? JOB_NEEDS[job] : []), ...needs]),
    ],
    async check(world) {
      const lab = await Lab.start(world, options);
      if (job) await lab.startJob(job);
      await given?.(lab);
      const before = await lab.stateXml();
      await expectAnswer(lab, act(lab), row, call);
      if (row.leavesTraces) return;
      expectEqual(await lab.stateXml(), before, 'domain XML after the refusal');
      expectEqual(await lab.present(['new']), [], 'files after the refusal');
    },
  });
}
