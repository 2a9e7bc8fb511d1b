/** What the QEMU-like targets share: a session over a driver on some host. */
import type { OpenOptions, Session } from '../../conformance/index.ts';
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import type { Host } from '../../drivers/qemu/host.ts';
import type { ProbeCache } from '../../drivers/qemu/probe.ts';
import { openConnection } from '../../src/index.ts';
import { monitorGuest } from './guest.ts';
import { tapHost } from './wire.ts';

/** What differs between the targets. */
export interface SessionParts {
  readonly uri: string;
  readonly host: Host;
  /** What the target's emulators answered before; not used where the wire is broken. */
  readonly probes: ProbeCache;
  readonly directory: string;
  readonly createImage: Session['createImage'];
  readonly contents: Session['contents'];
  /** Removes what is left once all emulators have ended. */
  readonly cleanUp: () => Promise<void>;
}

/** Opens a session; `options` decide whether the wire is tapped. */
export function openSession(parts: SessionParts, { wire, trace }: OpenOptions): Session {
  const lines: string[] = [];
  const host =
    wire || trace
      ? tapHost(parts.host, {
          ...(wire ? { mutation: wire } : {}),
          ...(trace ? { onLine: (line) => void lines.push(line) } : {}),
        })
      : parts.host;
  const driver = createQemuDriver(wire ? { host } : { host, probes: parts.probes });
  const connection = openConnection({ uri: parts.uri, driver });
  return {
    connection,
    directory: parts.directory,
    createImage: parts.createImage,
    contents: parts.contents,
    guest: (domainName, disk) => monitorGuest(connection, domainName, disk),
    ...(trace ? { trace: () => lines.join('\n') } : {}),
    async dispose() {
      try {
        await connection.close();
      } finally {
        await parts.cleanUp();
      }
    },
  };
}
