/**
 * The blkdebug driver: a filter whose rules make requests fail. A rule waits for an event of the node above it; once
 * the event has come, the next requests that suit the rule fail.
 */
import { type ClusterLayout, FIRST_CLUSTERS } from '../cluster-layout.ts';
import type { Data, Value } from '../data.ts';
import { type Errno, errnoOf } from '../errno.ts';
import { refuse } from '../errors.ts';
import type { ImageStore } from '../images.ts';
import { flushNode, storageOf } from './data.ts';
import { type DebugConfig, readDebugConfig } from './debug-config.ts';
import { isDebugEvent } from './debug-events.ts';
import type { BlockNode } from './node.ts';
import { isZeroBelow, type Landed, Qcow2Io } from './qcow2-io.ts';

/** QAPI BlkdebugIOType. */
type IoType = 'read' | 'write' | 'write-zeroes' | 'discard' | 'flush' | 'block-status';

/** A request, as rules look at it. */
export interface DebugRequest {
  readonly op: 'read' | 'write' | 'zero' | 'discard' | 'flush' | 'block-status';
  readonly offset: number;
  readonly bytes: number;
  /** Zeroes may give back what they take the place of, where all nodes on the way let discards through. */
  readonly unmap?: boolean;
}

/** One of the requests that one which is not aligned becomes. */
interface RequestPart extends DebugRequest {
  /** It only fetches what lies beside a write, at one of its ends or at both. */
  readonly fills?: readonly ('head' | 'tail')[];
}

interface InjectRule {
  readonly event: string;
  /** 0: in any state. */
  readonly state: number;
  /** Undefined: every type but block-status. */
  readonly ioType: IoType | undefined;
  readonly errno: number;
  /** Undefined: anywhere. */
  readonly offset: number | undefined;
  readonly once: boolean;
  /** Fails without letting anybody else run first. */
  readonly immediately: boolean;
}

interface StateRule {
  readonly event: string;
  readonly state: number;
  readonly newState: number;
}

const IO_TYPES: Readonly<Record<DebugRequest['op'], IoType>> = {
  read: 'read',
  write: 'write',
  zero: 'write-zeroes',
  discard: 'discard',
  flush: 'flush',
  'block-status': 'block-status',
};

const SECTOR_BYTES = 512;
const DEFAULT_ERRNO = 5;

const isObject = (value: Value | undefined): value is Data =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const rulesOf = (options: Data, name: string): readonly Data[] => {
  const list = options[name];
  if (!Array.isArray(list)) return [];
  if (list.length === 0) refuse(`Block protocol 'blkdebug' doesn't support the option '${name}'`);
  return list.filter(isObject);
};

const number = (value: Value | undefined, otherwise: number): number =>
  typeof value === 'number' ? value : otherwise;

function injectRule(rule: Data): InjectRule {
  const { event, state, iotype, errno, sector, once, immediately } = rule;
  const offset = number(sector, -1) * SECTOR_BYTES;
  return {
    event: String(event),
    state: number(state, 0),
    ioType: typeof iotype === 'string' ? (iotype as IoType) : undefined,
    errno: number(errno, DEFAULT_ERRNO),
    offset: offset < 0 ? undefined : offset,
    once: once === true,
    immediately: immediately === true,
  };
}

const stateRule = (rule: Data): StateRule => ({
  event: String(rule.event),
  state: number(rule.state, 0),
  newState: number(rule.new_state, 0),
});

const NO_CONFIG: DebugConfig = { 'inject-error': [], 'set-state': [] };

/** The rules of one blkdebug node and what has become of them. */
export class DebugRules {
  /** What blockdev-add was given, for the node's file name. */
  readonly options: Data;
  readonly #inject: InjectRule[];
  readonly #states: readonly StateRule[];
  #state = 1;
  /** Rules whose event has come. */
  #active: InjectRule[] = [];

  /** @param images where the file with more rules is, if there is one; its rules come first */
  constructor(options: Data, images: ImageStore) {
    this.options = options;
    const path = options.config;
    const file =
      typeof path === 'string' && path !== '' ? readDebugConfig(images, path, isDebugEvent) : NO_CONFIG;
    this.#inject = [...file['inject-error'], ...rulesOf(options, 'inject-error')].map(injectRule);
    this.#states = [...file['set-state'], ...rulesOf(options, 'set-state')].map(stateRule);
  }

  /** The image is open: refuses what cannot be met, and begins. */
  begin(): void {
    checkAlign(this.options.align);
    this.event('none');
  }

  /** Something happens above: rules that wait for it become active in place of those that were. */
  event(name: string): void {
    const suits = (rule: { readonly event: string; readonly state: number }) =>
      rule.event === name && (rule.state === 0 || rule.state === this.#state);
    const injected = this.#inject.filter(suits);
    if (injected.length > 0) this.#active = injected;
    this.#state = this.#states.find(suits)?.newState ?? this.#state;
  }

  /** The error that was met last came before anybody else could run. */
  metImmediately = false;
  /** What has been written of a request that has failed in the end. */
  landed: readonly Landed[] = [];
  #writes = 0;
  #flushedWrites = 0;

  /** Requests are made in multiples of this. */
  get alignBytes(): number {
    return number(this.options.align, 0) || 1;
  }

  /** A request in whole blocks: what is written in part is read first. */
  partsOf(request: DebugRequest): readonly RequestPart[] {
    const align = this.alignBytes;
    const { op, offset, bytes } = request;
    const start = Math.floor(offset / align) * align;
    const end = Math.ceil((offset + bytes) / align) * align;
    if (op === 'read') return [{ op, offset: start, bytes: end - start }];
    const isAligned = start === offset && end === offset + bytes;
    if (isAligned || (op !== 'write' && op !== 'zero')) return [request];
    return padded(op, { start, end, head: offset > start, tail: end > offset + bytes, align });
  }

  /** There is something to flush, whether it succeeds or not. */
  noteWrite(): void {
    this.#writes++;
  }

  /** A flush stops at a node that has not been written to since the last one. */
  checkFlush(request: DebugRequest): Errno | undefined {
    if (this.#flushedWrites === this.#writes) return undefined;
    const error = this.check(request);
    if (error === undefined) this.#flushedWrites = this.#writes;
    return error;
  }

  /** The error that a request meets. */
  check({ op, offset, bytes }: DebugRequest): Errno | undefined {
    const type = IO_TYPES[op];
    const met = this.#active.find(
      (rule) =>
        (rule.ioType === undefined ? type !== 'block-status' : rule.ioType === type) &&
        (rule.offset === undefined || (rule.offset >= offset && rule.offset < offset + bytes)),
    );
    if (!met || met.errno === 0) return undefined;
    this.metImmediately = met.immediately;
    if (met.once) {
      this.#active = this.#active.filter((rule) => rule !== met);
      this.#inject.splice(this.#inject.indexOf(met), 1);
    }
    return errnoOf(met.errno) ?? 'EIO';
  }
}

/** What becomes of a write that does not begin and end with a block. */
function padded(
  op: 'write' | 'zero',
  {
    start,
    end,
    head,
    tail,
    align,
  }: Readonly<Record<'start' | 'end' | 'align', number>> & {
    readonly head: boolean;
    readonly tail: boolean;
  },
): readonly RequestPart[] {
  const last = end - align;
  const isOneRead = end - start <= (head && tail ? 2 * align : align);
  const both = [...(head ? (['head'] as const) : []), ...(tail ? (['tail'] as const) : [])];
  const reads: RequestPart[] = isOneRead
    ? [{ op: 'read', offset: start, bytes: end - start, fills: both }]
    : both.map((side) => ({
        ...{ op: 'read', offset: side === 'head' ? start : last, bytes: align },
        fills: [side],
      }));
  const from = head ? start + align : start;
  const to = tail ? last : end;
  if (op === 'write' || from > to) return [...reads, { op: 'write', offset: start, bytes: end - start }];
  return [
    ...reads,
    ...(head ? [{ op: 'write', offset: start, bytes: align } as const] : []),
    ...(to > from ? [{ op, offset: from, bytes: to - from } as const] : []),
    ...(tail ? [{ op: 'write', offset: last, bytes: align } as const] : []),
  ];
}

function checkAlign(align: Value | undefined): void {
  if (typeof align !== 'number' || align === 0) return;
  if (align < 0 || (align & (align - 1)) !== 0) refuse(`Cannot meet constraints with align ${align}`);
}

/** What the block layer itself tells a node of a request to it. */
const OWN_EVENTS: Readonly<Record<DebugRequest['op'], readonly string[]>> = {
  read: [],
  write: ['pwritev'],
  zero: ['pwritev_zero'],
  discard: [],
  flush: [],
  'block-status': [],
};

/** The error that some blkdebug node makes of a request to a node, at whatever depth it stands. */
export const debugError = (node: BlockNode, request: DebugRequest): Errno | undefined =>
  earlyDebugError(node, request) ?? lateDebugError(node, request);

/** An error that is met before any file has been touched: no format with clusters is on the way to it. */
export function earlyDebugError(node: BlockNode, request: DebugRequest): Errno | undefined {
  if (isDropped(node, request)) return undefined;
  const error = node.debug && ownError(node.debug, request);
  const below = throughNode(node);
  return error ?? (below && earlyDebugError(below, request));
}

const HEADER_BYTES = 512;

const CHANGES: ReadonlySet<DebugRequest['op']> = new Set(['write', 'zero', 'discard']);

/** What a blkdebug node makes of a request to itself. */
function ownError(debug: DebugRules, request: DebugRequest): Errno | undefined {
  if (request.op === 'flush') return debug.checkFlush(request);
  const written: Landed[] = [];
  debug.landed = [];
  let isFilled = true;
  for (const part of debug.partsOf(request)) {
    if (part.fills) {
      // What is read to fill a block up is not looked at: if that fails, nobody hears of it, and the rest is not read.
      if (isFilled) isFilled = fill(debug, part, part.fills);
      continue;
    }
    const { op, offset, bytes } = part;
    if (written.length === 0 && CHANGES.has(op)) debug.noteWrite();
    for (const event of OWN_EVENTS[op]) debug.event(event);
    const error = debug.check(part);
    if (error !== undefined) {
      debug.landed = written;
      return error;
    }
    const [start, end] = [Math.max(offset, request.offset), offset + bytes];
    if (CHANGES.has(op)) written.push({ start, end: Math.min(end, request.offset + request.bytes) });
  }
  return undefined;
}

/** Reads what lies beside a write; whether that succeeds. */
function fill(debug: DebugRules, part: DebugRequest, sides: readonly ('head' | 'tail')[]): boolean {
  for (const side of sides) debug.event(`pwritev_rmw_${side}`);
  if (debug.check(part) !== undefined) return false;
  for (const side of sides) debug.event(`pwritev_rmw_after_${side}`);
  return true;
}

/** Discards go no further than to the first node that does not let them through, or that works for a job. */
const isDropped = (node: BlockNode, { op }: DebugRequest): boolean =>
  op === 'discard' &&
  (!node.unmap || (node.driver.kind === 'filter' && node.debug === undefined && node.throttle === undefined));

/** An error that is met when the first format with clusters has read what it needs to know. */
export function lateDebugError(node: BlockNode, request: DebugRequest): Errno | undefined {
  if (isDropped(node, request)) return undefined;
  const below = throughNode(node);
  if (below) return lateDebugError(below, node.unmap ? request : { ...request, unmap: false });
  if (!node.driver.supportsBacking || !hasDebugBelow(node)) return undefined;
  const io = ioOf(node);
  const error = FORMAT_STEPS[request.op](io, request);
  // Entries that are in the file by now stay there, whatever became of the flush.
  if (error !== undefined && request.op === 'flush' && !io.hasUnwritten) node.driver.flush(node);
  return error;
}

/** Flushes a node for the block layer's own sake, unless blkdebug makes that fail. */
export function flushOrFail(node: BlockNode): Errno | undefined {
  const error = hasDebugBelow(node) ? debugError(node, { op: 'flush', offset: 0, bytes: 0 }) : undefined;
  if (error === undefined) flushNode(node);
  return error;
}

/** Whether the error that a node's requests met last came before anybody else could run. */
export function metImmediately(node: BlockNode): boolean {
  if (node.debug?.metImmediately) return true;
  const below = throughNode(node);
  return below !== undefined && metImmediately(below);
}

/** Whether the first format below has its tables for a stretch in memory, as far as anybody looks after that. */
export function knowsTables(node: BlockNode, offset: number, bytes: number): boolean {
  const below = throughNode(node);
  if (below) return knowsTables(below, offset, bytes);
  // A format whose own requests nobody can fail keeps no account of them.
  return node.io?.knows(offset, bytes) ?? node.hasTables;
}

/** Whether a format that holds nothing has no table to look at: refcounts it leaves alone where blkdebug hides what the file takes. */
export const hasNoTables = ({ file, image }: BlockNode): boolean =>
  file?.child.debug !== undefined && image?.extents.count === 0;

/** Whether a discard gets through to what stores the bytes. */
function reachesFile(node: BlockNode): boolean {
  if (isDropped(node, { op: 'discard', offset: 0, bytes: 0 })) return false;
  const below = throughNode(node);
  return below ? reachesFile(below) : node.driver.kind === 'protocol';
}

/** What a node passes its requests on to as they are. */
const throughNode = (node: BlockNode): BlockNode | undefined =>
  (node.filtered ?? (node.driver.supportsBacking ? undefined : node.file))?.child;

/** Whether some blkdebug node can meet a request to a node. */
export function hasDebugBelow(node: BlockNode): boolean {
  if (node.debug) return true;
  return [node.filtered, node.file, node.backing].some(
    (edge) => edge !== undefined && hasDebugBelow(edge.child),
  );
}

/** The parts of a node's last write that have been written, though the write as a whole may have failed; asked once. */
export function takeLanded(node: BlockNode): readonly Landed[] {
  const own = node.debug?.landed ?? [];
  if (node.debug) node.debug.landed = [];
  const below = throughNode(node);
  const others = below ? takeLanded(below) : (node.io?.takeLanded() ?? []);
  return [...own, ...others];
}

/** Marks what a format has written to its file in the bitmaps of the nodes that it passes. */
function markBelow(file: BlockNode, offset: number, bytes: number): void {
  for (const { bitmaps } of storageOf(file))
    for (const bitmap of bitmaps) bitmap.mark(offset, offset + bytes);
}

function hasBitmapBelow(file: BlockNode): boolean {
  const below = (file.filtered ?? file.file)?.child;
  return file.bitmaps.length > 0 || (below !== undefined && hasBitmapBelow(below));
}

/**
 * A format is about to change. Where somebody keeps bitmaps of its file, or did, it goes through the steps that it takes
 * there; where requests may fail that has been done.
 */
export function noteSteps(
  node: BlockNode,
  op: 'write' | 'zero' | 'discard' | 'flush',
  offset: number,
  bytes: number,
  unmap = false,
): void {
  if (!node.file || hasDebugBelow(node.file.child)) return;
  if (node.io || hasBitmapBelow(node.file.child)) FORMAT_STEPS[op](ioOf(node), { op, offset, bytes, unmap });
}

/**
 * A disk has become shorter: its directory of refcounts is written, and the file ends behind its last cluster.
 * @param tables clusters of the file with what else has changed
 */
export function noteShrunk(node: BlockNode, layout: ClusterLayout, tables: readonly number[]): void {
  if (!node.file) return;
  const { clusterBytes, sizeBytes } = layout;
  for (const cluster of [FIRST_CLUSTERS.refcounts - 1, ...tables])
    markBelow(node.file.child, cluster * clusterBytes, clusterBytes);
  for (const { bitmaps } of storageOf(node.file.child))
    for (const { ranges } of bitmaps) ranges.truncate(sizeBytes);
}

/** A format has written its header. */
export function noteHeader(node: BlockNode): void {
  if (node.file) markBelow(node.file.child, 0, HEADER_BYTES);
}

/** What a format with clusters does with its file, from the first request on that an error may meet. */
function ioOf(node: BlockNode): Qcow2Io {
  node.io ??= new Qcow2Io(node, {
    get alignBytes() {
      return node.file?.child.debug?.alignBytes ?? 1;
    },
    get passesDiscards() {
      return node.unmap;
    },
    get dropsContent() {
      return node.file !== undefined && reachesFile(node.file.child);
    },
    tell: (event) => node.file?.child.debug?.event(event),
    ask(op, offset, bytes) {
      if (!node.file) return undefined;
      const error = debugError(node.file.child, { op, offset, bytes });
      if (error === undefined && CHANGES.has(op)) markBelow(node.file.child, offset, bytes);
      return error;
    },
    askBacking: (op, offset, bytes) => node.backing && debugError(node.backing.child, { op, offset, bytes }),
    isZeroBelow: (offset, bytes) => isZeroBelow(node, offset, bytes),
    metImmediately: () => node.file !== undefined && metImmediately(node.file.child),
  });
  return node.io;
}

const FORMAT_STEPS: Readonly<
  Record<DebugRequest['op'], (io: Qcow2Io, request: DebugRequest) => Errno | undefined>
> = {
  read: (io, { offset, bytes }) => io.read(offset, bytes),
  write: (io, { offset, bytes }) => io.write(offset, bytes),
  zero: (io, { offset, bytes, unmap }) => io.zero(offset, bytes, unmap),
  discard: (io, { offset, bytes }) => io.discard(offset, bytes),
  'block-status': (io, { offset }) => io.status(offset),
  flush: (io) => io.flush(),
};
