/** Features whose commands are few: reopening, changing a mirror, plugging devices, running the CPUs, nodes of files. */
import fc from 'fast-check';
import { args, at, command, newNode, node, rarely } from './pools.ts';
import type { Step } from './script.ts';

type Steps = fc.Arbitrary<readonly Step[]>;

const one = (step: fc.Arbitrary<Step>): Steps => step.map((each) => [each]);

const fileOf = fc.constantFrom('copy', 'top', 'mid', 'base', 'raw').chain((name) =>
  fc
    .constantFrom(...(name === 'raw' ? (['raw'] as const) : (['qcow2', 'qcow2', 'qcow2', 'raw'] as const)))
    .map((driver) => ({
      driver,
      name,
    })),
);
// A qcow2 node that moves to another file would write its tables over what is there: it only gets its own.
const noFile = fc.constantFrom('nope', '');
const childOption = fc.constantFrom('raw-file', 'mid-file', 'nope');

/** What a node of a world says of itself again, with something changed. */
const formatOptions = fc
  .tuple(
    fileOf,
    args({
      file: rarely(noFile),
      backing: rarely(fc.constantFrom(null, 'mid', 'base', 'top', 'copy', 'n1', 'nope')),
      'read-only': rarely(fc.boolean()),
      'auto-read-only': rarely(fc.boolean()),
      discard: rarely(fc.constantFrom('unmap', 'ignore')),
      'detect-zeroes': rarely(fc.constantFrom('on', 'unmap', 'off')),
    }),
  )
  .map(([{ driver, name }, changed]) => ({
    driver,
    'node-name': name,
    file: `${name}-file`,
    ...(driver === 'qcow2' && { backing: BACKING[name] ?? null }),
    ...((name === 'mid' || name === 'base') && { 'read-only': true }),
    ...changed,
  }));

const BACKING: Readonly<Record<string, string>> = { top: 'mid', mid: 'base' };

const fileOptions = args({
  driver: fc.constantFrom('file', 'file', 'file', 'raw'),
  'node-name': fc.constantFrom('copy-file', 'raw-file', 'mid-file', 'f1'),
  filename: fc.constantFrom('copy.qcow2', 'raw.img', 'mid.qcow2', 'over.qcow2').map(at),
  'read-only': rarely(fc.boolean()),
  'auto-read-only': rarely(fc.boolean()),
  discard: rarely(fc.constantFrom('unmap', 'ignore')),
});

const otherOptions = args({
  driver: fc.constantFrom('raw', 'raw', 'null-co'),
  'node-name': rarely(fc.constantFrom('raw', 'n1', 'n2')),
  file: rarely(childOption),
});

const reopened = fc.oneof(
  { weight: 6, arbitrary: formatOptions },
  { weight: 2, arbitrary: fileOptions },
  { weight: 1, arbitrary: otherOptions },
);

const namedOnce = <T extends { readonly 'node-name'?: unknown }>(options: readonly T[]): readonly T[] =>
  options.filter((each, at) => options.findIndex((other) => other['node-name'] === each['node-name']) === at);

/**
 * blockdev-reopen. An empty list kills the real one, a list that names a node twice makes 10.0 hold it for good: both are
 * left to golden scripts.
 */
export const reopenSteps: Steps = one(
  command('blockdev-reopen', {
    options: fc.array(reopened, { minLength: 1, maxLength: 2 }).map(namedOnce),
  }),
);

/** block-job-change. */
export const changeSteps: Steps = fc.oneof(
  one(
    command('block-job-change', {
      id: fc.constantFrom('j1', 'j1', 'j1', 'j2', 'nope'),
      type: fc.constantFrom('mirror', 'mirror', 'mirror', 'commit', 'bogus'),
      'copy-mode': fc.constantFrom('write-blocking', 'write-blocking', 'background'),
    }),
  ),
  one(
    command('blockdev-mirror', {
      'job-id': fc.constant('j1'),
      device: fc.constant('top'),
      target: fc.constant('copy'),
      sync: fc.constantFrom('full', 'top', 'none'),
      'copy-mode': rarely(fc.constantFrom('background', 'write-blocking')),
      speed: rarely(fc.constant(1000)),
    }),
  ),
);

const policy = fc.constantFrom('report', 'ignore', 'enospc', 'stop', 'auto');
const deviceId = fc.constantFrom('vd0', 'vd1', 'vd1', 'vd2');

/** device_add, device_del, and the reset that lets devices go. */
export const deviceSteps: Steps = fc.oneof(
  {
    weight: 4,
    arbitrary: one(
      command('device_add', {
        driver: fc.constant('virtio-blk-pci'),
        drive: node,
        id: deviceId,
        werror: rarely(policy),
        rerror: rarely(policy),
        'share-rw': rarely(fc.boolean()),
      }),
    ),
  },
  { weight: 3, arbitrary: one(command('device_del', { id: deviceId })) },
  { weight: 1, arbitrary: one(command('system_reset')) },
  { weight: 2, arbitrary: fc.tuple(command('device_del', { id: deviceId }), command('system_reset')) },
  {
    weight: 2,
    arbitrary: one(
      fc.constantFrom('write -P 33 0 64k', 'read 0 512', 'flush').map((what) => ({
        execute: 'human-monitor-command',
        arguments: { 'command-line': `qemu-io -d /machine/peripheral/vd1/virtio-backend "${what}"` },
      })),
    ),
  },
);

/** stop, cont. */
export const runStateSteps: Steps = one(
  fc.constantFrom<Step>(
    { execute: 'cont' },
    { execute: 'cont' },
    { execute: 'stop' },
    { execute: 'stop' },
    { execute: 'query-status' },
    { execute: 'system_reset' },
    { execute: 'system_powerdown' },
    { execute: 'system_wakeup' },
  ),
);

const file = fc.constantFrom(
  'top-file',
  'mid-file',
  'base-file',
  'copy-file',
  'raw-file',
  'raw-file',
  'f1',
  'f2',
);
const any = fc.oneof({ weight: 3, arbitrary: file }, { weight: 1, arbitrary: node });
const id = { 'job-id': fc.constantFrom('j1', 'j2') } as const;
const sync = fc.constantFrom('full', 'top', 'none');

/** Jobs, snapshots and deletions with the nodes that formats lie on. */
export const protocolSteps: Steps = one(
  fc.oneof(
    command('blockdev-mirror', { ...id, device: any, target: any, sync }),
    command('blockdev-backup', { ...id, device: any, target: any, sync }),
    command('block-stream', { ...id, device: any, 'base-node': rarely(any), bottom: rarely(file) }),
    command('block-commit', { ...id, device: any, 'base-node': rarely(any), 'top-node': rarely(any) }),
    command('drive-mirror', {
      ...id,
      device: any,
      target: fc.constantFrom('new1.qcow2', 'new3.raw').map(at),
      sync,
      format: rarely(fc.constantFrom('raw', 'qcow2')),
    }),
    command('blockdev-snapshot', { node: any, overlay: file }),
    // An overlay on the file of a qcow2 image gets the image's tables: the simulation keeps contents, not containers.
    command('blockdev-snapshot', {
      node: fc.oneof(fc.constant('raw-file'), node),
      overlay: fc.constantFrom('copy', 'n1'),
    }),
    command('blockdev-del', { 'node-name': file }),
    command('block_resize', { 'node-name': file, size: fc.constantFrom(8 << 20, 9 << 20, 4 << 20) }),
    command('block-dirty-bitmap-add', { node: file, name: fc.constant('b1') }),
    command('blockdev-add', {
      driver: fc.constantFrom('raw', 'qcow2'),
      'node-name': newNode,
      file,
    }),
  ),
);

/** x-blockdev-change, which has nothing to work on here: only quorum takes children. */
export const quorumSteps: Steps = one(
  command('x-blockdev-change', {
    parent: node,
    child: rarely(fc.constantFrom('children.0', 'file', 'backing')),
    node: rarely(node),
  }),
);
