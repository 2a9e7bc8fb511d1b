/** A QMP request: what a client's value must look like before its command is even looked up. */
import { isWireObject, type WireObject, type WireValue } from './json-value.ts';
import type { ProtocolFault } from './protocol-errors.ts';

/** A well-formed request. */
export interface Request {
  readonly command: string;
  readonly args: WireObject;
  /** Sent with `exec-oob`. */
  readonly oob: boolean;
}

/** A request, or what is wrong with it. */
export type ReadRequest = Request | { readonly fault: ProtocolFault };

const NO_ARGUMENTS: WireObject = new Map();
const BUCKETS = 512;

/** QEMU's dictionary hash (tdb's), which decides the order in which it looks at members. */
function dictionaryBucket(name: string): number {
  let hash = Math.imul(0x238f13af, name.length);
  for (let at = 0; at < name.length; at++) hash = (hash + (name.charCodeAt(at) << ((at * 5) % 24))) | 0;
  return ((Math.imul(1103515243, hash) + 12345) >>> 0) % BUCKETS;
}

/** Members in the order in which QEMU visits a dictionary: by bucket, in one bucket the newest first. */
function inDictionaryOrder(members: WireObject): (readonly [string, WireValue])[] {
  const keyed = [...members].reverse().map((member) => ({ member, bucket: dictionaryBucket(member[0]) }));
  return keyed.sort((left, right) => left.bucket - right.bucket).map(({ member }) => member);
}

/** Whether a value asks for out-of-band execution, well-formed or not. */
export function isOutOfBand(value: WireValue): boolean {
  return isWireObject(value) && value.has('exec-oob') && !value.has('execute');
}

/** Checks the members of a request; `allowOob`: out-of-band execution was negotiated. */
export function readRequest(value: WireValue, allowOob: boolean): ReadRequest {
  if (!isWireObject(value)) return { fault: { kind: 'not-an-object' } };
  const verbs = allowOob ? ['execute', 'exec-oob'] : ['execute'];
  let verb: string | undefined;
  let command = '';
  let args = NO_ARGUMENTS;
  for (const [name, member] of inDictionaryOrder(value)) {
    if (verbs.includes(name)) {
      if (typeof member !== 'string') return { fault: { kind: 'member-type', name, expected: 'string' } };
      if (verb !== undefined) return { fault: { kind: 'member-clash', name, other: verb } };
      verb = name;
      command = member;
    } else if (name === 'arguments') {
      if (!isWireObject(member)) return { fault: { kind: 'member-type', name, expected: 'object' } };
      args = member;
    } else if (name !== 'id') {
      return { fault: { kind: 'member-unexpected', name } };
    }
  }
  if (verb === undefined) return { fault: { kind: 'lacks-execute' } };
  return { command, args, oob: verb === 'exec-oob' };
}
