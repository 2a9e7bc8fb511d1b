/** Injected errors: blkdebug nodes above and below formats, jobs with policies over them, and what a user does then. */
import fc from 'fast-check';
import type { JsonObject } from '../../src/qmp/messages.ts';
import { args, at, command, mostly, rarely } from './pools.ts';
import type { Script, Step } from './script.ts';

const EVENTS_OF_FORMATS = [
  'read_aio',
  'write_aio',
  'read_backing_aio',
  'flush_to_os',
  'flush_to_disk',
  'cluster_alloc',
  'l2_update',
] as const;

const event = fc.oneof(
  { weight: 10, arbitrary: fc.constant('none') },
  { weight: 4, arbitrary: fc.constantFrom('pwritev', 'pwritev_zero') },
  { weight: 4, arbitrary: fc.constantFrom(...EVENTS_OF_FORMATS) },
);
const ioType = fc.constantFrom('read', 'write', 'write-zeroes', 'flush', 'discard', 'block-status');
const MIB_SECTORS = 2048;
const sector = fc.constantFrom(
  0,
  1,
  MIB_SECTORS,
  2 * MIB_SECTORS,
  3 * MIB_SECTORS,
  4 * MIB_SECTORS,
  8 * MIB_SECTORS,
  -1,
);

const rule = args({
  event,
  iotype: mostly(ioType),
  errno: mostly(fc.constantFrom(5, 28, 28, 1, 0)),
  sector: rarely(sector),
  once: fc.option(fc.boolean(), { nil: undefined }),
  immediately: rarely(fc.boolean()),
  state: rarely(fc.constantFrom(0, 1, 2)),
});
const stateRule = args({ event, state: rarely(fc.constantFrom(0, 1, 2)), new_state: fc.constantFrom(1, 2) });

const rules = {
  'inject-error': fc.array(rule, { minLength: 1, maxLength: 2 }),
  'set-state': rarely(fc.array(stateRule, { minLength: 1, maxLength: 2 })),
  align: rarely(fc.constantFrom(512, 4096, 3)),
} as const;

const DEBUG = ['d1', 'd1', 'd2'] as const;
const debugNode = fc.constantFrom(...DEBUG);
const storageOf = (names: readonly string[]) =>
  args({ driver: fc.constant('file'), filename: fc.constantFrom(...names).map(at) });

const above = command('blockdev-add', {
  driver: fc.constant('blkdebug'),
  'node-name': debugNode,
  image: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom('copy', 'copy', 'raw', 'raw') },
    { weight: 1, arbitrary: fc.constantFrom('n1', 'f1', 'nope') },
    {
      weight: 2,
      arbitrary: args({
        driver: fc.constant('qcow2'),
        file: storageOf(['over.qcow2', 'small.qcow2']),
        backing: fc.constant(null),
      }),
    },
  ),
  ...rules,
});

const below = command('blockdev-add', {
  driver: fc.constant('qcow2'),
  'node-name': fc.constantFrom('n1', 'n1', 'n2', 'd1'),
  file: args({
    driver: fc.constant('blkdebug'),
    image: storageOf(['over.qcow2', 'over.qcow2', 'small.qcow2']),
    ...rules,
  }),
  backing: fc.constant(null),
});

const policy = fc.constantFrom('report', 'ignore', 'enospc', 'stop', 'stop', 'auto');
const disk = fc.constantFrom('top', 'raw', 'copy', 'n1', 'd1');
const target = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('d1', 'n1') },
  { weight: 1, arbitrary: fc.constantFrom('copy', 'raw', 'd2', 'n2') },
);
const ends = {
  'job-id': fc.constantFrom('j1', 'j1', 'j2'),
  'auto-finalize': rarely(fc.boolean()),
  'auto-dismiss': rarely(fc.boolean()),
  speed: rarely(fc.constantFrom(1000, 0)),
} as const;
const copies = {
  ...ends,
  device: disk,
  target,
  sync: fc.constantFrom('full', 'full', 'top', 'none'),
  'on-source-error': rarely(policy),
  'on-target-error': mostly(policy),
} as const;

const jobs = fc.oneof(
  {
    weight: 4,
    arbitrary: command('blockdev-mirror', {
      ...copies,
      'buf-size': rarely(fc.constantFrom(65536, 1048576)),
      'copy-mode': rarely(fc.constantFrom('background', 'write-blocking')),
    }),
  },
  { weight: 3, arbitrary: command('blockdev-backup', copies) },
  {
    weight: 2,
    arbitrary: command('block-stream', {
      ...ends,
      device: fc.constantFrom('n1', 'top', 'd1'),
      'on-error': mostly(policy),
    }),
  },
  {
    weight: 2,
    arbitrary: command('block-commit', {
      ...ends,
      device: fc.constantFrom('n1', 'top'),
      'base-node': rarely(fc.constantFrom('mid', 'base', 'top')),
      'on-error': mostly(policy),
    }),
  },
);

const io = fc
  .tuple(
    fc.constantFrom('d1', 'n1', '-d /machine/peripheral/vd0/virtio-backend', 'drive0'),
    fc.oneof(
      fc.constantFrom('flush', 'discard 1M 64k', 'write -z 2M 64k', 'write -z 0 512'),
      fc.constantFrom('write -P 9 0 64k', 'write -P 10 1M 128k', 'write -P 11 512 512', 'write -P 12 4M 1M'),
      fc.constantFrom('read 0 64k', 'read 1M 1M', 'read 3M 64k', 'read 8323072 64k'),
    ),
  )
  .map(
    ([where, what]): Step => ({
      execute: 'human-monitor-command',
      arguments: { 'command-line': `qemu-io ${where} "${what}"` },
    }),
  );

const verbs = fc.constantFrom<Step>(
  { execute: 'block-job-resume', arguments: { device: 'j1' } },
  { execute: 'block-job-resume', arguments: { device: 'j1' } },
  { execute: 'job-resume', arguments: { id: 'j1' } },
  { execute: 'block-job-complete', arguments: { device: 'j1' } },
  { execute: 'block-job-cancel', arguments: { device: 'j1' } },
  { execute: 'block-job-cancel', arguments: { device: 'j1', force: true } },
  { execute: 'blockdev-snapshot', arguments: { node: 'top', overlay: 'n1' } },
);

const debugged = fc.oneof({ weight: 3, arbitrary: above }, { weight: 2, arbitrary: below });
const one = (step: fc.Arbitrary<Step>): fc.Arbitrary<readonly Step[]> => step.map((each) => [each]);

/** Steps of the feature, in groups that belong together. */
export const errorSteps: fc.Arbitrary<readonly Step[]> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(debugged, jobs, verbs) },
  { weight: 2, arbitrary: fc.tuple(debugged, io, jobs, io) },
  { weight: 2, arbitrary: one(debugged) },
  { weight: 2, arbitrary: one(jobs) },
  { weight: 2, arbitrary: one(io) },
  { weight: 3, arbitrary: one(verbs) },
);

const POLICIES = ['on-error', 'on-source-error', 'on-target-error'] as const;

const ignores = ({ arguments: given = {} }: Step): boolean =>
  POLICIES.some((name) => given[name] === 'ignore');

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Every injected error of a command, changed. */
function withRules(options: JsonObject, change: (rule: JsonObject) => JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(options).map(([name, value]) => {
      if (name === 'inject-error' && Array.isArray(value)) {
        return [name, value.map((each) => (isObject(each) ? change(each) : each))];
      }
      return [name, isObject(value) ? withRules(value, change) : value];
    }),
  ) as JsonObject;
}

const text = (script: Script): string => JSON.stringify(script.steps);

/** One request in flight at a time, so that there is no question which one meets an error. */
function oneByOne(step: Step): Step {
  const { execute, arguments: given = {} } = step;
  if (execute.endsWith('-mirror'))
    return { execute, arguments: { ...given, granularity: 65536, 'buf-size': 65536 } };
  const isBackup = execute.endsWith('-backup');
  return isBackup ? { execute, arguments: { ...given, 'x-perf': { 'max-workers': 1 } } } : step;
}

/**
 * Takes from a script what has no end, or no order: an error that is ignored and always comes again is tried for ever,
 * and of requests that are in flight together any may be the one that meets an error that comes once.
 */
export function tamed(script: Script): Script {
  if (!text(script).includes('"inject-error"')) return script;
  const endless = script.steps.some(ignores);
  const steps = script.steps.map((step) =>
    endless && step.arguments
      ? { ...step, arguments: withRules(step.arguments, (each) => ({ ...each, once: true })) }
      : step,
  );
  const isOrdered = text(script).includes('"once":true') || text(script).includes('"sector"') || endless;
  return { ...script, steps: isOrdered ? steps.map(oneByOne) : steps };
}
