/** The `qemu-io` of the human monitor: guest-like reads and writes from outside. */
import { strerror } from '../../core/errno.ts';
import { takeLanded } from '../../core/graph/blkdebug.ts';
import { discardFrom, flushNode, noteRead, readAt, writeTo } from '../../core/graph/data.ts';
import { deathByDiscard } from '../../core/graph/debug-discards.ts';
import type { BlockNode } from '../../core/graph/node.ts';
import type { Request } from '../../core/request.ts';
import type { Vm } from '../../core/vm.ts';

/** One parsed qemu-io command. */
export interface IoCommand {
  readonly op: 'read' | 'write' | 'zero' | 'discard' | 'flush';
  readonly offset: number;
  readonly bytes: number;
  readonly pattern: number | undefined;
  readonly quiet: boolean;
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};
const DEFAULT_PATTERN = 0xcd;

function parseSize(text: string): number | undefined {
  const match = /^(0x[0-9a-f]+|\d+(?:\.\d+)?)([bkmgt]?)$/i.exec(text);
  const unit = UNITS[(match?.[2] ?? '').toLowerCase()];
  return match?.[1] === undefined || unit === undefined ? undefined : Number(match[1]) * unit;
}

const NAMES: Readonly<Record<string, IoCommand['op']>> = {
  read: 'read',
  r: 'read',
  write: 'write',
  w: 'write',
  discard: 'discard',
  d: 'discard',
  flush: 'flush',
  f: 'flush',
};

/** Parses a command; a string is what qemu-io prints in refusal. */
export function parseIo(line: string): IoCommand | string {
  const [name = '', ...rest] = line.trim().split(/\s+/);
  const base = NAMES[name];
  if (base === undefined) return `command "${name}" not found\n`;
  let op = base;
  let pattern: number | undefined;
  let quiet = false;
  const sizes: number[] = [];
  for (let index = 0; index < rest.length; index++) {
    const word = rest[index] ?? '';
    if (word === '-P') pattern = Number(rest[++index]);
    else if (word === '-z') op = 'zero';
    else if (word === '-q') quiet = true;
    else if (word.startsWith('-')) continue;
    else {
      const size = parseSize(word);
      if (size === undefined) return `Invalid argument: ${word}\n`;
      sizes.push(size);
    }
  }
  if (pattern !== undefined && !(pattern >= 0 && pattern <= 255))
    return `${pattern} is not a valid pattern byte\n`;
  if (op !== 'flush' && sizes.length !== 2) return `${name}: invalid number of arguments\n`;
  const [offset = 0, bytes = 0] = sizes;
  return { op, offset, bytes, pattern, quiet };
}

/** How long a command takes. */
export const ioCostNs = (vm: Vm, { op, bytes }: IoCommand): number =>
  vm.costNs({ op: op === 'discard' ? 'zero' : op, bytes });

/** Does a command to a node; the answer is what qemu-io prints. */
export function performIo(vm: Vm, node: BlockNode, io: IoCommand): string {
  const { op, offset, bytes } = io;
  if (!node.active && op !== 'read' && vm.bugs.inactiveWriteAborts) {
    vm.options.print(
      'stderr',
      "bdrv_co_write_req_prepare: Assertion `!(bs->open_flags & BDRV_O_INACTIVE)' failed.\n",
    );
    vm.die(null, 'SIGABRT');
  }
  const death =
    op === 'discard' && vm.bugs.debugDiscardKills ? deathByDiscard(node, offset, bytes) : undefined;
  if (death) vm.die(null, death);
  takeLanded(node);
  const error = offset + bytes > node.lengthBytes ? 'EIO' : vm.ioError(requestOf(node, io));
  // Of a flush nothing is printed, whether it succeeds or fails.
  if (op === 'flush') {
    if (error === undefined) flushNode(node);
    return '';
  }
  const end = offset + bytes;
  if (error === undefined && op === 'discard') discardFrom(node, offset, end);
  else if (op === 'write' || op === 'zero') {
    const written = error === undefined ? [{ start: offset, end }] : takeLanded(node);
    const [tag, how] =
      op === 'zero' ? ([0, 'zero'] as const) : ([io.pattern ?? DEFAULT_PATTERN, 'data'] as const);
    for (const part of written) writeTo(node, part.start, part.end, tag, how);
  }
  if (error !== undefined) return `${VERBS[op]} failed: ${strerror(error)}\n`;
  if (op === 'read') return readBack(vm, node, io);
  return io.quiet ? '' : report(vm, op === 'discard' ? 'discard' : 'wrote', io);
}

const VERBS: Readonly<Record<Exclude<IoCommand['op'], 'flush'>, string>> = {
  read: 'read',
  write: 'write',
  zero: 'write',
  discard: 'discard',
};

/** The command as a request to a node: not the guest's own, so only the node's faults are met. */
export function requestOf(node: BlockNode, { op, offset, bytes }: IoCommand): Request {
  const at = op === 'read' ? 'node.read' : op === 'flush' ? 'node.flush' : 'node.write';
  return { at, op, node, offset, bytes };
}

// What qemu-io fills its buffer with before it reads.
const UNTOUCHED = 0xab;

/** Whether reading a node changes nothing in the reader's buffer. */
function leavesBuffer(node: BlockNode): boolean {
  let at = node;
  for (let next = at.filtered ?? at.file; next; next = at.filtered ?? at.file) at = next.child;
  return at.driver.name.startsWith('null-') && !at.readsZeroes;
}

function readBack(vm: Vm, node: BlockNode, io: IoCommand): string {
  const { offset, bytes, pattern } = io;
  const end = offset + bytes;
  noteRead(node, offset, end);
  let verified = true;
  for (let at = offset; at < end && pattern !== undefined && verified; ) {
    const span = readAt(node, at, end);
    if (leavesBuffer(node)) verified = pattern === UNTOUCHED;
    else if (span.tag < 256) verified = span.tag === pattern;
    else
      for (let each = at; each < span.end && verified; each++)
        verified = vm.images.blobs.byteAt(span.tag, each) === pattern;
    at = span.end;
  }
  const complaint = verified ? '' : `Pattern verification failed at offset ${offset}, ${bytes} bytes\n`;
  return complaint + (io.quiet ? '' : report(vm, 'read', io));
}

const STEPS = [
  ['EiB', 2 ** 60],
  ['PiB', 2 ** 50],
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
] as const;

function inUnits(bytes: number): string {
  const [name, unit] = STEPS.find(([, size]) => bytes >= size) ?? (['bytes', 1] as const);
  const value = bytes / unit;
  return `${Number.isInteger(value) ? value : value.toFixed(3)} ${name}`;
}

function report(vm: Vm, what: string, io: IoCommand): string {
  const seconds = ioCostNs(vm, io) / 1e9;
  const elapsed = seconds.toFixed(2).padStart(5, '0');
  const rate = `${inUnits(io.bytes / seconds)}/sec and ${(1 / seconds).toFixed(4)} ops/sec`;
  return (
    `${what} ${io.bytes}/${io.bytes} bytes at offset ${io.offset}\n` +
    `${inUnits(io.bytes)}, 1 ops; ${elapsed} sec (${rate})\n`
  );
}
