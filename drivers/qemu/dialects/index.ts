/** Which dialect a QEMU speaks: a table of predicates over what it says it can do, first match wins. */
import { ErrorCode, VirtError } from '../../../src/errors.ts';
import type { Probe } from '../probe.ts';
import { createBlockdevDialect } from './blockdev.ts';
import type { Dialect } from './dialect.ts';
import { createDriveMirrorDialect } from './drive-mirror.ts';
import { createRhel6Dialect } from './rhel6.ts';

interface Row {
  readonly name: string;
  /** Commands without which the dialect does not work. */
  readonly commands: readonly string[];
  /** Arguments without which it does not work; taken for granted where the QEMU cannot describe itself. */
  readonly arguments: readonly (readonly [command: string, argument: string])[];
  make(probe: Probe): Dialect;
}

const DIALECTS: readonly Row[] = [
  {
    name: 'blockdev',
    commands: [
      'blockdev-add',
      'blockdev-create',
      'blockdev-del',
      'blockdev-mirror',
      'block-commit',
      'block-stream',
      'block-job-cancel',
      'job-complete',
      'job-dismiss',
      'query-block-jobs',
      'query-jobs',
      'query-named-block-nodes',
      'transaction',
    ],
    arguments: [
      ['blockdev-mirror', 'auto-dismiss'],
      ['block-commit', 'base-node'],
      ['block-stream', 'base-node'],
    ],
    make: (probe) =>
      createBlockdevDialect({
        flat: probe.hasArgument('query-named-block-nodes', 'flat') ?? false,
        writeOnlyOverlay: probe.hasFeature('blockdev-snapshot', 'allow-write-only-overlay'),
        copyMode: probe.hasArgument('blockdev-mirror', 'copy-mode') ?? false,
      }),
  },
  {
    name: 'drive-mirror',
    commands: [
      'drive-mirror',
      'block-commit',
      'block-job-complete',
      'block-stream',
      'block-job-cancel',
      'block-job-set-speed',
      'query-block',
      'query-block-jobs',
    ],
    arguments: [],
    // Few of these QEMUs can describe themselves: an argument is as old as some command.
    make: ({ commands }) =>
      createDriveMirrorDialect({
        copyTuning: commands.has('drive-backup'),
        backingFile: commands.has('change-backing-file'),
        activeCommit: commands.has('change-backing-file'),
      }),
  },
  {
    name: 'rhel6',
    commands: [
      '__com.redhat_drive-mirror',
      '__com.redhat_drive-reopen',
      'block-stream',
      'block-job-cancel',
      'block-job-set-speed',
      'query-block',
      'query-block-jobs',
    ],
    arguments: [],
    make: ({ commands }) => createRhel6Dialect({ commit: commands.has('__com.redhat_block-commit') }),
  },
];

function missing(row: Row, probe: Probe): readonly string[] {
  const commands = row.commands.filter((command) => !probe.commands.has(command));
  const options = row.arguments.filter(([command, name]) => probe.hasArgument(command, name) === false);
  return [...commands, ...options.map(([command, name]) => `${command}/${name}`)];
}

/** The dialect for a QEMU. Throws CONFIG_UNSUPPORTED, naming what is missing, if it speaks none. */
export function chooseDialect(probe: Probe): Dialect {
  const lacks = DIALECTS.map((row) => ({ row, missing: missing(row, probe) }));
  const fit = lacks.find((candidate) => candidate.missing.length === 0);
  if (fit !== undefined) return fit.row.make(probe);
  const why = lacks
    .map((candidate) => `${candidate.row.name} needs ${candidate.missing.join(', ')}`)
    .join('; ');
  throw new VirtError(
    ErrorCode.CONFIG_UNSUPPORTED,
    `block jobs not supported with this QEMU binary (${probe.hypervisor}: ${why}): use another QEMU`,
  );
}
