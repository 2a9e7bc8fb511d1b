/** Every command that is simulated, by name. */

import type { Profile } from '../../profiles/profile.ts';
import { bitmapCommands } from './bitmaps.ts';
import { blockQueryCommands } from './block-query.ts';
import { chainCommands } from './chain.ts';
import { copyCommands } from './copy.ts';
import { earlyCopyCommands } from './early-copy.ts';
import { earlyJobCommands } from './early-jobs.ts';
import { earlyQueryCommands } from './early-query.ts';
import { exportCommands } from './exports.ts';
import { hmpCommands } from './hmp.ts';
import { jobVerbCommands } from './job-verbs.ts';
import { lifecycleCommands } from './lifecycle.ts';
import { mediaCommands } from './media.ts';
import { migrationCommands } from './migration.ts';
import { nodeCommands } from './nodes.ts';
import { objectCommands } from './objects.ts';
import { rareCommands } from './rare.ts';
import { reopenCommands } from './reopen.ts';
import { snapshotCommands } from './snapshots.ts';
import type { CommandTable, Handler } from './table.ts';
import { throttleCommands } from './throttling.ts';
import { transactionCommands } from './transaction.ts';

/** The handlers; a command that a profile lists and these tables lack cannot be simulated. */
const commands: CommandTable = {
  ...lifecycleCommands,
  ...blockQueryCommands,
  ...nodeCommands,
  ...reopenCommands,
  ...chainCommands,
  ...copyCommands,
  ...bitmapCommands,
  ...transactionCommands,
  ...jobVerbCommands,
  ...hmpCommands,
  ...snapshotCommands,
  ...mediaCommands,
  ...migrationCommands,
  ...throttleCommands,
  ...objectCommands,
  ...exportCommands,
  ...rareCommands,
};

/** What takes the place of a handler where a switch is off. */
const REPLACED: readonly {
  readonly where: (profile: Profile) => boolean;
  readonly by: CommandTable;
}[] = [
  { where: ({ behaviour }) => !behaviour.jobStatusEvents, by: earlyJobCommands },
  { where: ({ behaviour }) => behaviour.mirrorProgress === 'disk-size', by: earlyCopyCommands },
  { where: ({ behaviour }) => !behaviour.nodeNames, by: earlyQueryCommands },
];

const tables = new WeakMap<Profile, ReadonlyMap<string, Handler>>();

/** The handlers of a profile: all machines that have it share one table. */
function tableOf(profile: Profile): ReadonlyMap<string, Handler> {
  const known = tables.get(profile);
  if (known) return known;
  const replaced = REPLACED.filter(({ where }) => where(profile)).map(({ by }) => by);
  // Where several replace a handler, the first one does.
  const table = new Map(Object.entries(Object.assign({}, commands, ...replaced.reverse()) as CommandTable));
  tables.set(profile, table);
  return table;
}

/** The handler of a command as a profile has it; undefined: it cannot be simulated. */
export function handlerOf(profile: Profile, command: string): Handler | undefined {
  return tableOf(profile).get(profile.aliases[command] ?? command);
}
