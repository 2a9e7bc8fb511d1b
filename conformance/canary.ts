/** A canary: a backend broken on purpose, in one way, that one contract must catch. */
import type { Connection, Domain } from '../src/index.ts';
import type { Row } from './rows.ts';
import type { WireMutationFactory } from './wire.ts';

/** One deliberate break. It has a `wire` side, an `api` side, or both. */
export interface Canary {
  /** Short and stable, e.g. `ready-announced-twice`. */
  readonly id: string;
  /** The id of the contract that must fail. */
  readonly contract: string;
  /** What is wrong with this backend. */
  readonly title: string;
  /** The one thing of the block-job family that it breaks, where it is one: a row of the coverage table. */
  readonly row?: Row;
  /** After how many cases it has escaped, where few of them come across what it breaks [30]. */
  readonly cases?: number;
  /** Breaks QEMU, as the driver sees it. */
  readonly wire?: WireMutationFactory;
  /** Breaks the public API itself, for what sits above the wire. */
  readonly api?: (connection: Connection) => Connection;
}

/** A connection whose domains have some calls replaced. Everything else is the inner one's. */
export function withDomains(connection: Connection, replace: (inner: Domain) => Partial<Domain>): Connection {
  const wrap = (domain: Domain) => overlay(domain, replace(domain));
  return overlay(connection, {
    defineXML: async (xml) => wrap(await connection.defineXML(xml)),
    createXML: async (xml) => wrap(await connection.createXML(xml)),
    lookupByName: async (name) => wrap(await connection.lookupByName(name)),
    listAllDomains: async () => (await connection.listAllDomains()).map(wrap),
    openReadOnly: () => withDomains(connection.openReadOnly(), replace),
  });
}

/** `inner` with some members replaced; methods that are not keep `inner` as their `this`. */
export function overlay<T extends object>(inner: T, replaced: Partial<T>): T {
  return new Proxy(inner, {
    get(target, key) {
      if (Object.hasOwn(replaced, key)) return Reflect.get(replaced, key);
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** A canary of an `api/` contract that replaces some calls of every domain. */
export const brokenDomain = (
  id: string,
  contract: string,
  title: string,
  replace: (inner: Domain) => Partial<Domain>,
): Canary => ({
  id,
  contract: `api/${contract}`,
  title,
  api: (connection) => withDomains(connection, replace),
});
