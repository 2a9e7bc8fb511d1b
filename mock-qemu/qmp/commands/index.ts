/** Every command that is simulated, by name. */
import { bitmapCommands } from './bitmaps.ts';
import { blockQueryCommands } from './block-query.ts';
import { chainCommands } from './chain.ts';
import { copyCommands } from './copy.ts';
import { hmpCommands } from './hmp.ts';
import { jobVerbCommands } from './job-verbs.ts';
import { lifecycleCommands } from './lifecycle.ts';
import { nodeCommands } from './nodes.ts';
import type { CommandTable } from './table.ts';
import { transactionCommands } from './transaction.ts';

/** The handlers; a command that a profile lists and this table lacks cannot be simulated. */
export const commands: CommandTable = {
  ...lifecycleCommands,
  ...blockQueryCommands,
  ...nodeCommands,
  ...chainCommands,
  ...copyCommands,
  ...bitmapCommands,
  ...transactionCommands,
  ...jobVerbCommands,
  ...hmpCommands,
};
