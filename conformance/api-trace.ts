/** A trace for backends without a wire: what was asked of the API, what it answered, and the events between. */
import type { Connection, Domain, EventId } from '../src/index.ts';
import { EventId as Events } from '../src/index.ts';
import { withDomains } from './canary.ts';

/** A connection that writes down what passes, in the format of {@link Session.trace}. */
export function recordApi(inner: Connection): {
  readonly connection: Connection;
  trace(): string;
} {
  const lines: string[] = [];
  const note = (arrow: '<' | '>', message: object) =>
    void lines.push(`${inner.timers.now().toFixed(3)} 1 ${arrow} ${JSON.stringify(message, withBigints)}`);
  for (const [name, id] of Object.entries(Events) as [string, EventId][])
    inner.domainEventRegister(id, null, ({ domain, ...data }) =>
      note('<', { event: name, data: { domain: domain.name, ...data } }),
    );
  const connection = withDomains(inner, (domain) => recorded(domain, note));
  return { connection, trace: () => lines.join('\n') };
}

/** The calls of a domain that say something, each with a note before and after it. */
function recorded(domain: Domain, note: (arrow: '<' | '>', message: object) => void): Partial<Domain> {
  return Object.fromEntries(CALLS.map((name) => [name, noted(domain, name, note)])) as Partial<Domain>;
}

const CALLS = [
  'blockCommit',
  'blockCopy',
  'blockJobAbort',
  'blockJobSetSpeed',
  'blockPull',
  'blockRebase',
  'destroy',
  'getBlockJobInfo',
  'resume',
  'suspend',
] as const satisfies readonly (keyof Domain)[];

function noted(
  domain: Domain,
  name: (typeof CALLS)[number],
  note: (arrow: '<' | '>', message: object) => void,
) {
  const call: (...args: unknown[]) => Promise<unknown> = domain[name].bind(domain) as never;
  return async (...args: unknown[]): Promise<unknown> => {
    note('>', { execute: name, arguments: args });
    try {
      const value = await call(...args);
      note('<', { return: value ?? {} });
      return value;
    } catch (error) {
      note('<', { error: error instanceof Error ? error.message : String(error) });
      throw error;
    }
  };
}

function withBigints(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
