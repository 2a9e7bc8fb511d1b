/** APIs that accept what must be refused, or refuse it without a word. */
import { type Domain, isVirtError } from '../../src/index.ts';
import { type Canary, withDomains } from '../canary.ts';
import type { DomainCall } from '../contracts/api/refusals/row.ts';
import { refusalRows } from '../contracts/api/refusals.ts';

/** A domain on which every refused call of one kind looks like a success. */
function accepting(domain: Domain, call: DomainCall): Partial<Domain> {
  const inner: unknown = Reflect.get(domain, call, domain);
  if (typeof inner !== 'function') return {};
  return {
    [call]: async (...args: unknown[]) => {
      try {
        return await inner.apply(domain, args);
      } catch (error) {
        if (!isVirtError(error)) throw error;
        return undefined;
      }
    },
  };
}

/** One per refusal. */
export const refusalCanaries: readonly Canary[] = refusalRows.map(({ id, call }) => ({
  id: `${id.slice('api/refused/'.length)}-accepted`,
  contract: id,
  title: `${call} accepts whatever it is asked, and does nothing about it`,
  api: (connection) => withDomains(connection, (domain) => accepting(domain, call)),
}));
