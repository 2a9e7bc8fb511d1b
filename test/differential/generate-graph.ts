/** Commands that change the graph or ask about it. */
import fc from 'fast-check';
import type { Json, JsonObject } from '../../src/qmp/messages.ts';
import { BACKUP_MEMBERS } from './generate-jobs.ts';
import { args, at, command, newNode, node, rarely } from './pools.ts';
import type { Step } from './script.ts';

const MIB = 2 ** 20;

const path = fc
  .constantFrom('copy.qcow2', 'over.qcow2', 'small.qcow2', 'raw.img', 'new1.qcow2', 'new2.qcow2', 'nope')
  .map(at);
const storage = args({ driver: fc.constant('file'), filename: path });

const blockdevAdd: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: command('blockdev-add', {
      driver: fc.constantFrom('qcow2', 'qcow2', 'raw'),
      'node-name': newNode,
      file: fc.oneof(storage, fc.constantFrom('f1', 'f2', 'copy-file')),
      backing: fc.option(fc.constantFrom<Json>('mid', 'base', 'top', 'nope'), { nil: null, freq: 3 }),
      'read-only': rarely(fc.boolean()),
    }).map(({ execute, arguments: drawn }) => ({ execute, arguments: withoutBacking(drawn ?? {}) })),
  },
  {
    weight: 2,
    arbitrary: command('blockdev-add', {
      driver: fc.constant('file'),
      'node-name': fc.constantFrom('f1', 'f2'),
      filename: path,
      discard: rarely(fc.constantFrom('unmap', 'ignore')),
      'read-only': rarely(fc.boolean()),
    }),
  },
  {
    weight: 1,
    arbitrary: command('blockdev-add', {
      driver: fc.constantFrom('null-co', 'null-aio'),
      'node-name': newNode,
      size: rarely(fc.constantFrom(8 * MIB, MIB)),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Step>(
      added('over', { driver: 'qcow2', file: { driver: 'file', filename: at('over.qcow2') }, backing: null }),
      added('small', { driver: 'qcow2', file: { driver: 'file', filename: at('small.qcow2') } }),
    ),
  },
);

// raw has no backing file: drawing one would make nearly all of its commands malformed.
function withoutBacking(drawn: JsonObject): JsonObject {
  if (drawn.driver === 'qcow2') return drawn;
  const { backing: _, ...rest } = drawn;
  return rest;
}

function added(name: string, options: JsonObject): Step {
  return { execute: 'blockdev-add', arguments: { 'node-name': name, ...options } };
}

const snapshotMembers = { node, overlay: fc.oneof(fc.constantFrom('over', 'copy', 'n1'), node) } as const;
const snapshotSyncMembers = {
  device: rarely(node),
  'node-name': rarely(node),
  'snapshot-file': fc.constantFrom('new1.qcow2', 'new2.qcow2', 'no/such').map(at),
  'snapshot-node-name': rarely(newNode),
  format: rarely(fc.constantFrom('qcow2', 'raw')),
  mode: rarely(fc.constantFrom('existing', 'absolute-paths')),
} as const;

const bitmapName = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom('b1', 'b1', 'b2') },
  { weight: 1, arbitrary: fc.constantFrom('') },
);
const BITMAP_MEMBERS = {
  'block-dirty-bitmap-add': {
    node,
    name: bitmapName,
    granularity: rarely(fc.constantFrom(512, 65536, 100, 1000, 0)),
    persistent: rarely(fc.boolean()),
    disabled: rarely(fc.boolean()),
  },
  'block-dirty-bitmap-remove': { node, name: bitmapName },
  'block-dirty-bitmap-clear': { node, name: bitmapName },
  'block-dirty-bitmap-enable': { node, name: bitmapName },
  'block-dirty-bitmap-disable': { node, name: bitmapName },
  'block-dirty-bitmap-merge': {
    node,
    target: bitmapName,
    bitmaps: fc.array(fc.oneof(bitmapName, args({ node, name: bitmapName })), { maxLength: 2 }),
  },
} as const;

/** block-dirty-bitmap-*. */
export const bitmaps: fc.Arbitrary<Step> = fc.oneof(
  command('block-dirty-bitmap-add', {
    ...BITMAP_MEMBERS['block-dirty-bitmap-add'],
    node: fc.constant('top'),
  }),
  ...Object.entries(BITMAP_MEMBERS).map(([name, members]) => command(name, members)),
);

const ACTIONS: Readonly<Record<string, Record<string, fc.Arbitrary<unknown>>>> = {
  abort: {},
  'blockdev-snapshot': snapshotMembers,
  'blockdev-snapshot-sync': snapshotSyncMembers,
  ...BACKUP_MEMBERS,
  ...BITMAP_MEMBERS,
};

const action = fc.oneof(
  ...Object.entries(ACTIONS).map(([type, members]) =>
    args(members).map((data): JsonObject => ({ type, data })),
  ),
);

const transaction = command('transaction', {
  actions: fc.array(action, { maxLength: 3 }),
  properties: rarely(args({ 'completion-mode': fc.constantFrom('grouped', 'individual') })),
});

const create = command('blockdev-create', {
  'job-id': fc.constantFrom('j1', 'j2'),
  options: fc.oneof(
    args({
      driver: fc.constant('file'),
      filename: fc.constantFrom('new1.qcow2', 'new2.qcow2', 'no/such').map(at),
      size: fc.constantFrom(0, MIB),
    }),
    args({
      driver: fc.constant('qcow2'),
      file: fc.oneof(fc.constantFrom('f1', 'copy-file', 'nope')),
      size: fc.constantFrom(8 * MIB, 4 * MIB),
      'cluster-size': rarely(fc.constantFrom(65536, 4096)),
      'backing-file': rarely(fc.constant(at('base.qcow2'))),
      'backing-fmt': rarely(fc.constantFrom('qcow2', 'raw')),
    }),
    args({ driver: fc.constantFrom('raw', 'null-co'), size: fc.constant(MIB) }),
  ),
});

/** blockdev-add and so on. */
export const graphCommands: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: blockdevAdd },
  { weight: 3, arbitrary: command('blockdev-del', { 'node-name': node }) },
  { weight: 2, arbitrary: create },
  { weight: 2, arbitrary: command('blockdev-snapshot', snapshotMembers) },
  { weight: 2, arbitrary: command('blockdev-snapshot-sync', snapshotSyncMembers) },
  { weight: 4, arbitrary: transaction },
  {
    weight: 2,
    arbitrary: command('change-backing-file', {
      device: node,
      'image-node-name': node,
      'backing-file': fc
        .constantFrom('base.qcow2', 'mid.qcow2', 'anything', '')
        .map((name) => name && at(name)),
    }),
  },
  {
    weight: 2,
    arbitrary: command('block_resize', {
      device: rarely(node),
      'node-name': rarely(node),
      size: fc.constantFrom(8 * MIB, 10 * MIB, 6 * MIB, 0, -1, 1000),
    }),
  },
  {
    weight: 1,
    arbitrary: command('block-set-write-threshold', {
      'node-name': node,
      'write-threshold': fc.constantFrom(0, MIB, 100),
    }),
  },
);

/** Queries that scripts may send at any time. */
export const queries: fc.Arbitrary<Step> = fc.oneof(
  command('query-block'),
  command('query-named-block-nodes', { flat: rarely(fc.boolean()) }),
  command('query-blockstats', { 'query-nodes': rarely(fc.boolean()) }),
  command('query-status'),
  command('nosuch'),
);
