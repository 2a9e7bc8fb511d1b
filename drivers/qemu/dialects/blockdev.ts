/**
 * The blockdev era (QEMU >= 4.2): images are nodes that the client names and opens, jobs have ids and wait to be
 * dismissed, and JOB_STATUS_CHANGE drives everything. The commands are those of libvirt 9.0.
 */
import type {
  CommitRequest,
  CopyRequest,
  ImageRef,
  JobRequest,
  PullRequest,
  TargetSpec,
} from '../../../src/driver.ts';
import { numberOf, objectsOf, optionalText, textOf } from '../errors.ts';
import type { QmpEventMessage } from '../qmp-client.ts';
import {
  isQmpObject,
  member,
  parseQmp,
  type QmpCall,
  type QmpObject,
  type QmpValue,
  stringifyQmp,
} from '../qmp-json.ts';
import { modernArguments } from './base-arguments.ts';
import { ACTIVE_WRITES, bitmapsOf, carryOver } from './bitmaps.ts';
import { blockdevExtras } from './blockdev-extras.ts';
import type {
  Dialect,
  Geometry,
  IoErrorSignal,
  JobReport,
  JobSignal,
  JobView,
  Preparation,
  Query,
  Step,
  TargetFacts,
  Verdict,
} from './dialect.ts';
import {
  formatNode,
  formatOptions,
  formatSteps,
  openNode,
  recordsBacking,
  storageNode,
  storageOptions,
  transaction,
} from './nodes.ts';

/** What differs inside the era. */
export interface BlockdevSwitches {
  /** query-named-block-nodes takes `flat`. */
  readonly flat: boolean;
  /** An overlay may get its backing file while nothing reads it: a reused chain is opened as late as the pivot. */
  readonly writeOnlyOverlay: boolean;
  /** blockdev-mirror takes `copy-mode`. */
  readonly copyMode: boolean;
}

/** Every job is driven by its events to its end and then dismissed by hand, so that no end is missed. */
const JOB_CONTROL = { 'auto-finalize': true, 'auto-dismiss': false } as const;

const READY_STATUS: ReadonlySet<string> = new Set(['ready', 'standby']);

type Start<R extends JobRequest> = (request: R) => QmpCall;

/** 0 stands for a default, which is asked for by leaving the member out. */
function unlessZero(name: string, value: number | bigint): QmpObject {
  return member(name, Number(value) === 0 ? undefined : value);
}

const startPull: Start<PullRequest> = ({ id, top, base, backingName, speedBytesPerSecond }) => ({
  execute: 'block-stream',
  arguments: {
    device: formatNode(top),
    'job-id': id,
    ...member('base-node', base && formatNode(base)),
    ...member('backing-file', base && (backingName ?? base.path)),
    ...unlessZero('speed', speedBytesPerSecond),
    ...JOB_CONTROL,
  },
});

const startCommit: Start<CommitRequest> = (request) => ({
  execute: 'block-commit',
  arguments: {
    device: formatNode(request.active),
    'job-id': request.id,
    'top-node': formatNode(request.top),
    'base-node': formatNode(request.base),
    // An active commit rewrites no header: nothing is left above the base.
    ...member(
      'backing-file',
      request.kind === 'commit' ? (request.backingName ?? request.base.path) : undefined,
    ),
    ...unlessZero('speed', request.speedBytesPerSecond),
    ...JOB_CONTROL,
  },
});

const startCopy: Start<CopyRequest> = (request) => ({
  execute: 'blockdev-mirror',
  arguments: {
    'job-id': request.id,
    device: formatNode(request.source),
    target: formatNode(request.target.image),
    sync: request.shallow ? 'top' : 'full',
    ...unlessZero('speed', request.speedBytesPerSecond),
    ...unlessZero('granularity', request.granularityBytes),
    ...unlessZero('buf-size', request.bufSizeBytes),
    ...member('copy-mode', request.synchronousWrites ? 'write-blocking' : undefined),
    ...JOB_CONTROL,
  },
});

const START: { readonly [K in JobRequest['kind']]: Start<Extract<JobRequest, { kind: K }>> } = {
  pull: startPull,
  commit: startCommit as Start<never>,
  'active-commit': startCommit as Start<never>,
  copy: startCopy,
};

/** The image that the disk uses after a pivot; undefined for jobs that have none. */
function pivotImage({ request }: JobView): ImageRef | undefined {
  if (request.kind === 'copy') return request.target.image;
  return request.kind === 'active-commit' ? request.base : undefined;
}

/** A reused chain below the destination, opened and put under it when the guest is about to read it. */
function attach({ target, isOpen }: JobView): readonly Step[] {
  const top = target?.backing[0];
  if (target === undefined || top === undefined || isOpen(top)) return [];
  const data = { node: formatNode(top), overlay: formatNode(target.image) };
  return [
    ...openChain(target.backing),
    { do: 'call', call: transaction([{ type: 'blockdev-snapshot', data }]) },
  ];
}

/** Steps that open a chain of files for reading, from the bottom up. */
function openChain(chain: readonly ImageRef[]): readonly Step[] {
  const bottomUp = chain.map((image, depth) => [
    openNode(storageOptions(image, 'file')),
    openNode(formatOptions(image, true, nodeBelow(chain, depth))),
  ]);
  return bottomUp.reverse().flat();
}

function nodeBelow(chain: readonly ImageRef[], depth: number): string | null {
  const below = chain[depth + 1];
  return below === undefined ? null : formatNode(below);
}

function conclude(job: JobView, how: 'pivot' | 'abort'): readonly Step[] {
  if (how === 'abort') {
    return [{ do: 'call', call: { execute: 'block-job-cancel', arguments: { device: job.key } } }];
  }
  const image = pivotImage(job);
  const bitmap = image && {
    node: formatNode(image),
    name: ACTIVE_WRITES,
    persistent: false,
    disabled: false,
  };
  const mark: readonly Step[] =
    bitmap === undefined
      ? []
      : [
          {
            do: 'call',
            call: transaction([{ type: 'block-dirty-bitmap-add', data: bitmap }]),
            tolerated: true,
          },
        ];
  return [...mark, { do: 'call', call: { execute: 'job-complete', arguments: { id: job.key } } }];
}

function dismiss(key: string): Step {
  return { do: 'call', call: { execute: 'job-dismiss', arguments: { id: key } }, tolerated: true };
}

function settle(job: JobView, asked: 'pivot' | 'abort' | undefined): readonly Step[] {
  const image = pivotImage(job);
  const data = image && { node: formatNode(image), name: ACTIVE_WRITES };
  const unmark: Partial<Record<string, QmpCall>> = {
    pivot: data && transaction([{ type: 'block-dirty-bitmap-remove', data }]),
    // A pivot that was refused may have left the bitmap on the base, which lives on; a copy's destination does not.
    abort:
      job.request.kind === 'active-commit'
        ? data && { execute: 'block-dirty-bitmap-remove', arguments: data }
        : undefined,
  };
  const call = asked && unmark[asked];
  return call === undefined ? [dismiss(job.key)] : [dismiss(job.key), { do: 'call', call, tolerated: true }];
}

function signal({ event, data }: QmpEventMessage): JobSignal | undefined {
  if (event === 'BLOCK_JOB_COMPLETED' && typeof data.device === 'string') {
    const error = optionalText(data, 'error');
    return { type: 'verdict', key: data.device, verdict: error === undefined ? {} : { error } };
  }
  if (event !== 'JOB_STATUS_CHANGE' || typeof data.id !== 'string') return undefined;
  if (data.status === 'ready' || data.status === 'concluded') return { type: data.status, key: data.id };
  return undefined;
}

const NODE_NAME = /^libvirt-(\d+)-(?:storage|format)$/;
const IO_ACTIONS = ['report', 'ignore', 'stop'] as const;

function ioError({ event, data }: QmpEventMessage): IoErrorSignal | undefined {
  if (event !== 'BLOCK_IO_ERROR') return undefined;
  const index = NODE_NAME.exec(optionalText(data, 'node-name') ?? '')?.[1];
  const action = IO_ACTIONS.find((known) => known === data.action) ?? 'report';
  const reason = data.nospace === true ? 'enospc' : '';
  return index === undefined ? { action, reason } : { action, reason, index: Number(index) };
}

function verdict(key: string): Query<Verdict> {
  const execute = 'query-jobs';
  return {
    call: { execute },
    read(reply) {
      const job = objectsOf(reply, execute).find(({ id }) => id === key);
      if (job === undefined)
        return { error: 'the job was dismissed by someone else before its outcome was read' };
      const error = optionalText(job, 'error');
      return error === undefined ? {} : { error };
    },
  };
}

function jobs(): Query<readonly JobReport[]> {
  const execute = 'query-block-jobs';
  return {
    call: { execute },
    read: (reply) =>
      objectsOf(reply, execute).map((job) => {
        const error = optionalText(job, 'error');
        const report = {
          key: textOf(job, 'device', execute),
          current: numberOf(job, 'offset', execute),
          total: numberOf(job, 'len', execute),
          ready: typeof job.ready === 'boolean' ? job.ready : READY_STATUS.has(String(job.status)),
          concluded: job.status === 'concluded',
          speedBytesPerSecond: numberOf(job, 'speed', execute),
        };
        return error === undefined ? report : { ...report, error };
      }),
  };
}

/** The path inside a file name as QEMU shows it: where graph and headers differ, that is a `json:` description. */
export function pathOf(filename: string): string {
  if (!filename.startsWith('json:')) return filename;
  let node: QmpValue | undefined = parseQmp(filename.slice('json:'.length));
  while (isQmpObject(node)) {
    const path = optionalText(node, 'filename') ?? optionalText(node, 'file.filename');
    if (path !== undefined) return path;
    node = node.file;
  }
  return filename;
}

function pathsOf(image: QmpValue | undefined): string[] {
  const paths: string[] = [];
  for (let at = image; isQmpObject(at); at = at['backing-image']) {
    paths.push(pathOf(textOf(at, 'filename', 'query-block')));
  }
  return paths;
}

const PERIPHERAL = /^\/machine\/peripheral\/([^/]+)/;

function chains(): Query<ReadonlyMap<string, readonly string[]>> {
  const execute = 'query-block';
  return {
    call: { execute },
    read(reply) {
      const paths = new Map<string, readonly string[]>();
      for (const { qdev, inserted } of objectsOf(reply, execute)) {
        if (typeof qdev !== 'string') continue;
        const alias = PERIPHERAL.exec(qdev)?.[1] ?? qdev;
        paths.set(alias, isQmpObject(inserted) ? pathsOf(inserted.image) : []);
      }
      return paths;
    },
  };
}

function nodesQuery<T>(flat: boolean, read: (nodes: readonly QmpObject[]) => T): Query<T> {
  const execute = 'query-named-block-nodes';
  return {
    call: flat ? { execute, arguments: { flat: true } } : { execute },
    walksNodes: true,
    read: (reply) => read(objectsOf(reply, execute)),
  };
}

function geometryOf(nodes: readonly QmpObject[], name: string): Geometry {
  const image = nodes.find((node) => node['node-name'] === name)?.image;
  const command = 'query-named-block-nodes';
  const object = isQmpObject(image) ? image : {};
  const capacityBytes = numberOf(object, 'virtual-size', command);
  const clusters = object['cluster-size'];
  return typeof clusters === 'number' ? { capacityBytes, clusterBytes: clusters } : { capacityBytes };
}

function driveArguments(
  chain: readonly ImageRef[],
  readonly: boolean,
  kindOf: (image: ImageRef) => 'file' | 'block',
): readonly string[] {
  const bottomUp = chain.map((image, depth) => [
    '-blockdev',
    stringifyQmp(storageOptions(image, kindOf(image))),
    '-blockdev',
    stringifyQmp(formatOptions(image, readonly || depth > 0, nodeBelow(chain, depth))),
  ]);
  return bottomUp.reverse().flat();
}

function prepare(
  { image, backing, reuse }: TargetSpec,
  { kind, source, isOpen }: TargetFacts,
  writeOnlyOverlay: boolean,
): Preparation {
  const [below] = backing;
  const early = reuse && !writeOnlyOverlay && below !== undefined && !isOpen(below);
  const recorded = below !== undefined && recordsBacking(image.format) ? { backing: below } : {};
  const storage: readonly Step[] =
    source === undefined
      ? [openNode(storageOptions(image, kind))]
      : [{ do: 'create-file', path: image.path }, ...formatSteps(image, kind, { ...source, ...recorded })];
  const attached = below !== undefined && (early || isOpen(below)) ? formatNode(below) : null;
  return {
    steps: [
      ...(early ? openChain(backing) : []),
      ...storage,
      openNode(formatOptions(image, false, attached)),
    ],
    opens: early ? [image, ...backing] : [image],
  };
}

/** Builds the dialect for one QEMU of the era. */
export function createBlockdevDialect({ flat, writeOnlyOverlay, copyMode }: BlockdevSwitches): Dialect {
  return {
    name: 'blockdev',
    extras: {
      ...blockdevExtras,
      bitmaps: () => nodesQuery(flat, bitmapsOf),
      carryBitmaps: (job, from, present) => {
        const image = pivotImage(job);
        return image ? carryOver(image, from, present) : [];
      },
      geometry: (image) => nodesQuery(flat, (nodes) => geometryOf(nodes, formatNode(image))),
    },
    capabilities: {
      pull: true,
      commit: true,
      activeCommit: true,
      copy: true,
      synchronousWrites: copyMode,
      readyEvent: true,
      copyTuning: true,
      monotonicProgress: true,
    },
    baseArguments: modernArguments,
    driveArguments: (disk, kindOf) => driveArguments(disk.chain, disk.readonly, kindOf),
    driveName: ({ chain: [top] }) => (top === undefined ? undefined : formatNode(top)),
    geometry({ reuse, source }) {
      return reuse ? undefined : nodesQuery(flat, (nodes) => geometryOf(nodes, formatNode(source)));
    },
    prepare: (spec, facts) => prepare(spec, facts, writeOnlyOverlay),
    jobKey: ({ id }) => id,
    start: ({ request }) => START[request.kind](request as never),
    attach,
    conclude,
    holdsGuest: false,
    setSpeed: ({ key }, speed) => ({ execute: 'block-job-set-speed', arguments: { device: key, speed } }),
    signal,
    ioError,
    verdict,
    settle,
    settleCreation: (key) => [dismiss(key)],
    jobs,
    chains,
    openNodes: () => nodesQuery(flat, (nodes) => new Set(nodes.map((node) => String(node['node-name'])))),
    release: (images, open) =>
      images
        .flatMap((image) => [formatNode(image), storageNode(image)])
        .filter((name) => open.has(name))
        .map((name) => ({ do: 'call', call: { execute: 'blockdev-del', arguments: { 'node-name': name } } })),
  };
}
