/** A QMP request: what a client's value must look like before its command is even looked up. */

import { inDictionaryOrder } from '../core/dictionary.ts';
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

/** Whether a value asks for out-of-band execution, well-formed or not. */
export function isOutOfBand(value: WireValue): boolean {
  return isWireObject(value) && value.has('exec-oob') && !value.has('execute');
}

/** Checks the members of a request; `allowOob`: out-of-band execution was negotiated. */
export function readRequest(value: WireValue, allowOob: boolean): ReadRequest {
  if (!isWireObject(value)) return { fault: { kind: 'not-an-object' } };
  const read = readMembers(value, value.keys(), allowOob);
  // The order decides only which of several mistakes is told.
  return 'fault' in read ? readMembers(value, inDictionaryOrder(value.keys()), allowOob) : read;
}

function readMembers(value: WireObject, names: Iterable<string>, allowOob: boolean): ReadRequest {
  const verbs = allowOob ? ['execute', 'exec-oob'] : ['execute'];
  let verb: string | undefined;
  let command = '';
  let args = NO_ARGUMENTS;
  for (const name of names) {
    const member = value.get(name) ?? null;
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
