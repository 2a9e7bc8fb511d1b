/** The command line of the differential runner. */
import { accessSync, constants } from 'node:fs';
import { profiles } from '../../mock-qemu/profiles/index.ts';
import { defaultFeatures, FEATURES, featureNames, NO_FEATURES } from './features.ts';

/** What to run. */
export interface Options {
  /** Path of a QEMU binary. */
  readonly qemu: string;
  /** Name of the profile that the simulation takes. */
  readonly profile: string;
  readonly scripts: number;
  readonly seed: number;
  /** Directory for the report. */
  readonly report: string;
  /** Names of what scripts may have beyond the commands of every script. */
  readonly features: readonly string[];
  /** Real machines at a time. */
  readonly workers: number;
  /** How long new scripts are begun; undefined: until all have been run. */
  readonly minutes: number | undefined;
}

/** A command line that cannot be followed; the message is one line. */
export class UsageError extends Error {
  override name = 'UsageError';
}

const NEEDED = ['--qemu', '--profile', '--scripts', '--seed', '--report'] as const;
const FLAGS = [...NEEDED, '--features', '--workers', '--minutes'] as const;
type Flag = (typeof FLAGS)[number];

const isFlag = (word: string): word is Flag => (FLAGS as readonly string[]).includes(word);

function wholeNumber(flag: Flag, text: string, least: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least) {
    throw new UsageError(`${flag} '${text}': not a whole number from ${least}`);
  }
  return value;
}

function collect(argv: readonly string[]): Map<Flag, string> {
  const values = new Map<Flag, string>();
  for (let index = 0; index < argv.length; index += 2) {
    const flag = argv[index] ?? '';
    if (!isFlag(flag)) throw new UsageError(`unknown option '${flag}': valid are ${FLAGS.join(', ')}`);
    const value = argv[index + 1];
    if (value === undefined) throw new UsageError(`${flag} needs a value`);
    values.set(flag, value);
  }
  return values;
}

/** The features that a list of names means on a profile. */
function featuresOf(list: string | undefined, profile: string): readonly string[] {
  if (list === undefined) return defaultFeatures(profile);
  const names = list.split(',');
  for (const name of names) {
    if (!featureNames.includes(name)) {
      throw new UsageError(`--features '${name}': no such feature, valid are ${featureNames.join(', ')}`);
    }
    const { profiles: having } = FEATURES.find((feature) => feature.name === name) ?? {};
    if (having?.includes(profile) === false) {
      throw new UsageError(`--features '${name}': ${profile} does not have it, only ${having.join(', ')}`);
    }
  }
  return names.filter((name) => name !== NO_FEATURES);
}

/** Reads a command line; throws a {@link UsageError} that names what is bad and lists what is valid. */
export function parseOptions(argv: readonly string[]): Options {
  const values = collect(argv);
  const need = (flag: Flag): string => {
    const value = values.get(flag);
    if (value === undefined) throw new UsageError(`${flag} is missing: needed are ${NEEDED.join(', ')}`);
    return value;
  };
  const profile = need('--profile');
  const names = profiles.map(({ name }) => name);
  if (!names.includes(profile)) {
    throw new UsageError(`unknown profile '${profile}': valid are ${names.join(', ')}`);
  }
  const qemu = need('--qemu');
  try {
    accessSync(qemu, constants.X_OK);
  } catch {
    throw new UsageError(`--qemu '${qemu}': no such program`);
  }
  const minutes = values.get('--minutes');
  return {
    qemu,
    profile,
    scripts: wholeNumber('--scripts', need('--scripts'), 1),
    seed: wholeNumber('--seed', need('--seed'), 0),
    report: need('--report'),
    features: featuresOf(values.get('--features'), profile),
    workers: wholeNumber('--workers', values.get('--workers') ?? '2', 1),
    minutes: minutes === undefined ? undefined : wholeNumber('--minutes', minutes, 1),
  };
}
