/** Many jobs at once, on disks that lie on each other: what plain scripts need thousands to come by. */
import fc from 'fast-check';
import { args, at, command, rarely } from './pools.ts';
import type { Step } from './script.ts';

const MIB = 2 ** 20;

/** Now and then a value: more often than `rarely`, as what is rare alone never meets another rare thing. */
const often = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 2, arbitrary });

const node = fc.constantFrom('top', 'copy', 'raw', 'over', 'small', 'n1', 'n2', 'mid', 'base');
const spare = fc.constantFrom('n1', 'n2');
const newFile = fc.constantFrom('new1.qcow2', 'new2.qcow2', 'new3.raw').map(at);
const id = fc.constantFrom('j1', 'j2', 'j3');

const COMMON = {
  'job-id': id,
  speed: often(fc.constantFrom(1, 1000, 0)),
  'auto-finalize': rarely(fc.constant(false)),
  'auto-dismiss': rarely(fc.constant(false)),
} as const;
const COPY = { ...COMMON, device: node, sync: fc.constantFrom('full', 'full', 'top', 'none') } as const;

const BACKUP = {
  ...COPY,
  compress: rarely(fc.constant(true)),
  'x-perf': rarely(args({ 'max-chunk': fc.constantFrom(65536, 131072) })),
} as const;
const MIRROR = {
  ...COPY,
  granularity: often(fc.constantFrom(512, 4096, 65536, MIB)),
  'buf-size': often(fc.constantFrom(65536, 131072, MIB)),
  'copy-mode': often(fc.constantFrom('background', 'write-blocking')),
} as const;

/** A target file of the format that its name says. */
const toFile = (step: Step): Step => ({
  ...step,
  arguments: {
    ...step.arguments,
    format: String(step.arguments?.target).endsWith('.raw') ? 'raw' : 'qcow2',
  },
});
const mode = rarely(fc.constant('existing'));

const starts = fc.oneof(
  command('blockdev-backup', { ...BACKUP, target: node }),
  command('drive-backup', { ...BACKUP, target: newFile, mode }).map(toFile),
  command('blockdev-mirror', { ...MIRROR, target: node }),
  command('drive-mirror', { ...MIRROR, target: newFile, mode, unmap: rarely(fc.boolean()) }).map(toFile),
  command('block-stream', {
    ...COMMON,
    device: fc.constantFrom('top', 'mid', 'over', 'n1'),
    'base-node': rarely(fc.constantFrom('base', 'mid', 'top')),
  }),
  command('block-commit', {
    ...COMMON,
    device: fc.constantFrom('top', 'over', 'n1'),
    'top-node': often(fc.constantFrom('mid', 'top')),
    'base-node': often(fc.constantFrom('base', 'mid')),
  }),
);

const verbs = fc.oneof(
  command('block-job-cancel', { device: id, force: rarely(fc.constant(true)) }),
  command('block-job-complete', { device: id }),
  command('block-job-pause', { device: id }),
  command('block-job-resume', { device: id }),
  command('block-job-set-speed', { device: id, speed: fc.constantFrom(0, 0, 1, 1000) }),
  command('job-finalize', { id }),
  command('job-dismiss', { id }),
);

const added = (name: string, file: string, backing: string | null | undefined): Step => ({
  execute: 'blockdev-add',
  arguments: {
    'node-name': name,
    driver: 'qcow2',
    file: { driver: 'file', filename: at(file) },
    ...(backing !== undefined && { backing }),
  },
});

const graph = fc.oneof(
  fc.constantFrom('top', 'mid', 'base', null).map((backing) => added('over', 'over.qcow2', backing)),
  fc.constant(added('small', 'small.qcow2', undefined)),
  fc
    .tuple(spare, fc.constantFrom('over', 'new1', 'small'), fc.constantFrom('mid', 'base', null))
    .map(([name, file, backing]) => added(name, `${file}.qcow2`, backing)),
  command('blockdev-add', {
    'node-name': spare,
    driver: fc.constant('null-co'),
    size: fc.constant(8 * MIB),
    'read-zeroes': often(fc.constant(true)),
  }),
  command('blockdev-snapshot', {
    node: fc.constantFrom('top', 'copy', 'raw'),
    overlay: fc.constantFrom('over', 'small', 'n1', 'n2'),
  }),
  command('blockdev-snapshot-sync', {
    'node-name': fc.constantFrom('top', 'copy', 'raw', 'n1'),
    'snapshot-file': fc.constantFrom('new1.qcow2', 'new2.qcow2').map(at),
    'snapshot-node-name': spare,
  }),
  command('block_resize', {
    'node-name': node,
    size: fc.constantFrom(8 * MIB, 10 * MIB, 6 * MIB, 4 * MIB, 0),
  }),
  command('blockdev-del', { 'node-name': node }),
);

const offset = fc.constantFrom('0', '512', '65024', '64k', '1M', '2097664', '3M', '4M', '7M');
const length = fc.constantFrom('512', '64k', '65024', '128k', '1M');
const guest = fc
  .tuple(
    fc.constantFrom('copy', 'raw', 'over', 'n1', 'n2', 'top', 'drive0'),
    fc.constantFrom('write -P 77', 'write -P 78', 'write -P 79', 'write -z', 'discard'),
    offset,
    length,
  )
  .map(
    ([where, what, start, bytes]): Step => ({
      execute: 'human-monitor-command',
      arguments: { 'command-line': `qemu-io ${where} "${what} ${start} ${bytes}"` },
    }),
  );

const queries = fc.constantFrom<Step>(
  { execute: 'query-blockstats' },
  { execute: 'query-named-block-nodes' },
  { execute: 'query-block' },
);

/** Jobs of all kinds, mostly slow, with what starts, moves and disturbs them. */
export const busySteps: fc.Arbitrary<readonly Step[]> = fc
  .oneof(
    { weight: 6, arbitrary: starts },
    { weight: 4, arbitrary: verbs },
    { weight: 3, arbitrary: graph },
    { weight: 3, arbitrary: guest },
    { weight: 1, arbitrary: queries },
  )
  .map((step) => [step]);
