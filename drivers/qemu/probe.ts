/**
 * What a QEMU can do, asked from itself: the commands it has and, where it can describe itself, their arguments. The
 * version number is for display only; vendors backport.
 */
import type { Capabilities } from '../../src/driver.ts';
import { objectsOf, optionalText } from './errors.ts';
import type { QmpClient } from './qmp-client.ts';
import { isQmpObject, type QmpObject } from './qmp-json.ts';

/** The answers of one QEMU. */
export interface Probe {
  /** e.g. `QEMU 7.2.22`. */
  readonly hypervisor: string;
  /** libvirt's number: major * 1,000,000 + minor * 1,000 + micro. */
  readonly version: number;
  /** Tells one build from another: version and package as the greeting gives them. */
  readonly build: string;
  /** QAPI: query-commands. */
  readonly commands: ReadonlySet<string>;
  /** Whether a command takes an argument; undefined where the QEMU cannot describe itself (QAPI: query-qmp-schema). */
  hasArgument(command: string, argument: string): boolean | undefined;
  /** Whether a command has a feature flag; false where the QEMU cannot describe itself. */
  hasFeature(command: string, feature: string): boolean;
}

/** What emulators answered, by {@link Probe.build}: a build never changes its mind. */
export type ProbeCache = Map<string, Probe>;

/** Tells one build from another by its greeting. */
export function buildOf(client: QmpClient): string {
  const { qemu, package: vendor } = client.greeting.QMP.version;
  return `${qemu.major}.${qemu.minor}.${qemu.micro} ${vendor}`.trimEnd();
}

/** Asks a negotiated connection (QMP: query-commands, query-qmp-schema). */
export async function probe(client: QmpClient): Promise<Probe> {
  const { major, minor, micro } = client.greeting.QMP.version.qemu;
  const list = objectsOf(await client.execute('query-commands'), 'query-commands');
  const commands = new Set(list.map((entry) => String(entry.name)));
  const schema = commands.has('query-qmp-schema')
    ? objectsOf(await client.execute('query-qmp-schema'), 'query-qmp-schema')
    : [];
  const entries = new Map(schema.map((entry) => [String(entry.name), entry]));
  return {
    hypervisor: `QEMU ${major}.${minor}.${micro}`,
    version: major * 1_000_000 + minor * 1_000 + micro,
    build: buildOf(client),
    commands,
    hasArgument: (command, argument) => hasArgument(entries, command, argument),
    hasFeature(command, feature) {
      const features = entries.get(command)?.features;
      return Array.isArray(features) && features.includes(feature);
    },
  };
}

function hasArgument(
  entries: ReadonlyMap<string, QmpObject>,
  command: string,
  argument: string,
): boolean | undefined {
  const entry = entries.get(command);
  if (entry === undefined) return undefined;
  const members = entries.get(optionalText(entry, 'arg-type') ?? '')?.members;
  return Array.isArray(members) && members.some((member) => isQmpObject(member) && member.name === argument);
}

/** The capabilities that do not depend on the dialect, joined with those that do. */
export function capabilitiesOf(
  { hypervisor, version }: Probe,
  jobs: Omit<Capabilities, 'hypervisor' | 'version'>,
): Capabilities {
  return Object.freeze({ ...jobs, hypervisor, version });
}
