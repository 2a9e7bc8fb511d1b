/** What a profile's captured schema says of replies. */
import type { Profile } from '../../profiles/profile.ts';

/** The values of the enum that a command's list of objects has as a member. */
export function enumOfReply({ introspection }: Profile, command: string, member: string): readonly string[] {
  const entity = (name: string | undefined) => introspection.schema.find((each) => each.name === name);
  const called = entity(command);
  const list = called?.['meta-type'] === 'command' ? entity(called['ret-type']) : undefined;
  const item = list?.['meta-type'] === 'array' ? entity(list['element-type']) : undefined;
  const members = item?.['meta-type'] === 'object' ? item.members : [];
  const found = entity(members.find(({ name }) => name === member)?.type);
  return found?.['meta-type'] === 'enum' ? found.members.map(({ name }) => name) : [];
}
