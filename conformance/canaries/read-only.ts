/** Readers that can change something, or cannot even look. */
import { type Connection, type Domain, ErrorCode, VirtError } from '../../src/index.ts';
import { brokenDomain, type Canary, overlay } from '../canary.ts';
import { OPEN_TO_READERS, REFUSED_TO_READERS, type ReadOnlyRow } from '../contracts/api/read-only.ts';

type Call = (...args: unknown[]) => Promise<unknown>;

/** A connection whose readers are broken in one call. */
function breaking(connection: Connection, { on, call }: ReadOnlyRow, broken: Call): Connection {
  const inReader = (reader: Connection): Connection => {
    if (call === 'volumes')
      return overlay(reader, { volumes: { ...reader.volumes, create: broken as never } });
    if (on === 'connection') return overlay(reader, { [call]: broken } as Partial<Connection>);
    if (on === 'domain') {
      return withReaders(reader, (domain) => overlay(domain, { [call]: broken } as Partial<Domain>));
    }
    const lookup = on === 'snapshot' ? 'snapshotLookupByName' : 'checkpointLookupByName';
    return withReaders(reader, (domain) =>
      overlay(domain, {
        [lookup]: async (name: string) => overlay(await domain[lookup](name), { [call]: broken }),
      } as Partial<Domain>),
    );
  };
  return overlay(connection, { openReadOnly: () => inReader(connection.openReadOnly()) });
}

const withReaders = (reader: Connection, wrap: (domain: Domain) => Domain): Connection =>
  overlay(reader, { lookupByName: async (name) => wrap(await reader.lookupByName(name)) });

const accepts: Call = async () => undefined;
const refuses: Call = async () => {
  throw new VirtError(ErrorCode.OPERATION_DENIED, 'read only access prevents it');
};

const canary = (row: ReadOnlyRow, kind: 'accepted' | 'refused', nth: number): Canary => ({
  id: `read-only-${row.on}-${row.call}-${kind}${nth > 0 ? `-${nth + 1}` : ''}`.toLowerCase(),
  contract: kind === 'accepted' ? 'api/read-only/refused' : 'api/read-only/allowed',
  title: `${row.on}.${row.call} of a reader is ${kind}`,
  api: (connection) => breaking(connection, row, kind === 'accepted' ? accepts : refuses),
});

const all = (rows: readonly ReadOnlyRow[], kind: 'accepted' | 'refused'): readonly Canary[] =>
  rows.map((row, index) => {
    const before = rows.slice(0, index).filter(({ on, call }) => on === row.on && call === row.call);
    return canary(row, kind, before.length);
  });

/** One per row, and what autostart can get wrong. */
export const readOnlyCanaries: readonly Canary[] = [
  ...all(REFUSED_TO_READERS, 'accepted'),
  ...all(OPEN_TO_READERS, 'refused'),
  {
    id: 'reader-hears-nothing',
    contract: 'api/read-only/allowed',
    title: 'Nothing is told on a connection for reading',
    api: (connection) =>
      overlay(connection, {
        openReadOnly: () => overlay(connection.openReadOnly(), { domainEventRegister: () => 0 }),
      }),
  },
  {
    id: 'reader-ends-domains',
    contract: 'api/read-only/allowed',
    title: 'To close a connection for reading ends the domains',
    api: (connection) =>
      overlay(connection, {
        openReadOnly: () => {
          const reader = connection.openReadOnly();
          return overlay(reader, {
            async close() {
              for (const domain of await connection.listAllDomains()) await domain.destroy();
              await reader.close();
            },
          });
        },
      }),
  },
  brokenDomain('autostart-of-transient', 'autostart', 'A transient domain takes an autostart', (domain) => ({
    setAutostart: async (autostart) => domain.setAutostart(autostart).catch(() => undefined),
  })),
  {
    id: 'autostart-not-listed',
    contract: 'api/autostart',
    title: 'Lists know nothing of autostart',
    api: (connection) =>
      overlay(connection, { listAllDomains: (flags = 0) => connection.listAllDomains(flags & ~0xc00) }),
  },
];
