/** What the QEMU-like targets share: a session over a driver on some host. */
import type { OpenOptions, QmpOptions, QmpServer, Session, SessionLimits } from '../../conformance/index.ts';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import type { Host } from '../../drivers/qemu/host.ts';
import type { ProbeCache } from '../../drivers/qemu/probe.ts';
import { type HypervisorDriver, type Machine, openConnection } from '../../src/index.ts';
import { type Controls, controlOf } from './controls.ts';
import { monitorGuest } from './guest.ts';
import { type ManagerParts, Managers } from './managers.ts';
import { tapHost } from './wire.ts';

/** What differs between the targets. */
export interface SessionParts {
  readonly uri: string;
  readonly driver: HypervisorDriver;
  readonly directory: string;
  readonly createImage: Session['createImage'];
  readonly contents: Session['contents'];
  readonly limits?: SessionLimits;
  readonly trace?: () => string;
  readonly dirty?: NonNullable<Session['dirty']>;
  /** Where bare QMP servers are started; tapped as the driver's is. */
  readonly qmpHost: Host;
  /** They are of before `-machine`. */
  readonly hasEarlyQmp?: boolean;
  /** The machines of its domains, where they can be asked for what only a simulation can do. */
  readonly controls?: Controls;
  /** What processes are made of that come one after the other. */
  readonly managers?: Omit<ManagerParts, 'uri'>;
  /** Removes what is left once all emulators have ended. */
  readonly cleanUp: () => Promise<void>;
}

/** Opens a session; it closes its driver at its end. */
export function openSession({
  uri,
  driver,
  directory,
  createImage,
  contents,
  limits,
  trace,
  dirty,
  qmpHost,
  hasEarlyQmp,
  controls,
  managers: managerParts,
  cleanUp,
}: SessionParts): Session {
  const connection = openConnection({ uri, driver, saveDirectory: directory });
  const managers = managerParts && new Managers({ uri, ...managerParts });
  return {
    connection,
    directory,
    createImage,
    contents,
    guest: (domainName, disk) => monitorGuest(connection, domainName, disk),
    startQmp: (options) => startQmp(qmpHost, hasEarlyQmp ?? false, options),
    ...(managers && { manage: (options) => managers.begin(options) }),
    ...(controls && { control: (name, request) => controls.ask(name, directory, request) }),
    ...(limits ? { limits } : {}),
    ...(trace ? { trace } : {}),
    ...(dirty ? { dirty } : {}),
    async dispose() {
      try {
        await connection.close();
        await managers?.close();
        await qmpHost.close();
      } finally {
        await cleanUp();
      }
    },
  };
}

const CDROM = ['-drive', 'if=none,id=cd0,media=cdrom', '-device', 'ide-cd,drive=cd0,id=ide0'];
const MACHINES = { none: [], pc: ['-S', '-m', '16', '-accel', 'tcg'] } as const;

const driveArgv = ({
  id,
  path,
  format,
}: {
  readonly id: string;
  readonly path: string;
  readonly format: string;
}) => [
  ...['-drive', `file=${path},if=none,id=${id},format=${format}`],
  ...['-device', `virtio-blk-pci,drive=${id},id=device-${id}`],
];

/** Starts a server. @throws Error where faults are asked for and there can be none */
async function startQmp(
  host: Host,
  isEarly: boolean,
  { faults, machine = 'none', cdrom, drives = [] }: QmpOptions = {},
): Promise<QmpServer> {
  const board = isEarly ? ['-S'] : ['-machine', machine, ...MACHINES[machine], '-display', 'none'];
  const argv = [...board, '-nodefaults', ...(cdrom ? CDROM : []), ...drives.flatMap(driveArgv)];
  const emulator = await host.launch(undefined, argv);
  const control = controlOf(emulator);
  if (faults && !control) throw new Error('this QMP server takes no faults: it is not a simulated one');
  if (faults) await control?.({ control: 'add-faults', faults });
  return { connect: () => emulator.connect(), ...(control && { control }) };
}

/** A host tapped as the session asks, and `tap` for others of the session; `trace` gives what crossed the wire so far, where that is kept. */
export function tapped(
  host: Host,
  { wire, trace }: OpenOptions,
): { readonly host: Host; readonly tap: (other: Host) => Host; readonly trace?: () => string } {
  if (!wire && !trace) return { host, tap: (other) => other };
  const lines: string[] = [];
  const tap = (inner: Host) =>
    tapHost(inner, {
      ...(wire ? { mutation: wire } : {}),
      ...(trace ? { onLine: (line) => void lines.push(line) } : {}),
    });
  return { host: tap(host), tap, ...(trace ? { trace: () => lines.join('\n') } : {}) };
}

/** A driver of one session's own; `probes` are left alone where the wire is broken. */
export function ownDriver(host: Host, probes: ProbeCache, { wire }: OpenOptions): HypervisorDriver {
  return createQemuDriver(wire ? { host } : { host, probes });
}

/** A driver that a session may use and close: closing it ends what the session started, and no more. */
export function borrowDriver(driver: HypervisorDriver): HypervisorDriver {
  const machines = new Set<Machine>();
  const { savedHeader } = driver;
  return {
    name: driver.name,
    timers: driver.timers,
    volumes: driver.volumes,
    ...(savedHeader && { savedHeader: (path: string) => savedHeader.call(driver, path) }),
    async start(spec) {
      const machine = await driver.start(spec);
      machines.add(machine);
      return machine;
    },
    async close() {
      await Promise.all([...machines].map((machine) => machine.destroy()));
    },
  };
}
