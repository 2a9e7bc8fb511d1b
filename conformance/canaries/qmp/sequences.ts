/** QEMUs that lose, double or reorder a job's events. */
import type { Canary } from '../../canary.ts';
import { sequences } from '../../contracts/qmp/sequences.ts';
import { delayEvent, doubleEvent, dropEvent, renameEvent } from '../../stream-mutations.ts';

const BREAKS = [
  { name: 'lost', title: 'is lost', wire: dropEvent },
  { name: 'doubled', title: 'comes twice', wire: doubleEvent },
  { name: 'delayed', title: 'comes behind the one that follows it', wire: delayEvent },
] as const;

const SWAPPED: { readonly [event: string]: string } = {
  BLOCK_JOB_COMPLETED: 'BLOCK_JOB_CANCELLED',
  BLOCK_JOB_CANCELLED: 'BLOCK_JOB_COMPLETED',
};

/** Three per course of events, all at the event that says most about it. */
export const sequenceCanaries: readonly Canary[] = sequences.flatMap(({ id, steps }) => {
  const course = id.slice('qmp/sequence/'.length);
  const events = steps.flatMap((step) => step.events);
  const [event = 'J:running'] = [...events.filter((name) => !name.startsWith('J:')).reverse(), 'J:running'];
  const broken = BREAKS.map(({ name, title, wire }) => ({
    id: `${course}-event-${name}`,
    contract: id,
    title: `${event} ${title}`,
    wire: () => wire(event),
  }));
  const other = SWAPPED[event];
  if (other === undefined) return broken;
  const swapped = { id: `${course}-end-swapped`, contract: id, title: `${other} is sent for ${event}` };
  return [...broken, { ...swapped, wire: () => renameEvent(event, other) }];
});
