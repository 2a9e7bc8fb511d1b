/** Which dialect a QEMU speaks: a table of predicates over what it says it can do, first match wins. */
import { ErrorCode, VirtError } from '../../../src/errors.ts';
import type { Probe } from '../probe.ts';
import { createBlockdevDialect } from './blockdev.ts';
import type { Dialect } from './dialect.ts';

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
