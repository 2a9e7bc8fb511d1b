/** Filters of libvirt's list calls: flags in groups, of which a group that is not mentioned lets everything through. */

/**
 * Whether something passes a filter.
 * @param flags what was asked for
 * @param traits by flag: whether the thing has it
 * @param groups flags of which one that is asked for has to be had
 */
export function passes(
  flags: number,
  traits: Readonly<Record<number, boolean>>,
  groups: readonly (readonly number[])[],
): boolean {
  return groups.every((group) => {
    const asked = group.filter((flag) => (flags & flag) !== 0);
    return asked.length === 0 || asked.some((flag) => traits[flag]);
  });
}
