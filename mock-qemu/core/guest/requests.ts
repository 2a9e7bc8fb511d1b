/** What a guest asks of its disks, and what it is told when that fails (werror, rerror). */
import { type Errno, strerror } from '../errno.ts';
import type { Tag } from '../extents.ts';
import type { IoPoint } from '../faults/points.ts';
import type { BlockBackend, IoCounters } from '../graph/backend.ts';
import { takeLanded } from '../graph/blkdebug.ts';
import { discardFrom, flushNode, noteRead, writeTo } from '../graph/data.ts';
import type { BlockNode } from '../graph/node.ts';
import { type ErrorAction, POLICY_ACTIONS } from '../jobs/policy.ts';
import type { Vm } from '../vm.ts';

/** One request of a guest. */
export interface GuestRequest {
  readonly op: 'read' | 'write' | 'flush' | 'discard';
  readonly offset: number;
  readonly bytes: number;
  /** What a write writes. */
  readonly tag: Tag;
}

/** How a request looks to faults and to the cost of the device. */
const KINDS = {
  read: { at: 'guest.read', op: 'read', operation: 'read' },
  write: { at: 'guest.write', op: 'write', operation: 'write' },
  discard: { at: 'guest.write', op: 'discard', operation: 'write' },
  flush: { at: 'guest.flush', op: 'flush', operation: 'write' },
} as const satisfies Record<
  GuestRequest['op'],
  { at: IoPoint; op: 'read' | 'write' | 'discard' | 'flush'; operation: 'read' | 'write' }
>;

/** Issues a request of a device; `done` is told how the guest sees it end. It waits while the CPUs are stopped. */
export function guestRequest(
  vm: Vm,
  backend: BlockBackend,
  request: GuestRequest,
  done: (error: Errno | undefined) => void = () => undefined,
): void {
  const again = (): void => guestRequest(vm, backend, request, done);
  if (!vm.running) {
    vm.whenRunning(again);
    return;
  }
  const { node } = backend;
  if (!node) {
    done('ENOMEDIUM');
    return;
  }
  const startedNs = vm.clock.now();
  vm.whenGuestMay(node, () => {
    const heldNs =
      backend.throttle?.delayNs(vm.clock.now(), { op: KINDS[request.op].op, bytes: request.bytes }) ?? 0;
    vm.clock.after(heldNs + costNs(vm, node, request), () => {
      vm.whenGuestMay(backend.node ?? node, () => {
        const error = perform(vm, backend.node ?? node, request);
        account(backend.counters, request, vm.clock.now() - startedNs, error !== undefined);
        if (error === undefined) done(undefined);
        else fail(vm, backend, request, error, again, done);
      });
    });
  });
}

/** How long a request takes, the way to a mirror's target included where the guest has to wait for that. */
function costNs(vm: Vm, node: BlockNode, { op, offset, bytes }: GuestRequest): number {
  const kind = KINDS[op];
  const asked = { ...kind, node, offset, bytes };
  const own = vm.costNs({ op: kind.op, bytes }) + vm.throttleNs(asked) + vm.delayNs(asked);
  let costNs = own;
  for (let at: BlockNode | undefined = node; at && op === 'write'; at = at.filtered?.child) {
    costNs += at.hooks?.writeCostNs?.(offset, offset + bytes) ?? 0;
  }
  return costNs;
}

function perform(vm: Vm, node: BlockNode, request: GuestRequest): Errno | undefined {
  const { op, offset, bytes, tag } = request;
  if (offset + bytes > node.lengthBytes) return 'EIO';
  if (op !== 'read' && node.readOnly) return 'EPERM';
  const error = vm.ioError({ ...KINDS[op], node, offset, bytes });
  if (error !== undefined) {
    // What was written of it stays.
    if (op === 'write') for (const { start, end } of takeLanded(node)) writeTo(node, start, end, tag, 'data');
    return error;
  }
  if (op === 'write') writeTo(node, offset, offset + bytes, tag, 'data');
  else if (op === 'discard') discardFrom(node, offset, offset + bytes);
  else if (op === 'flush') flushNode(node);
  else noteRead(node, offset, offset + bytes);
  return undefined;
}

/** query-blockstats counts a failed request as failed and nothing else. */
function account(counters: IoCounters, { op, bytes }: GuestRequest, ns: number, failed: boolean): void {
  const counter = counters.of[op];
  counter.totalNs += ns;
  if (failed) {
    counter.failed++;
    return;
  }
  counter.operations++;
  counter.bytes += bytes;
  const histogram = counters.histograms.get(op);
  if (!histogram) return;
  const above = histogram.boundaries.findIndex((boundary) => ns < boundary);
  const bin = above < 0 ? histogram.boundaries.length : above;
  histogram.bins[bin] = (histogram.bins[bin] ?? 0) + 1;
}

function fail(
  vm: Vm,
  backend: BlockBackend,
  request: GuestRequest,
  error: Errno,
  again: () => void,
  done: (error: Errno | undefined) => void,
): void {
  const action = reportGuestError(vm, backend, KINDS[request.op].operation, error);
  if (action === 'stop') vm.whenRunning(again);
  else done(action === 'ignore' ? undefined : error);
}

/** Says that a device's request failed, and stops the CPUs where its policy wants that. */
export function reportGuestError(
  vm: Vm,
  backend: BlockBackend,
  operation: 'read' | 'write',
  error: Errno,
): ErrorAction {
  const action: ErrorAction = POLICY_ACTIONS[backend.policies[operation]](error);
  const tracked = backend.ioStatus !== undefined;
  if (action === 'stop' && tracked && backend.ioStatus === 'ok') {
    backend.ioStatus = error === 'ENOSPC' ? 'nospace' : 'failed';
  }
  vm.emit('BLOCK_IO_ERROR', {
    'qom-path': backend.qomPath,
    device: backend.name,
    ...(tracked && { nospace: error === 'ENOSPC' }),
    ...(backend.node && { 'node-name': backend.node.name }),
    reason: strerror(error),
    operation,
    action,
  });
  if (action === 'stop') vm.pause('io-error');
  return action;
}
