/** The block graph's vocabulary: nodes, the edges that hold them, and what a driver of nodes does. */

import type { Data } from '../data.ts';
import type { Errno } from '../errno.ts';
import type { ExtentMap, Span, Tag } from '../extents.ts';
import type { ImageFile } from '../images.ts';
import type { NbdConnection } from '../nbd.ts';
import type { Rights } from '../rights.ts';
import type { ThrottleGroup } from '../throttle.ts';
import type { BlockBackend } from './backend.ts';
import type { DirtyBitmap } from './bitmap.ts';
import type { DebugRules } from './blkdebug.ts';
import type { ContainerCopy } from './containers.ts';
import type { Qcow2Io } from './qcow2-io.ts';

/** Operations that something may block on a node (QEMU's op blockers, as far as commands check them). */
export type BlockedOp =
  | 'stream'
  | 'commit-source'
  | 'commit-target'
  | 'mirror-source'
  | 'mirror-target'
  | 'backup-source'
  | 'backup-target'
  | 'external-snapshot'
  | 'internal-snapshot'
  | 'internal-snapshot-delete'
  | 'resize'
  | 'change'
  | 'drive-del'
  | 'replace'
  | 'eject';

/** Why operations on a node are refused, and which ones are allowed all the same. */
export interface OpBlocker {
  /** Ends the sentence `Node 'x' is busy: ...`; asked when needed, for it names another node. */
  readonly reason: () => string;
  readonly except: readonly BlockedOp[];
}

/** What a child is to its parent node. */
export type ChildRole = 'file' | 'backing' | 'filtered' | 'target';
/** What a node is to a job that uses it. */
export type JobRole = 'main node' | 'source' | 'target' | 'intermediate node' | 'base' | 'active node';

/** Who holds a node. */
export type Parent =
  | { readonly kind: 'node'; readonly node: BlockNode }
  | { readonly kind: 'backend'; readonly backend: BlockBackend }
  /** A job that reads or writes through a backend of its own (a mirror's target). */
  | { readonly kind: 'job-backend'; readonly jobId: string }
  /** What clients of a server reach it through. */
  | { readonly kind: 'export'; readonly id: string; readonly allowsInactive: boolean }
  /** Who changes a size, for that moment. */
  | { readonly kind: 'resizer' }
  /** A job that must not lose the node. */
  | { readonly kind: 'job'; readonly jobId: string; readonly jobType: string };

/** One reference to a node. */
export interface Edge {
  readonly parent: Parent;
  readonly role: ChildRole | JobRole | 'root';
  child: BlockNode;
  /** What the holder needs and shares; nodes work that out from what their own holders want. */
  rights: Rights;
  /** What an overlay forbids to do with what is below it. */
  blocker?: OpBlocker | undefined;
}

/** What a filter's job wants to know of the requests that pass it. */
export interface RequestHooks {
  beforeRead?(start: number, end: number): void;
  /** Why a guest's write cannot be; asked first, and does what has to be done before it. */
  refusesWrite?(start: number, end: number): Errno | undefined;
  beforeWrite?(start: number, end: number): void;
  afterWrite?(start: number, end: number, tag: Tag): void;
  /** How much longer the writer has to wait. */
  writeCostNs?(start: number, end: number): number;
}

/** How content is written: zeroes may be bytes like others, be noted as such, or give back what they take the place of. */
export type WriteKind = 'data' | 'zero' | 'unmap' | 'compressed';

/** What a kind of node does with bytes. All of it takes no time: time is paid by whoever asks. */
export interface BlockDriver {
  readonly name: string;
  readonly kind: 'protocol' | 'format' | 'filter';
  /** Can be an overlay. */
  readonly supportsBacking: boolean;
  /** Has no file: what it reads as is made up. */
  readonly holdsNothing?: boolean;
  lengthBytes(node: BlockNode): number;
  /** What this layer alone holds at `offset`; ABSENT: ask the backing node. */
  at(node: BlockNode, offset: number, limit: number): Span;
  write(node: BlockNode, start: number, end: number, tag: Tag, how: WriteKind): void;
  discard(node: BlockNode, start: number, end: number): void;
  /** Makes what was written last. */
  flush(node: BlockNode): void;
  /** As far as it matters to who opens the file next, without the requests that a flush makes. */
  settle?(node: BlockNode): void;
  truncate(node: BlockNode, lengthBytes: number): void;
}

/** One node of the graph. */
export class BlockNode {
  readonly name: string;
  readonly driver: BlockDriver;
  readOnly: boolean;
  /** Else somebody else writes to its image, and nobody here (10.0). */
  active: boolean;
  /** Made by blockdev-add: only blockdev-del lets it go. */
  monitorOwned: boolean;
  /** Opened along with what lies on it, whose options it takes over. */
  inherits = false;
  /** A filter that its job inserted unasked: hidden from query-block. */
  readonly implicit: boolean;
  /** force-share: reads without caring who else writes. */
  readonly forceShare: boolean;
  /** discard=unmap: discards reach the image, zeroes may be unmapped. */
  unmap: boolean;
  /** What becomes of writes of zeroes; only queries show it. */
  detectZeroes: 'off' | 'on' | 'unmap';
  file: Edge | undefined;
  backing: Edge | undefined;
  filtered: Edge | undefined;
  /** Where a copy-before-write filter saves to. */
  target: Edge | undefined;
  /** A job's filter: works for an active commit, or passes everything on and is about to go. */
  filterState: 'active' | 'commit' | 'stopped' = 'active';
  /** A backup's filter relies on what it filters even while nobody writes through it. */
  alwaysReads = false;
  /** Newest last. */
  readonly parents: Edge[] = [];
  /** Newest last. */
  readonly blockers: OpBlocker[] = [];
  readonly bitmaps: DirtyBitmap[] = [];
  /** The file below, for protocol and format nodes. */
  image: ImageFile | undefined;
  /** Written but not flushed: lost with the process. Only formats that cache their metadata have it. */
  pending: ExtentMap | undefined;
  /** What has been made to last although its tables have not been written. */
  unwritten: ExtentMap | undefined;
  hooks: RequestHooks | undefined;
  /** What makes requests to a blkdebug node fail. */
  debug: DebugRules | undefined;
  /** What an nbd node is connected to. */
  remote: NbdConnection | undefined;
  /** The limits of a throttle node. */
  throttle: ThrottleGroup | undefined;
  /** A format has the refcounts of its file in memory: it has been asked what is where, or has allocated something. */
  hasRefcounts = false;
  /** A format has the tables of what it holds in memory: it has written something. */
  hasTables = false;
  /** What a format with clusters does with its file; undefined: nobody has looked. */
  io: Qcow2Io | undefined;
  /** Guest requests are held back while above 0. */
  drains = 0;
  /** Drained sections on this node that nobody ends. */
  heldForGood = 0;
  /** What has been copied to its file of another one that is a container. */
  containerCopy: ContainerCopy | undefined;
  /** Bumped by each write; equal to `flushedGeneration` when there is nothing to flush. */
  generation = 0;
  /** The highest byte that was ever written, plus one. */
  writeHighestOffset = 0;
  flushedGeneration = 0;
  /** What a protocol node was told to drop. */
  readonly discarded = { operations: 0, bytes: 0 };
  /** BLOCK_WRITE_THRESHOLD; 0: off. */
  writeThresholdBytes: number | bigint = 0;
  /** Told once when a write goes past the threshold. */
  onThreshold: ((exceededBytes: number) => void) | undefined;
  /** A node without a file whose reads fill the buffer. */
  readsZeroes = false;
  /** A null-co node that takes its time over every request. */
  isSlow = false;
  /** How long its raw file was when it was opened, or after what was done through this node. */
  knownBytes: number | undefined;
  /** Options that a node without a file was given. */
  chosen: Data = {};
  /** What a raw node or a filter takes the length of what lies below for, where that is not asked again. */
  knownLengthBytes: number | undefined;
  /** Size of a node without a file (null-co). */
  fixedSizeBytes = 0;

  constructor(options: {
    readonly name: string;
    readonly driver: BlockDriver;
    readonly readOnly: boolean;
    readonly active?: boolean;
    readonly monitorOwned?: boolean;
    readonly implicit?: boolean;
    readonly unmap?: boolean;
    readonly forceShare?: boolean;
    readonly detectZeroes?: 'off' | 'on' | 'unmap';
  }) {
    this.name = options.name;
    this.driver = options.driver;
    this.readOnly = options.readOnly;
    this.active = options.active ?? true;
    this.monitorOwned = options.monitorOwned ?? false;
    this.implicit = options.implicit ?? false;
    this.unmap = options.unmap ?? false;
    this.detectZeroes = options.detectZeroes ?? 'off';
    this.forceShare = options.forceShare ?? false;
  }

  get lengthBytes(): number {
    return this.driver.lengthBytes(this);
  }
}
