/** The judge of killed pivots sees every wrong answer that a recovery could give. */
import { expect, test } from 'vitest';
import { type Evidence, type Found, judge } from './real/judge.ts';

const SOURCE = '/source';
const DESTINATION = '/destination';
const evidence = (holds: readonly string[], more: Partial<Evidence> = {}): Evidence => ({
  holds: (path) => holds.includes(path),
  source: SOURCE,
  destination: DESTINATION,
  pauses: false,
  promised: 5,
  told: false,
  ...more,
});
const dead = (outcome?: string): Found => ({ alive: false, outcomes: outcome ? [{ outcome }] : [] });
const alive = (active: string, more: Partial<Found> = {}): Found => ({
  alive: true,
  active,
  state: 1,
  ...more,
});

test.each([
  ['on the source', alive(SOURCE), evidence([SOURCE])],
  [
    'on the destination',
    alive(DESTINATION, { outcomes: [{ outcome: 'completed' }] }),
    evidence([DESTINATION]),
  ],
  ['completed', dead('completed'), evidence([DESTINATION])],
  ['failed', dead('failed'), evidence([SOURCE])],
  ['unknown', dead('unknown'), evidence([SOURCE])],
  ['told', dead(), evidence([DESTINATION], { told: true })],
])('what is right passes: %s', (_, found, known) => {
  expect(judge(found, known)).toEqual([]);
});

test.each([
  ['a guest left paused', alive(SOURCE, { state: 3 }), evidence([SOURCE])],
  ['a lost write', alive(DESTINATION), evidence([SOURCE])],
  [
    'unknown, with a machine to ask',
    alive(SOURCE, { outcomes: [{ outcome: 'unknown' }] }),
    evidence([SOURCE]),
  ],
  ['completed on the source', alive(SOURCE, { outcomes: [{ outcome: 'completed' }] }), evidence([SOURCE])],
  [
    'failed on the destination',
    alive(DESTINATION, { outcomes: [{ outcome: 'failed' }] }),
    evidence([DESTINATION]),
  ],
  ['completed, and the writes are in the source', dead('completed'), evidence([SOURCE])],
  ['failed, and the writes are in the destination', dead('failed'), evidence([DESTINATION])],
  ['unknown, and they are in neither', dead('unknown'), evidence([])],
  ['unknown although paused', dead('unknown'), evidence([SOURCE], { pauses: true })],
  ['told that it completed, and they are in the source', dead(), evidence([SOURCE], { told: true })],
  ['nothing told at all', dead(), evidence([SOURCE, DESTINATION])],
  ['a guest that never wrote', dead('failed'), evidence([SOURCE], { promised: 0 })],
])('what is wrong does not: %s', (_, found, known) => {
  expect(judge(found, known)).toHaveLength(1);
});
