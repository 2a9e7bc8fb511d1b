/** What random calls have to find out: events that are lost or doubled, wrong answers after a restart, copies that lack something. */
import { BlockCommitFlags, BlockJobStatus, type Connection, EventId } from '../../src/index.ts';
import type { Canary } from '../canary.ts';
import { overlay, withDomains } from '../canary.ts';
import { alterCommand } from '../mutations.ts';

const contract = 'api/random-calls';
// One case in thirty comes across the rarest of them.
const cases = 600;

/** Canaries for the random calls. */
export const randomCallCanaries: readonly Canary[] = [
  {
    id: 'random-calls-event-lost',
    contract,
    cases,
    title: 'The third event of a connection is lost',
    api: (connection) => withEvents(connection, (nth) => (nth === 3 ? 0 : 1)),
  },
  {
    id: 'random-calls-event-twice',
    contract,
    cases,
    title: 'The end of a job is told twice by path',
    api: (connection) =>
      withEvents(connection, (_, id, status) =>
        id === EventId.BLOCK_JOB && status === BlockJobStatus.COMPLETED ? 2 : 1,
      ),
  },
  {
    id: 'random-calls-wrong-outcome',
    contract,
    cases,
    title: 'A job that failed is said to have completed',
    api: (connection) =>
      overlay(connection, {
        listBlockJobOutcomes: () =>
          connection.listBlockJobOutcomes().map((told) => ({ ...told, outcome: 'completed' as const })),
      }),
  },
  {
    id: 'random-calls-readiness-forgotten',
    contract,
    cases,
    title: 'The XML does not say that a mirror is ready',
    api: (connection) =>
      withDomains(connection, (domain) => ({
        getXMLDesc: async (flags) => (await domain.getXMLDesc(flags)).replace(" ready='yes'", ''),
      })),
  },
  {
    id: 'random-calls-shallow-copy',
    contract,
    cases,
    title: 'A full copy is made as a shallow one, so that what is below is missing',
    wire: () => alterCommand('blockdev-mirror', (args) => ({ ...args, sync: 'top' })),
  },
  {
    id: 'random-calls-images-left',
    contract,
    // One case in sixty: a commit that is given images to unlink, and comes to its end.
    cases: 2 * cases,
    title: 'A commit with DELETE leaves the images where they are',
    api: (connection) =>
      withDomains(connection, (domain) => ({
        blockCommit: (disk, base, top, bandwidth, flags = 0) =>
          domain.blockCommit(disk, base, top, bandwidth, flags & ~BlockCommitFlags.DELETE),
      })),
  },
  {
    id: 'random-calls-pause-without-reason',
    contract,
    cases,
    title: 'A guest that an error has paused is said to have been paused by its user',
    api: (connection) =>
      withDomains(connection, (domain) => ({
        getState: async () => ({ ...(await domain.getState()), reason: 1 }),
      })),
  },
  {
    id: 'random-calls-write-missed',
    contract,
    cases,
    title: 'A copy begins empty: it holds only what is written while it goes on',
    wire: () => alterCommand('blockdev-mirror', (args) => ({ ...args, sync: 'none' })),
  },
];

/** Delivers the nth event of a connection so many times. */
function withEvents(
  connection: Connection,
  times: (nth: number, id: number, status: number | undefined) => number,
): Connection {
  let nth = 0;
  return overlay(connection, {
    domainEventRegister(id, domain, callback) {
      return connection.domainEventRegister(id, domain, (event) => {
        nth += 1;
        const count = times(nth, id, 'status' in event ? event.status : undefined);
        for (let delivery = 0; delivery < count; delivery++) callback(event);
      });
    },
  });
}
