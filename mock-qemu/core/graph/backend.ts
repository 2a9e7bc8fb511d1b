/** Block backends: what a guest device has open, or what -drive named. */
import type { ErrorPolicy } from '../jobs/policy.ts';
import { NO_RIGHTS } from '../rights.ts';
import type { ThrottleGroup } from '../throttle.ts';
import type { BlockNode, Edge } from './node.ts';

/** QAPI BlockDeviceIoStatus. */
export type IoStatus = 'ok' | 'failed' | 'nospace';

/** Counters of one kind of request. */
export interface OperationCounter {
  bytes: number;
  operations: number;
  failed: number;
  totalNs: number;
}

/** How many requests took how long. */
export interface LatencyHistogram {
  /** Nanoseconds; ascending. */
  readonly boundaries: readonly number[];
  /** One more than there are boundaries. */
  readonly bins: number[];
}

/** Counters of query-blockstats. */
export interface IoCounters {
  readonly of: Readonly<Record<'read' | 'write' | 'flush' | 'discard', OperationCounter>>;
  /** Only those that somebody has asked for. */
  readonly histograms: Map<'read' | 'write' | 'flush' | 'discard' | 'zone-append', LatencyHistogram>;
}

const noOperations = (): OperationCounter => ({ bytes: 0, operations: 0, failed: 0, totalNs: 0 });

/** Counters at zero. */
export const noCounters = (): IoCounters => ({
  of: { read: noOperations(), write: noOperations(), flush: noOperations(), discard: noOperations() },
  histograms: new Map(),
});

/** A device's view of the graph. */
export class BlockBackend {
  /** The -drive id; empty for a device's anonymous backend. */
  readonly name: string;
  /** The device's id or QOM path as queries show it; undefined: no device. */
  qdev: string | undefined;
  /** The device's own id; undefined: none. */
  deviceId: string | undefined;
  root: Edge | undefined;
  /** Of its medium; without one, of the last. */
  readOnly = false;
  removable = false;
  /** What it did with its last medium. */
  lastRights = NO_RIGHTS;
  trayOpen = false;
  /** What it may do per second, together with the other members. */
  throttle: ThrottleGroup | undefined;
  ioStatus: IoStatus | undefined;
  /** werror and rerror. */
  policies: { readonly read: ErrorPolicy; readonly write: ErrorPolicy } = { read: 'report', write: 'enospc' };
  /** QOM path of the block device; empty: no device. */
  qomPath = '';
  readonly counters = noCounters();

  constructor(name: string) {
    this.name = name;
  }

  /** The node that requests enter at; undefined: no medium. */
  get node(): BlockNode | undefined {
    return this.root?.child;
  }
}
