/** Flushes that a command needs before it goes on. */
import type { Errno } from './errno.ts';
import { flushNode } from './graph/data.ts';
import type { BlockNode } from './graph/node.ts';
import type { Vm } from './vm.ts';

/** Flushes a node and what it rests on, unless something makes that fail; of one that is read-only nothing is asked. */
export function flushFor(vm: Vm, node: BlockNode): Errno | undefined {
  if (node.readOnly) return undefined;
  const error = vm.ioError({ at: 'node.flush', op: 'flush', node, offset: 0, bytes: 0 });
  if (error === undefined) flushNode(node);
  return error;
}
