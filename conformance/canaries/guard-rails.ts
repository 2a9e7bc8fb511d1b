/** Guard rails that are broken: what must be refused beside a job is taken, what must not is refused. */
import { type Connection, type Domain, ErrorCode, VirtError } from '../../src/index.ts';
import { type Canary, overlay, withDomains } from '../canary.ts';
import { type GuardRow, guardRows } from '../contracts/api/guard-rails.ts';

type Call = (...args: unknown[]) => Promise<unknown>;

/** A call of which one use beside a job of vda is broken, the n-th from 0. */
function brokenOnce(domain: Domain, inner: Call, isRefusedRow: boolean, nth: number): Call {
  let uses = 0;
  return async (...args) => {
    const isBeside = domain.isActive() && (await domain.getBlockJobInfo('vda')) !== null;
    if (!isBeside || uses++ !== nth) return inner(...args);
    if (isRefusedRow) return undefined;
    throw new VirtError(ErrorCode.OPERATION_INVALID, 'no guard rail says so');
  };
}

const callOf = (of: object, name: string): Call => {
  const inner: unknown = Reflect.get(of, name, of);
  return async (...args) => (typeof inner === 'function' ? inner.apply(of, args) : undefined);
};

/** What stands for a row's operation in the API: a call of the domain, of its snapshots, or of the connection. */
type Place = { readonly call: string; readonly on: 'domain' | 'snapshot' | 'connection' };

const placeOf = ({ call, does }: GuardRow): Place => {
  if (call) return { call, on: 'domain' };
  return does === 'define' ? { call: 'defineXML', on: 'connection' } : { call: 'delete', on: 'snapshot' };
};

const nthOf = (row: GuardRow): number =>
  guardRows.filter((other) => placeOf(other).call === placeOf(row).call).indexOf(row);

/** A connection whose domains break one row of the table. */
function breaking(connection: Connection, row: GuardRow): Connection {
  const { call, on } = placeOf(row);
  const isRefused = row.mirror !== 'allowed';
  if (on === 'connection') {
    let uses = 0;
    return overlay(connection, {
      async defineXML(xml) {
        if (uses++ === 0) return connection.defineXML(xml);
        throw new VirtError(ErrorCode.BLOCK_COPY_ACTIVE, 'domain has active block job');
      },
    });
  }
  if (on === 'domain') {
    return withDomains(connection, (domain) => ({
      [call]: brokenOnce(domain, callOf(domain, call), isRefused, nthOf(row)),
    }));
  }
  return withDomains(connection, (domain) => {
    let remove: Call = async () => undefined;
    const broken = brokenOnce(domain, (...args) => remove(...args), isRefused, nthOf(row));
    return {
      async snapshotLookupByName(name) {
        const snapshot = await domain.snapshotLookupByName(name);
        remove = callOf(snapshot, 'delete');
        return overlay(snapshot, { delete: async (flags) => void (await broken(flags)) });
      },
    };
  });
}

/** The columns of a row, one of those that say the same. */
const columnsOf = ({ mirror, plain }: GuardRow): readonly ('mirror' | 'plain')[] =>
  mirror === plain ? ['mirror'] : ['mirror', 'plain'];

/** What each row is planted in, by column. */
const PLANTED = { mirror: 'ready-copy', plain: 'pull' } as const;

const slug = (text: string): string => text.replace(/[^a-z]+/g, '-');

/** Other phases are broken in one way each. */
const FURTHER = ['copy', 'active-commit', 'ready-active-commit', 'commit'] as const;

/** Each row of the table, broken; where the columns differ, in each of them. */
export const guardCanaries: readonly Canary[] = [
  ...guardRows.flatMap((row) =>
    columnsOf(row).map((column): Canary => {
      const fate = row[column] === 'allowed' ? 'refused' : 'accepted';
      return {
        id: `guard-${slug(row.does)}-${fate}-beside-${PLANTED[column]}`,
        contract: `api/guards/${PLANTED[column]}`,
        title: `'${row.does}' is ${fate} beside a ${PLANTED[column]}`,
        api: (connection) => breaking(connection, row),
      };
    }),
  ),
  ...FURTHER.map((job): Canary => {
    const row = guardRows.find(({ call }) => call === 'detachDeviceFlags');
    return {
      id: `guard-detach-accepted-beside-${job}`,
      contract: `api/guards/${job}`,
      title: `A disk can be detached beside a ${job} of it`,
      api: (connection) => (row ? breaking(connection, row) : connection),
    };
  }),
];
