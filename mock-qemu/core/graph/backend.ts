/** Block backends: what a guest device has open, or what -drive named. */
import type { BlockNode, Edge } from './node.ts';

/** QAPI BlockDeviceIoStatus. */
export type IoStatus = 'ok' | 'failed' | 'nospace';

/** Counters of query-blockstats. */
export interface IoCounters {
  readBytes: number;
  writeBytes: number;
  readOperations: number;
  writeOperations: number;
  flushOperations: number;
  writeHighestOffset: number;
}

/** A device's view of the graph. */
export class BlockBackend {
  /** The -drive id; empty for a device's anonymous backend. */
  readonly name: string;
  /** The device's id or QOM path as queries show it; undefined: no device. */
  qdev: string | undefined;
  /** The device's own id; undefined: none. */
  deviceId: string | undefined;
  root: Edge | undefined;
  readOnly = false;
  removable = false;
  ioStatus: IoStatus | undefined;
  readonly counters: IoCounters = {
    readBytes: 0,
    writeBytes: 0,
    readOperations: 0,
    writeOperations: 0,
    flushOperations: 0,
    writeHighestOffset: 0,
  };

  constructor(name: string) {
    this.name = name;
  }

  /** The node that requests enter at; undefined: no medium. */
  get node(): BlockNode | undefined {
    return this.root?.child;
  }
}
