/** Command scripts: what is run on both sides, and how a person reads and pastes one. */
import type { JsonObject } from '../../src/qmp/messages.ts';
import { launchLines, type WorldName } from './worlds.ts';

/** One command. After it both sides come to rest before the next one is sent. */
export interface Step {
  readonly execute: string;
  readonly arguments?: JsonObject;
}

/** Commands against a freshly started machine. */
export interface Script {
  readonly world: WorldName;
  readonly steps: readonly Step[];
}

/** The directory in texts that outlive the run. */
export const PLACE = '/D';

const shown = ({ execute, arguments: args }: Step): string => JSON.stringify({ execute, arguments: args });

/**
 * A script as shell text: it builds the images, starts QEMU with QMP on its standard streams and sends the commands one
 * by one.
 */
export function pasteable(script: Script, qemu: string): string {
  return [
    `mkdir -p ${PLACE} && cd ${PLACE}`,
    ...launchLines(script.world, PLACE),
    "(while IFS= read -r line; do printf '%s\\n' \"$line\"; sleep 0.3; done <<'EOF'",
    '{"execute":"qmp_capabilities"}',
    ...script.steps.map(shown),
    '{"execute":"quit"}',
    'EOF',
    `) | ${qemu} "$@" -qmp stdio`,
  ].join('\n');
}
