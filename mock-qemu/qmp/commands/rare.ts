/** What management applications seldom ask: latency histograms, children of quorums, amending, empty lists. */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import { refuse } from '../../core/errors.ts';
import type { IoCounters, LatencyHistogram } from '../../core/graph/backend.ts';
import { SnapshotTask } from '../../core/jobs/snapshot.ts';
import { driveOfDevice } from './media.ts';
import { type CommandTable, type Handler, isObject, needText } from './table.ts';

type Kind = 'read' | 'write' | 'zone-append' | 'flush';

const HISTOGRAMS: Readonly<Record<Kind, { readonly argument: string; readonly member: string }>> = {
  read: { argument: 'boundaries-read', member: 'rd_latency_histogram' },
  write: { argument: 'boundaries-write', member: 'wr_latency_histogram' },
  'zone-append': { argument: 'boundaries-zap', member: 'zone_append_latency_histogram' },
  flush: { argument: 'boundaries-flush', member: 'flush_latency_histogram' },
};

const KINDS = Object.keys(HISTOGRAMS) as Kind[];

/** The histograms that are kept, as members of BlockDeviceStats. */
export const histogramInfo = (histograms: IoCounters['histograms']): JsonObject =>
  Object.fromEntries(
    KINDS.flatMap((kind) => {
      const kept = histograms.get(kind);
      const { member } = HISTOGRAMS[kind];
      return kept ? [[member, { bins: [...kept.bins], boundaries: kept.boundaries }]] : [];
    }),
  );

/** A histogram, empty; undefined: boundaries must ascend, from above 0. */
function histogramOf(boundaries: readonly number[]): LatencyHistogram | undefined {
  const ascends = boundaries.every((boundary, index) => boundary > (boundaries[index - 1] ?? 0));
  return ascends ? { boundaries, bins: new Array(boundaries.length + 1).fill(0) } : undefined;
}

const setHistogram: Handler = ({ vm, profile }, args) => {
  const kinds = KINDS.filter((kind) => kind !== 'zone-append' || profile.behaviour.zoneStatistics);
  const id = needText(args, 'id');
  const { histograms } = driveOfDevice(vm, id).counters;
  const wanted = kinds.map((kind) => args[HISTOGRAMS[kind].argument] ?? args.boundaries);
  // Nothing at all ends them all.
  if (wanted.every((each) => each === undefined)) histograms.clear();
  for (const [index, kind] of kinds.entries()) {
    const boundaries = wanted[index];
    if (!Array.isArray(boundaries)) continue;
    const histogram = histogramOf(boundaries.map(Number));
    if (!histogram) return refuse(`Device '${id}' set ${kind} boundaries fail`);
    histograms.set(kind, histogram);
  }
  return undefined;
};

/** Only encryption could be amended, which is not simulated. */
const amend: Handler = ({ vm }, args) => {
  const options = isObject(args.options) ? args.options : {};
  const node = vm.graph.findNode(needText(args, 'node-name'));
  if (options.driver !== node.driver.name) {
    refuse("x-blockdev-amend doesn't support changing the block driver");
  }
  if (!node.driver.supportsBacking) refuse('Driver does not support x-blockdev-amend');
  const task = new SnapshotTask(() => {
    if (options.encrypt !== undefined) refuse("image is not encrypted, can't amend");
  }, false);
  vm.jobs
    .create({ id: needText(args, 'job-id'), type: 'amend', autoDismiss: false, nodes: [], task })
    .start();
  return undefined;
};

/** The commands. */
export const rareCommands: CommandTable = {
  'block-latency-histogram-set': setHistogram,
  'x-blockdev-amend': amend,
  'query-fdsets': () => [],
  'query-memory-devices': () => [],
  'query-migrate': () => ({}),
  'query-pr-managers': () => [],
};
