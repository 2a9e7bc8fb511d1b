/** An API that loses, doubles or invents events. */
import { BlockJobStatus, type Connection, EventId } from '../../src/index.ts';
import type { Canary } from '../canary.ts';
import { overlay } from '../canary.ts';

/** Canaries for the contracts about events. */
export const eventCanaries: readonly Canary[] = [
  {
    id: 'ready-announced-twice',
    contract: 'api/copy-ready-once',
    title: 'READY is delivered twice',
    api: (connection) => withJobEvents(connection, (status) => (status === BlockJobStatus.READY ? 2 : 1)),
  },
  {
    id: 'end-announced-twice',
    contract: 'api/one-terminal-event',
    title: "A job's end is delivered twice",
    api: (connection) => withJobEvents(connection, (status) => (status === BlockJobStatus.READY ? 1 : 2)),
  },
  {
    id: 'end-not-announced',
    contract: 'api/one-terminal-event',
    title: "A job's end is never delivered",
    api: (connection) => withJobEvents(connection, (status) => (status === BlockJobStatus.READY ? 1 : 0)),
  },
];

/** Delivers every block-job event as often as `times` says. */
function withJobEvents(connection: Connection, times: (status: number) => number): Connection {
  return overlay(connection, {
    domainEventRegister(id, domain, callback) {
      return connection.domainEventRegister(id, domain, (event) => {
        const isJobEvent = id === EventId.BLOCK_JOB || id === EventId.BLOCK_JOB_2;
        const count = isJobEvent && 'status' in event ? times(event.status) : 1;
        for (let delivery = 0; delivery < count; delivery++) callback(event);
      });
    },
  });
}
