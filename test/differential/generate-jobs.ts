/** Commands that start jobs and act on them. */
import fc from 'fast-check';
import { args, at, command, jobId, mostly, node, rarely } from './pools.ts';
import type { Step } from './script.ts';

// Slow enough that a job sleeps for minutes after its first step: then only commands move it.
const speed = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(1000, 1) },
  { weight: 1, arbitrary: fc.constantFrom(0, -1) },
);
const policy = fc.constantFrom('report', 'ignore', 'enospc', 'stop', 'auto');
const file = fc.constantFrom('base.qcow2', 'mid.qcow2', 'top.qcow2', 'nope').map(at);
const newFile = fc.constantFrom('new1.qcow2', 'new2.qcow2', 'new3.raw', 'copy.qcow2', 'no/such').map(at);

const COMMON = {
  'job-id': mostly(jobId),
  speed: rarely(speed),
  'auto-finalize': rarely(fc.boolean()),
  'auto-dismiss': rarely(fc.boolean()),
} as const;
const FILTER = { 'filter-node-name': rarely(fc.constantFrom('filter', 'top', '1x', 'n1')) } as const;

const sync = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('full', 'top', 'none') },
  { weight: 1, arbitrary: fc.constantFrom('incremental', 'bitmap') },
);

const MIRROR = {
  ...COMMON,
  device: node,
  sync,
  granularity: rarely(fc.constantFrom(4096, 65536, 1048576, 0, 512, 1000, 256)),
  'buf-size': rarely(fc.constantFrom(65536, 131072, 0, 1048576, -1)),
  'copy-mode': rarely(fc.constantFrom('background', 'write-blocking')),
  'on-source-error': rarely(policy),
  'on-target-error': rarely(policy),
  replaces: rarely(node),
} as const;

const BACKUP = {
  ...COMMON,
  ...FILTER,
  device: node,
  sync,
  bitmap: rarely(fc.constantFrom('b1', 'b2')),
  'bitmap-mode': rarely(fc.constantFrom('on-success', 'never', 'always')),
  compress: rarely(fc.boolean()),
  'on-source-error': rarely(policy),
  'on-target-error': rarely(policy),
  'x-perf': rarely(
    args({
      'max-workers': rarely(fc.constantFrom(1, 0, 64)),
      'max-chunk': rarely(fc.constantFrom(0, 65536, -1)),
    }),
  ),
} as const;

/** Members of the two backups, for transactions. */
export const BACKUP_MEMBERS = {
  'blockdev-backup': { ...BACKUP, target: node },
  'drive-backup': {
    ...BACKUP,
    target: newFile,
    format: rarely(fc.constantFrom('qcow2', 'raw', 'bogus')),
    mode: rarely(fc.constantFrom('existing', 'absolute-paths')),
  },
} as const;

/** block-stream and so on. */
export const jobStarts: fc.Arbitrary<Step> = fc.oneof(
  command('block-stream', {
    ...COMMON,
    ...FILTER,
    device: node,
    base: rarely(file),
    'base-node': rarely(node),
    bottom: rarely(node),
    'backing-file': rarely(file),
    'on-error': rarely(policy),
  }),
  command('block-commit', {
    ...COMMON,
    ...FILTER,
    device: node,
    'base-node': rarely(node),
    base: rarely(file),
    'top-node': rarely(node),
    top: rarely(file),
    'backing-file': rarely(file),
    'on-error': rarely(policy),
  }),
  command('blockdev-mirror', { ...MIRROR, ...FILTER, target: node }),
  command('blockdev-mirror', {
    'job-id': fc.constantFrom('j1', 'j2'),
    device: fc.constant('top'),
    target: fc.constant('copy'),
    sync: fc.constantFrom('full', 'top', 'none'),
    'auto-finalize': rarely(fc.boolean()),
    'auto-dismiss': rarely(fc.boolean()),
    'buf-size': rarely(fc.constant(65536)),
    speed: rarely(fc.constant(1000)),
  }),
  command('drive-mirror', {
    ...MIRROR,
    target: newFile,
    format: rarely(fc.constantFrom('qcow2', 'raw', 'bogus')),
    mode: rarely(fc.constantFrom('existing', 'absolute-paths')),
    'node-name': rarely(fc.constantFrom('n1', 'top')),
    unmap: rarely(fc.boolean()),
  }),
  command('blockdev-backup', BACKUP_MEMBERS['blockdev-backup']),
  command('drive-backup', BACKUP_MEMBERS['drive-backup']),
);

/** Verbs, by either family of commands. */
export const jobVerbs: fc.Arbitrary<Step> = fc.oneof(
  command('block-job-cancel', { device: jobId, force: rarely(fc.boolean()) }),
  command('block-job-pause', { device: jobId }),
  command('block-job-resume', { device: jobId }),
  command('block-job-complete', { device: jobId }),
  command('block-job-complete', { device: fc.constant('j1') }),
  command('block-job-set-speed', { device: jobId, speed }),
  command('block-job-set-speed', { device: fc.constant('j1'), speed: fc.constant(0) }),
  command('block-job-finalize', { id: jobId }),
  command('block-job-dismiss', { id: jobId }),
  command('job-cancel', { id: jobId }),
  command('job-pause', { id: jobId }),
  command('job-resume', { id: jobId }),
  command('job-complete', { id: jobId }),
  command('job-finalize', { id: jobId }),
  command('job-dismiss', { id: jobId }),
);
