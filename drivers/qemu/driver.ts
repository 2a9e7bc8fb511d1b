/** The QEMU driver: starts machines on a host, real or simulated, and handles images there. */
import type {
  AttachedMachine,
  HypervisorDriver,
  ImageRef,
  KnownMachine,
  Machine,
  MachineSpec,
} from '../../src/driver.ts';
import { ErrorCode, VirtError } from '../../src/errors.ts';
import { machineArguments } from './arguments.ts';
import type { Dialect } from './dialects/dialect.ts';
import { chooseDialect } from './dialects/index.ts';
import { connectTo, Helper, type HelperSession } from './helper.ts';
import type { Host } from './host.ts';
import { QemuMachine } from './machine.ts';
import { buildOf, capabilitiesOf, type ProbeCache, probe } from './probe.ts';
import { QmpClient } from './qmp-client.ts';
import { readHeader } from './saved-state.ts';
import { createVolumes } from './volumes.ts';

/** What a QEMU driver is made of. */
export interface QemuDriverOptions {
  readonly host: Host;
  /** Where a machine names no emulator; the host's own default when left out. */
  readonly defaultEmulator?: string;
  /** Kept by the caller so that drivers of one emulator ask it only once (libvirt: the capabilities cache). */
  readonly probes?: ProbeCache;
}

/** Builds a driver. Nothing is started before it is needed; the host is closed with the driver. */
export function createQemuDriver({
  host,
  defaultEmulator,
  probes = new Map(),
}: QemuDriverOptions): HypervisorDriver {
  const helpers = new Map<string | undefined, Helper>();
  const machines = new Set<QemuMachine>();
  let closing: Promise<void> | undefined;

  const helperOf = (binary: string | undefined): Helper => {
    const helper = helpers.get(binary) ?? new Helper(host, binary, probes);
    helpers.set(binary, helper);
    return helper;
  };

  /** The default emulator's helper if it can handle images, else that of the host's emulator for them. */
  const imageSession = async (): Promise<HelperSession> => {
    const own = await helperOf(defaultEmulator).session();
    if (own.probe.commands.has('blockdev-create')) return own;
    if (host.imageEmulator !== undefined) return helperOf(host.imageEmulator).session();
    const detail = `${own.probe.hypervisor} cannot handle images without a guest: name a newer emulator for them`;
    throw new VirtError(ErrorCode.CONFIG_UNSUPPORTED, detail);
  };

  const keep = (machine: QemuMachine): Machine => {
    machines.add(machine);
    void machine.gone.then(() => machines.delete(machine));
    return machine satisfies Machine;
  };

  const close = async (end: (machine: QemuMachine) => Promise<void>): Promise<void> => {
    await Promise.all([...machines].map(end));
    await Promise.all([...helpers.values()].map((helper) => helper.close()));
    await host.close();
  };

  return {
    name: 'qemu',
    timers: host.timers,
    volumes: createVolumes(imageSession, host.files),
    async start(spec) {
      if (closing !== undefined) {
        throw new VirtError(ErrorCode.OPERATION_INVALID, 'the driver is closed: open a new connection');
      }
      const binary = spec.emulator ?? defaultEmulator;
      return keep(await startMachine(host, binary, helperOf(binary), spec));
    },
    async attach(handle, known) {
      const found = await attachMachine(host, probes, handle, known);
      return found && { machine: keep(found.machine), cpus: found.cpus };
    },
    leave() {
      closing ??= close((machine) => machine.leave());
      return closing;
    },
    savedHeader: async (path) => (await readHeader(host.files, path)).header,
    close() {
      closing ??= close((machine) => machine.destroy());
      return closing;
    },
  };
}

async function startMachine(
  host: Host,
  binary: string | undefined,
  helper: Helper,
  spec: MachineSpec,
): Promise<QemuMachine> {
  const { dialect, probe } = await helper.session();
  const kinds = await imageKinds(host, spec);
  const kindOf = ({ path }: ImageRef) => kinds.get(path) ?? 'file';
  const emulator = await host.launch(binary, machineArguments(spec, dialect, kindOf), spec.launched);
  return connectTo(host, emulator, async (client) => {
    if (!(await helper.isSameBuild(client))) {
      const detail = `the emulator '${binary ?? 'QEMU'}' was replaced while it was in use: start the machine again`;
      throw new VirtError(ErrorCode.OPERATION_FAILED, detail);
    }
    const capabilities = capabilitiesOf(probe, claims(dialect));
    const machine = new QemuMachine({ spec, emulator, client, dialect, capabilities, host });
    await machine.run();
    return machine;
  });
}

/** Finds a machine again. It is asked what it can do, whatever its binary is by now. */
async function attachMachine(
  host: Host,
  probes: ProbeCache,
  handle: string,
  { spec, jobs }: KnownMachine,
): Promise<{ machine: QemuMachine; cpus: AttachedMachine['cpus'] } | undefined> {
  const emulator = await host.attach?.(handle);
  if (emulator === undefined) return undefined;
  const client = await QmpClient.connect(() => emulator.connect(), { timers: host.timers });
  const answers = probes.get(buildOf(client)) ?? (await probe(client));
  probes.set(answers.build, answers);
  const dialect = chooseDialect(answers);
  const capabilities = capabilitiesOf(answers, claims(dialect));
  const machine = new QemuMachine({ spec, emulator, client, dialect, capabilities, host });
  return { machine, cpus: await machine.takeOver(jobs) };
}

function claims({ capabilities, holdsGuest }: Dialect) {
  return { ...capabilities, pivotNeedsPause: holdsGuest };
}

async function imageKinds(host: Host, spec: MachineSpec): Promise<ReadonlyMap<string, 'file' | 'block'>> {
  const paths = new Set(spec.disks.flatMap(({ chain }) => chain.map(({ path }) => path)));
  // What cannot be looked at is left to QEMU, whose refusal names the file.
  const look = async (path: string) =>
    [path, (await host.files.stat(path).catch(() => undefined))?.kind ?? 'file'] as const;
  return new Map(await Promise.all([...paths].map(look)));
}
