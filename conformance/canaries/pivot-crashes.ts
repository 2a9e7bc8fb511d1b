/** Drivers and connections that lose what they should know after a death. */
import type { BlockJobOutcome, Connection } from '../../src/index.ts';
import { type Canary, overlay, withDomains } from '../canary.ts';
import { pivotCrashContracts } from '../contracts/api/pivot-crashes.ts';
import { answerCommand } from '../mutations.ts';

type Break = Omit<Canary, 'id' | 'contract'> & { readonly name: string };

/** A connection that tells something else about ended jobs. */
const telling =
  (alter: (outcomes: BlockJobOutcome[]) => BlockJobOutcome[]) =>
  (inner: Connection): Connection =>
    overlay(inner, { listBlockJobOutcomes: () => alter(inner.listBlockJobOutcomes()) });

const always = (outcome: BlockJobOutcome['outcome']) =>
  telling((all) => all.map((each) => ({ ...each, outcome })));

const FORGOTTEN: Break = {
  name: 'forgotten',
  title: 'Nobody remembers what became of a job',
  api: telling(() => []),
};
const SWAPPED: Break = {
  name: 'swapped',
  title: "The two images of a job are told in each other's place",
  api: telling((all) => all.map((each) => ({ ...each, source: each.destination, destination: each.source }))),
};
const UNSURE: Break = { name: 'unsure', title: 'Whatever happened is unknown', api: always('unknown') };
const FAILED: Break = {
  name: 'failed',
  title: 'Whatever happened is a failure',
  api: always('failed'),
  // Early QEMUs, whose guests are paused in any case, are right about that.
  wire: () => ({}),
};
const UNPAUSED: Break = {
  name: 'unpaused',
  title: 'The driver does not pause the guest around the pivot',
  wire: () => answerCommand('stop', () => ({})),
};
const LEFT_PAUSED: Break = {
  name: 'left-paused',
  title: 'The guest of a domain that was taken over stays paused',
  api: (connection) => withDomains(connection, () => ({ getState: async () => ({ state: 3, reason: 1 }) })),
};
const OLD_IMAGE: Break = {
  name: 'old-image',
  title: 'The XML of a domain that was taken over names the image from before the pivot',
  api: (connection) =>
    withDomains(connection, (domain) => ({
      getXMLDesc: async (flags) => (await domain.getXMLDesc(flags)).replaceAll("-copy'", "-top'"),
    })),
};
const ALL_LOST: Break = {
  name: 'lost',
  title: 'The next connection on a state does not have its domains',
  api: (connection) => overlay(connection, { listAllDomains: async () => [] }),
};

const SPECIAL: { readonly [id: string]: readonly Break[] } = {
  'api/takeover/pivot': [OLD_IMAGE],
  'api/takeover/pivot-paused': [OLD_IMAGE, LEFT_PAUSED],
  'api/takeover/one-at-a-time': [ALL_LOST],
};

function breaksOf(id: string): readonly Break[] {
  const special = SPECIAL[id];
  if (special) return special;
  const isPaused = id.includes('paused-');
  const isUnheard = id.includes('unheard');
  // Only after news that nobody heard has the guest written where a failure would not look.
  const data = isPaused ? [UNPAUSED] : [FAILED];
  return [FORGOTTEN, SWAPPED, ...(isPaused ? [UNSURE] : []), ...(isUnheard ? data : [])];
}

/** Canaries for the contracts about deaths around a pivot. */
export const pivotCrashCanaries: readonly Canary[] = pivotCrashContracts.flatMap(({ id }) =>
  breaksOf(id).map(({ name, ...rest }) => ({
    id: `${id.slice('api/'.length).replaceAll('/', '-')}-${name}`,
    contract: id,
    ...rest,
  })),
);
