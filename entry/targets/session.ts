/** What the QEMU-like targets share: a session over a driver on some host. */
import type { OpenOptions, Session, SessionLimits } from '../../conformance/index.ts';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import type { Host } from '../../drivers/qemu/host.ts';
import type { ProbeCache } from '../../drivers/qemu/probe.ts';
import { type HypervisorDriver, type Machine, openConnection } from '../../src/index.ts';
import { monitorGuest } from './guest.ts';
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
  cleanUp,
}: SessionParts): Session {
  const connection = openConnection({ uri, driver });
  return {
    connection,
    directory,
    createImage,
    contents,
    guest: (domainName, disk) => monitorGuest(connection, domainName, disk),
    startQmp: () => qmpHost.launch(undefined, ['-machine', 'none', '-nodefaults', '-display', 'none']),
    ...(limits ? { limits } : {}),
    ...(trace ? { trace } : {}),
    ...(dirty ? { dirty } : {}),
    async dispose() {
      try {
        await connection.close();
        await qmpHost.close();
      } finally {
        await cleanUp();
      }
    },
  };
}

/** A host tapped as the session asks; `trace` gives what crossed the wire so far, where that is kept. */
export function tapped(
  host: Host,
  { wire, trace }: OpenOptions,
): { readonly host: Host; readonly trace?: () => string } {
  if (!wire && !trace) return { host };
  const lines: string[] = [];
  const outer = tapHost(host, {
    ...(wire ? { mutation: wire } : {}),
    ...(trace ? { onLine: (line) => void lines.push(line) } : {}),
  });
  return { host: outer, ...(trace ? { trace: () => lines.join('\n') } : {}) };
}

/** A driver of one session's own; `probes` are left alone where the wire is broken. */
export function ownDriver(host: Host, probes: ProbeCache, { wire }: OpenOptions): HypervisorDriver {
  return createQemuDriver(wire ? { host } : { host, probes });
}

/** A driver that a session may use and close: closing it ends what the session started, and no more. */
export function borrowDriver(driver: HypervisorDriver): HypervisorDriver {
  const machines = new Set<Machine>();
  return {
    name: driver.name,
    timers: driver.timers,
    volumes: driver.volumes,
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
