/**
 * The crash matrix: every effect of the management process around a pivot, and every point inside QEMU, times who dies.
 * Whoever is asked afterwards tells the truth, and no flush that a guest was promised is lost.
 */
import { expect, test } from 'vitest';
import { VICTIMS } from './life.ts';
import { type Found, KINDS, type PivotCase, runPivotCase } from './pivot-case.ts';

const probes = new Map();

const POINTS = [
  ...['pivot.accepted', 'pivot.before-reply', 'pivot.after-reply', 'pivot.drained', 'pivot.final-sync'],
  ...['pivot.before-graph-change', 'pivot.after-graph-change', 'pivot.before-event', 'pivot.after-event'],
];

const rows = [1, 2, 3].flatMap((disks) =>
  KINDS.flatMap((kind) => [false, true].map((pause) => ({ disks, kind, pause }))),
);

async function wrongs(cases: readonly PivotCase[]): Promise<{ wrong: string[]; unknown: number }> {
  const wrong: string[] = [];
  let unknown = 0;
  for (const pivot of cases) {
    const found: Found = await runPivotCase(pivot, probes);
    unknown += found.unknown;
    const name = `${pivot.crash?.victim ?? pivot.point}${pivot.crash ? ` at ${pivot.crash.at}` : ''}`;
    wrong.push(...found.wrong.map((line) => `${name}: ${line}`));
  }
  return { wrong, unknown };
}

test.for(rows)('$kind of $disks disk(s), guest paused: $pause', async (row) => {
  const { effects, wrong } = await runPivotCase(row, probes);
  expect(wrong).toEqual([]);
  const crashes = VICTIMS.flatMap((victim) =>
    Array.from({ length: effects }, (_, at) => ({ ...row, crash: { at, victim } })),
  );
  const points = POINTS.map((point) => ({ ...row, point }));
  const found = await wrongs([...crashes, ...points]);
  expect(found.wrong).toEqual([]);
  // Where it is not paused there are instants that nobody can tell apart: the matrix has to have met some.
  expect(found.unknown > 0).toBe(!row.pause);
});

test.for(['qemu-1.3', 'rhel-6.3'])('a copy on %s, whose guest is paused in any case', async (profile) => {
  const row = { kind: 'copy', disks: 1, pause: false, profile } as const;
  const { effects, wrong } = await runPivotCase(row, probes);
  expect(wrong).toEqual([]);
  const crashes = VICTIMS.flatMap((victim) =>
    Array.from({ length: effects }, (_, at) => ({ ...row, crash: { at, victim } })),
  );
  expect(await wrongs(crashes)).toEqual({ wrong: [], unknown: 0 });
});

test('a journal that is written too late is caught', async () => {
  const behind: PivotCase['wrapState'] = (store) => {
    let waiting: (() => void) | undefined;
    const later = (next: () => void) => {
      waiting?.();
      waiting = next;
    };
    return {
      ...store,
      write: (key, text) => later(() => store.write(key, text)),
      remove: (key) => later(() => store.remove(key)),
    };
  };
  const base = { kind: 'copy', disks: 1, pause: false, wrapState: behind } as const;
  const { effects } = await runPivotCase({ ...base }, probes);
  const crashes = Array.from({ length: effects }, (_, at) => ({
    ...base,
    crash: { at, victim: 'both' } as const,
  }));
  expect((await wrongs(crashes)).wrong).not.toEqual([]);
});

test('a pause that the journal forgets is caught', async () => {
  const forgetful: PivotCase['wrapState'] = (store) => ({
    ...store,
    write: (key, text) => store.write(key, text.replace(/"pausedFor": \{[^}]*\}/, '"emptied": 0')),
  });
  const base = { kind: 'copy', disks: 1, pause: true, wrapState: forgetful } as const;
  const { effects } = await runPivotCase({ ...base }, probes);
  const crashes = Array.from({ length: effects }, (_, at) => ({
    ...base,
    crash: { at, victim: 'management' } as const,
  }));
  expect((await wrongs(crashes)).wrong).not.toEqual([]);
});
