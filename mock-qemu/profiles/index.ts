/** The generations of QEMU that can be simulated. */
import type { Profile } from './profile.ts';
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
