/** What random scripts may contain beyond the commands of every script, by name. */
import type fc from 'fast-check';
import { busySteps } from './generate-busy.ts';
import { errorSteps, tamed } from './generate-errors.ts';
import {
  changeSteps,
  deviceSteps,
  protocolSteps,
  quorumSteps,
  reopenSteps,
  runStateSteps,
} from './generate-more.ts';
import type { Script, Step } from './script.ts';

/** One feature. */
export interface Feature {
  readonly name: string;
  readonly about: string;
  /** Groups of steps, each of which keeps its order. */
  readonly steps: fc.Arbitrary<readonly Step[]>;
  /** Takes from a script what the feature cannot foresee. */
  readonly tame?: (script: Script) => Script;
  /** Profiles that have it; left out: all. */
  readonly profiles?: readonly string[];
  /** Profiles on which both sides agree so far: there it is drawn unless `--features` says otherwise. */
  readonly agreesOn: readonly string[];
}

const BOTH = ['qemu-7.2', 'qemu-10.0'] as const;

/** All features. */
export const FEATURES: readonly Feature[] = [
  {
    name: 'errors',
    about: 'blkdebug, error policies, resume',
    steps: errorSteps,
    tame: tamed,
    agreesOn: BOTH,
  },
  { name: 'reopen', about: 'blockdev-reopen', steps: reopenSteps, agreesOn: BOTH },
  {
    name: 'change',
    about: 'block-job-change',
    steps: changeSteps,
    profiles: ['qemu-10.0'],
    agreesOn: ['qemu-10.0'],
  },
  { name: 'devices', about: 'device_add, device_del, system_reset', steps: deviceSteps, agreesOn: BOTH },
  { name: 'run-state', about: 'stop, cont, system_reset', steps: runStateSteps, agreesOn: BOTH },
  {
    name: 'protocol',
    about: 'jobs on the nodes that formats lie on',
    steps: protocolSteps,
    agreesOn: BOTH,
  },
  { name: 'busy', about: 'many jobs at once', steps: busySteps, agreesOn: [] },
  { name: 'quorum', about: 'x-blockdev-change', steps: quorumSteps, agreesOn: BOTH },
];

/** The word for no feature at all. */
export const NO_FEATURES = 'none';

/** Names that `--features` takes. */
export const featureNames: readonly string[] = [...FEATURES.map(({ name }) => name), NO_FEATURES];

/** The features that a profile's scripts have if nobody chooses. */
export const defaultFeatures = (profile: string): readonly string[] =>
  FEATURES.filter(({ agreesOn }) => agreesOn.includes(profile)).map(({ name }) => name);

/** Features by name, in the order of the table. */
export const featuresNamed = (names: readonly string[]): readonly Feature[] =>
  FEATURES.filter(({ name }) => names.includes(name));
