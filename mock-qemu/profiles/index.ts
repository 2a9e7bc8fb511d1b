/** The generations of QEMU that can be simulated. */
import type { KnownBugs, Profile } from './profile.ts';
import { qemu13 } from './qemu-1.3.ts';
import { qemu72 } from './qemu-7.2.ts';
import { qemu100 } from './qemu-10.0.ts';
import { rhel63 } from './rhel-6.3.ts';

/** Every profile, oldest first. */
export const profiles: readonly Profile[] = [rhel63, qemu13, qemu72, qemu100];

/** What is simulated where nobody names a profile. */
export const DEFAULT_PROFILE = qemu72.name;

/** The profile of that name; throws an Error that names it and lists the valid ones. */
export function profileNamed(name: string): Profile {
  const profile = profiles.find((candidate) => candidate.name === name);
  if (profile) return profile;
  const valid = profiles.map((candidate) => candidate.name).join(', ');
  throw new Error(`unknown profile '${name}'; valid profiles: ${valid}`);
}

const isBugOf = (profile: Profile, name: string): name is keyof KnownBugs =>
  Object.hasOwn(profile.bugs, name) && profile.bugs[name as keyof KnownBugs];

/**
 * The same generation with some of its known bugs fixed; throws an Error for a bug that it does not have, listing those
 * that it has.
 */
export function withoutBugs(profile: Profile, names: readonly string[]): Profile {
  // The same object, so that what is made once for each profile is not made for each machine.
  if (names.length === 0) return profile;
  const fixed: Partial<Record<keyof KnownBugs, false>> = {};
  for (const name of names) {
    if (!isBugOf(profile, name)) {
      const valid = Object.keys(profile.bugs).filter((each) => isBugOf(profile, each));
      throw new Error(`profile ${profile.name} has no bug '${name}'; it has: ${valid.join(', ') || 'none'}`);
    }
    fixed[name] = false;
  }
  return { ...profile, bugs: { ...profile.bugs, ...fixed } };
}
