/**
 * Every order of replies and events around a pivot, drawn by fast-check's scheduler: one end for a job at most, the disk on
 * the image that this end means, and the caller told the same.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BlockJobAbortFlags, isVirtError } from '../../src/index.ts';
import { boot, COPY } from '../unit/src/lab.ts';

const ENDS = ['completed', 'failed', 'gone'] as const;
/** BLOCK_JOB_2 of a copy on vda: COMPLETED, FAILED or CANCELED. */
const TERMINAL = /^disk vda 2 [012]$/;

async function explore(s: fc.Scheduler, end: (typeof ENDS)[number], pauses: boolean): Promise<void> {
  const { domain, machine, seen, index } = await boot();
  const id = `copy-vda-libvirt-${index('/img/top')}-format`;
  const emit = async (what: string, event: Parameters<typeof machine.emit>[0]) => {
    await s.schedule(Promise.resolve(), what);
    machine.emit(event);
  };
  machine.on.startJob = () => s.schedule(Promise.resolve(), 'reply to the start');
  machine.on.releaseImages = () => s.schedule(Promise.resolve(), 'reply to the release');
  // QEMU accepts, and from then on its reply and its events are on their way each for itself.
  machine.on.concludeJob = () => {
    if (end === 'gone') void emit('gone', { type: 'gone', reason: 'crashed', detail: 'killed' });
    else void emit('the end', { type: 'job-ended', id, outcome: end });
    if (pauses) void emit('an I/O error', { type: 'paused', reason: 'io-error' });
    return s.schedule(Promise.resolve(), 'reply to the pivot');
  };
  const started = domain.blockCopy('vda', COPY, {}, 0);
  void emit('ready', { type: 'job-ready', id });
  const pivot = started
    .then(async () => {
      await s.schedule(Promise.resolve(), 'the caller');
      while (!seen.includes('disk vda 2 3')) await s.schedule(Promise.resolve(), 'the caller waits');
      await domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT);
      return true;
    })
    .catch((error: unknown) => {
      if (isVirtError(error)) return false;
      throw error;
    });
  await s.waitFor(pivot);
  await s.waitIdle();
  const ends = seen.filter((line) => TERMINAL.test(line));
  expect(await pivot).toBe(end === 'completed');
  if (end === 'gone') {
    expect(ends).toEqual([]);
    return;
  }
  expect(ends).toEqual([end === 'completed' ? 'disk vda 2 0' : 'disk vda 2 1']);
  const xml = await domain.getXMLDesc();
  expect(xml.includes("<source file='/img/copy'")).toBe(end === 'completed');
  expect(xml).not.toContain('<mirror');
}

test('every order of replies and events means the same', async () => {
  await fc.assert(fc.asyncProperty(fc.scheduler(), fc.constantFrom(...ENDS), fc.boolean(), explore), {
    seed: 20_261_121,
    numRuns: 300,
  });
});
