/** What queries told before nodes had names: one level of backing file, and nothing about images. */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import type { BlockBackend } from '../../core/graph/backend.ts';
import { backingOf, chainOf, skipImplicit } from '../../core/graph/data.ts';
import type { BlockNode } from '../../core/graph/node.ts';
import { imageBelow } from '../../core/graph/open.ts';
import type { ThrottleGroup } from '../../core/throttle.ts';
import type { CommandContext, CommandTable } from './table.ts';
import { throttleInfo } from './throttling.ts';

const pathOf = (node: BlockNode): string => imageBelow(node)?.path ?? '';

function inserted({ profile }: CommandContext, node: BlockNode, throttle?: ThrottleGroup): JsonObject {
  const { group: _, ...rates } = throttleInfo(throttle);
  const below = backingOf(node);
  return {
    file: pathOf(node),
    ro: node.readOnly,
    drv: node.driver.name,
    encrypted: false,
    ...(below && { backing_file: pathOf(below) }),
    ...(profile.behaviour.errorPolicies && {
      backing_file_depth: chainOf(node).length - 1,
      ...rates,
    }),
  };
}

function driveInfo(context: CommandContext, drive: BlockBackend): JsonObject {
  const node = drive.node && skipImplicit(drive.node);
  return {
    device: drive.name,
    type: 'unknown',
    locked: false,
    removable: drive.removable,
    ...(drive.removable && { tray_open: drive.trayOpen }),
    ...(context.profile.behaviour.errorPolicies &&
      drive.ioStatus !== undefined &&
      node && { 'io-status': drive.ioStatus }),
    ...(node && { inserted: inserted(context, node, drive.throttle) }),
  };
}

function driveStats({ name, node, counters }: BlockBackend): JsonObject {
  const stats = {
    rd_bytes: counters.of.read.bytes,
    wr_bytes: counters.of.write.bytes,
    rd_operations: counters.of.read.operations,
    wr_operations: counters.of.write.operations,
    flush_operations: counters.of.flush.operations,
    wr_highest_offset: node?.writeHighestOffset ?? 0,
    rd_total_time_ns: 0,
    wr_total_time_ns: 0,
    flush_total_time_ns: 0,
  };
  const parent = node && {
    stats: { ...stats, rd_bytes: 0, wr_bytes: 0, rd_operations: 0, wr_operations: 0 },
  };
  return { device: name, stats, ...(parent && { parent }) };
}

/** Queries of drives, in place of those of the same name. */
export const earlyQueryCommands: CommandTable = {
  'query-block': (context) => context.vm.graph.backends.map((drive) => driveInfo(context, drive)),
  'query-blockstats': ({ vm }) => vm.graph.backends.map(driveStats),
  'query-cpus': () => [{ CPU: 0, current: true, halted: false, pc: 0, thread_id: 1 }],
};
