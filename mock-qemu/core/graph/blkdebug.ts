/**
 * The blkdebug driver: a filter whose rules make requests fail. A rule waits for an event of the node above it; once
 * the event has come, the next requests that suit the rule fail.
 */
import type { Data, Value } from '../data.ts';
import { type Errno, errnoOf } from '../errno.ts';
import { refuse } from '../errors.ts';
import { ABSENT } from '../extents.ts';
import type { BlockNode } from './node.ts';

/** QAPI BlkdebugIOType. */
type IoType = 'read' | 'write' | 'write-zeroes' | 'discard' | 'flush' | 'block-status';

/** A request, as rules look at it. */
export interface DebugRequest {
  readonly op: 'read' | 'write' | 'zero' | 'discard' | 'flush' | 'block-status';
  readonly offset: number;
  readonly bytes: number;
  /** A flush that belongs to a write: the node itself has nothing to flush yet. */
  readonly ofWrite?: boolean;
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

/** The rules of one blkdebug node and what has become of them. */
export class DebugRules {
  /** What blockdev-add was given, for the node's file name. */
  readonly options: Data;
  readonly #inject: InjectRule[];
  readonly #states: readonly StateRule[];
  #state = 1;
  /** Rules whose event has come. */
  #active: InjectRule[] = [];

  constructor(options: Data) {
    this.options = options;
    this.#inject = rulesOf(options, 'inject-error').map(injectRule);
    this.#states = rulesOf(options, 'set-state').map(stateRule);
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

function checkAlign(align: Value | undefined): void {
  if (typeof align !== 'number' || align === 0) return;
  if (align < 0 || (align & (align - 1)) !== 0) refuse(`Cannot meet constraints with align ${align}`);
}

/** Where in an image a byte of the disk lies is known for raw files only. */
const NOWHERE = -1;

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
  if (node.debug) {
    for (const event of OWN_EVENTS[request.op]) node.debug.event(event);
    const error = isIdle(node, request) ? undefined : node.debug.check(request);
    if (error !== undefined) return error;
  }
  const below = throughNode(node);
  return below && earlyDebugError(below, request);
}

/** A flush stops at a node that has not been written to since the last one; what formats write is not kept track of. */
const isIdle = (node: BlockNode, { op }: DebugRequest): boolean =>
  op === 'flush' &&
  node.generation === node.flushedGeneration &&
  node.parents.every(({ parent }) => parent.kind !== 'node' || !parent.node.driver.supportsBacking);

/** An error that is met when the first format with clusters has read what it needs to know. */
export function lateDebugError(node: BlockNode, request: DebugRequest): Errno | undefined {
  const below = throughNode(node);
  if (below) return lateDebugError(below, request);
  return node.driver.kind === 'format' ? FORMAT_STEPS[request.op](node, request) : undefined;
}

/** Whether the error that a node's requests met last came before anybody else could run. */
export function metImmediately(node: BlockNode): boolean {
  if (node.debug?.metImmediately) return true;
  const below = throughNode(node);
  return below !== undefined && metImmediately(below);
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

type Step = (node: BlockNode, request: DebugRequest) => Errno | undefined;

/** Tells the blkdebug nodes of a stack of filters that something happens above. */
function tell(node: BlockNode, event: string): void {
  for (let at: BlockNode | undefined = node; at; at = at.filtered?.child) at.debug?.event(event);
}

/** Tells the first blkdebug node below of something that a format does, then passes the request on. */
function below(node: BlockNode, event: string | undefined, request: DebugRequest): Errno | undefined {
  const child = node.file?.child;
  if (!child) return undefined;
  if (event !== undefined) tell(child, event);
  const where = node.driver.supportsBacking ? { ...request, offset: NOWHERE, bytes: 0 } : request;
  return debugError(child, where);
}

const read: Step = (node, request) => {
  const { offset, bytes } = request;
  const span = node.driver.at(node, offset, offset + Math.max(1, bytes));
  if (span.tag !== ABSENT || !node.backing) return below(node, 'read_aio', request);
  for (let at = node.file?.child; at; at = at.filtered?.child) at.debug?.event('read_backing_aio');
  return debugError(node.backing.child, request);
};

/** What the first allocation of an empty image reads and writes: its refcounts, its first table, and where that is. */
const FIRST_ALLOCATION = [
  { event: 'refblock_load', op: 'read' },
  { event: 'refblock_update_part', op: 'write' },
  { event: undefined, op: 'flush' },
  { event: 'l2_update', op: 'write' },
  { event: undefined, op: 'flush' },
  { event: 'l1_update', op: 'write' },
  { event: undefined, op: 'flush' },
] as const;

function allocateTables(node: BlockNode): Errno | undefined {
  const { image } = node;
  const isEmpty = image?.extents.count === 0 && (node.pending?.count ?? 0) === 0;
  if (!node.driver.supportsBacking || !isEmpty || node.hasTables) return undefined;
  const child = node.file?.child;
  if (child) tell(child, 'cluster_alloc');
  for (const { event, op } of child ? FIRST_ALLOCATION : []) {
    // What has been read once stays in memory.
    if (op === 'read' && node.hasRefcounts) continue;
    if (child && event !== undefined) tell(child, event);
    const error = child && debugError(child, { op, offset: NOWHERE, bytes: 0 });
    if (error !== undefined) return error;
    if (op === 'read') node.hasRefcounts = true;
  }
  node.hasTables = true;
  return undefined;
}

const write: Step = (node, request) => {
  const { offset, bytes } = request;
  const unallocated = allocateTables(node);
  if (unallocated !== undefined) return unallocated;
  const allocates =
    node.driver.supportsBacking && node.driver.at(node, offset, offset + Math.max(1, bytes)).tag === ABSENT;
  if (allocates)
    for (let at = node.file?.child; at; at = at.filtered?.child) at.debug?.event('cluster_alloc');
  return below(node, 'write_aio', request);
};

const flush: Step = (node, request) => {
  for (let at = node.file?.child; at; at = at.filtered?.child) at.debug?.event('flush_to_os');
  const writesMetadata = (node.pending?.coveredBytes ?? 0) > 0;
  const metadata = writesMetadata ? below(node, 'l2_update', { ...request, op: 'write' }) : undefined;
  return metadata ?? below(node, request.ofWrite ? undefined : 'flush_to_disk', request);
};

const FORMAT_STEPS: Readonly<Record<DebugRequest['op'], Step>> = {
  read,
  write,
  // A format notes zeroes in its metadata.
  zero: (node) => allocateTables(node),
  // Where data is, and that it is gone, a format notes in its metadata.
  discard: () => undefined,
  'block-status': () => undefined,
  flush,
};
