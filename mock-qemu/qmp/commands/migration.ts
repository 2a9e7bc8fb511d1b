/** Migration into a file and out of one: how machines are saved and restored. */
import { refuse } from '../../core/errors.ts';
import { migrate, migrateIncoming } from '../../core/migration.ts';
import { enumOfReply } from './introspection.ts';
import { type CommandTable, isObject, needText } from './table.ts';

/** Commands about migration. */
export const migrationCommands: CommandTable = {
  migrate: ({ vm }, args) => {
    const { status } = vm.migration;
    if (status === 'setup' || status === 'active') refuse("There's a migration process in progress");
    migrate(vm, needText(args, 'uri'));
    return undefined;
  },
  'migrate-incoming': ({ vm }, args) => {
    migrateIncoming(vm, needText(args, 'uri'));
    return undefined;
  },
  migrate_cancel: () => undefined,
  'query-migrate': ({ vm: { migration } }) => ({
    ...(migration.status !== 'none' && { status: migration.status }),
    ...(migration.error !== undefined && { 'error-desc': migration.error }),
  }),
  'query-migrate-capabilities': ({ vm, profile }) =>
    enumOfReply(profile, 'query-migrate-capabilities', 'capability').map((capability) => ({
      capability,
      state: capability === 'events' && vm.migration.tells,
    })),
  'migrate-set-capabilities': ({ vm }, { capabilities }) => {
    for (const each of Array.isArray(capabilities) ? capabilities : []) {
      if (isObject(each) && each.capability === 'events') vm.migration.tells = each.state === true;
    }
    return undefined;
  },
};
