import { describe, expect, test } from 'vitest';
import type { Fault } from '../../../../mock-qemu/core/faults/plan.ts';
import { FAULT_POINTS, type FaultPoint } from '../../../../mock-qemu/core/faults/points.ts';
import { Bench, MIB } from '../commands/bench.ts';
import { SCENARIOS } from './scenarios.ts';

const POINTS = Object.keys(FAULT_POINTS) as FaultPoint[];
const IMAGES = ['/img/base', '/img/mid', '/img/top', '/img/t'];

/** A machine with one fault; `at-time` needs its moment. */
function withFault(fault: Fault): Bench {
  const bench = new Bench();
  bench.qemu.vm.addFault(fault.at === 'at-time' ? { ...fault, atNs: 1_000_000_000 } : fault);
  return bench;
}

describe('every fault point', () => {
  test.each(POINTS)('%s is reached', (at) => {
    const bench = withFault({ at, do: 'stall', delayNs: 1 });
    SCENARIOS[at](bench);
    expect(bench.qemu.vm.faults.list()[0]?.happened).toBeGreaterThan(0);
    expect(bench.exit).toBeUndefined();
  });

  test.each(POINTS)(
    '%s: a crash there ends the process, frees its images, and nothing is heard after it',
    (at) => {
      const bench = withFault({ at, do: 'crash' });
      SCENARIOS[at](bench);
      expect(bench.exit).toBeNull();
      expect(bench.afterExit).toEqual([]);
      for (const path of IMAGES.filter((each) => bench.store.exists(each))) {
        expect(bench.store.open(path).locks.counts).toEqual({ readers: 0, writers: 0 });
      }
    },
  );
});

/** Where the guest's data is after a crash at a point, as libvirt would look: a digest of what each file reads as. */
function crashAt(
  at: FaultPoint,
  seed = 1,
): { before: string; top: string; target: string | undefined; bench: Bench } {
  const bench = new Bench(undefined, seed);
  const before = bench.store.digest('/img/top');
  bench.qemu.vm.addFault({ at, do: 'crash' });
  SCENARIOS[at](bench);
  expect(bench.exit).toBeNull();
  const target = bench.store.exists('/img/t') ? bench.store.digest('/img/t') : undefined;
  return { before, top: bench.store.digest('/img/top'), target, bench };
}

describe('what a crash leaves behind', () => {
  test('C1: an orphan; C2: the source alone is right', () => {
    for (const at of ['mirror.target-created', 'mirror.target-write'] as const) {
      const { before, top, target } = crashAt(at);
      expect(top).toBe(before);
      expect(target).not.toBe(before);
    }
  });

  test('C3 and C5: both are right', () => {
    for (const at of ['mirror.before-ready', 'mirror.after-ready', 'pivot.final-sync'] as const) {
      const { before, top, target } = crashAt(at);
      expect([top, target]).toEqual([before, before]);
    }
  });

  test('C4: the source has what the guest flushed, the target may lack it, by the seed', () => {
    const outcomes = new Set<boolean>();
    for (let seed = 1; seed <= 12; seed++) {
      const bench = new Bench(undefined, seed);
      bench.qemu.vm.addFault({ at: 'mirror.tail-copied', do: 'hang', after: 1 });
      bench.addTarget();
      bench.run('blockdev-mirror', { 'job-id': 'm', device: 'libvirt-1-format', target: 't', sync: 'none' });
      bench.idle();
      bench.guest('write -P 9 6M 64k');
      bench.guest('flush');
      const durable = bench.store.digest('/img/top');
      bench.idle();
      bench.qemu.step({ type: 'signal', signal: 'SIGKILL' });
      expect(bench.store.digest('/img/top')).toBe(durable);
      outcomes.add(bench.store.open('/img/t').extents.coveredBytes > 0);
    }
    expect(outcomes).toEqual(new Set([true, false]));
  });

  test('C6 and C7: the guest was on the target, no header says so', () => {
    for (const at of ['pivot.after-graph-change', 'pivot.before-event', 'pivot.after-event'] as const) {
      const { before, target, bench } = crashAt(at);
      expect(target).toBe(before);
      expect(bench.store.open('/img/top').header.backingName).toBe('/img/mid');
      expect(bench.log.includes('BLOCK_JOB_COMPLETED')).toBe(at === 'pivot.after-event');
    }
  });

  test("C5' and C6': old chain and new chain read the same", () => {
    const ends = { stream: '/img/top', commit: '/img/top' } as const;
    for (const job of ['stream', 'commit'] as const) {
      for (const step of ['copied', 'after-graph-change', 'after-header', 'after-event'] as const) {
        const { before, bench } = crashAt(`${job}.${step}`);
        expect(bench.store.digest(ends[job])).toBe(before);
      }
    }
    expect(crashAt('stream.copied').bench.store.open('/img/top').header.backingName).toBe('/img/mid');
    expect(crashAt('stream.after-header').bench.store.open('/img/top').header.backingName).toBeUndefined();
    expect(crashAt('commit.after-header').bench.store.open('/img/top').header.backingName).toBe('/img/base');
  });
});

describe('steps that fail', () => {
  test('a pivot that cannot change the graph leaves the guest on the source', () => {
    const bench = withFault({ at: 'pivot.before-graph-change', do: 'error', errno: 'EPERM' });
    SCENARIOS['pivot.before-graph-change'](bench);
    expect(bench.heard().slice(-4)).toEqual(['m:aborting', 'BLOCK_JOB_COMPLETED', 'm:concluded', 'm:null']);
    expect(bench.chain()[0]).toBe('/img/top');
  });

  test.each(['stream', 'commit'] as const)('%s: a header that cannot be written fails the job', (job) => {
    const bench = withFault({ at: `${job}.header-write`, do: 'error' });
    const name = bench.store.open('/img/top').header.backingName;
    SCENARIOS[`${job}.header-write`](bench);
    expect(bench.heard()).toContain(`${job === 'stream' ? 's' : 'c'}:aborting`);
    expect(bench.store.open('/img/top').header.backingName).toBe(name);
    expect(bench.chain()).toHaveLength(job === 'stream' ? 1 : 2);
  });

  test.each(['stream', 'commit'] as const)('%s: a graph that cannot change stays', (job) => {
    const bench = withFault({ at: `${job}.before-graph-change`, do: 'error' });
    SCENARIOS[`${job}.before-graph-change`](bench);
    expect(bench.chain()).toEqual(['/img/top', '/img/mid', '/img/base']);
    expect(bench.run('query-jobs')).toEqual([]);
  });
});

describe('requests', () => {
  test('fail by offset, by count and by time, and for a node only where they reach it', () => {
    const fails = (fault: Omit<Fault, 'at' | 'do'>): boolean => {
      const bench = withFault({ at: 'node.write', do: 'error', ...fault });
      return bench.guest('write -P 9 1M 64k').includes('failed');
    };
    expect(fails({})).toBe(true);
    expect(fails({ offset: MIB })).toBe(true);
    expect(fails({ offset: 2 * MIB })).toBe(false);
    expect(fails({ after: 1 })).toBe(false);
    expect(fails({ times: 0 })).toBe(false);
    expect(fails({ atNs: 3_600_000_000_000 })).toBe(false);
    expect(fails({ untilNs: 0 })).toBe(false);
    expect(fails({ node: 'libvirt-1-storage' })).toBe(true);
    expect(fails({ node: 'libvirt-2-storage' })).toBe(false);
  });

  test('are slow', () => {
    const timed = (delayNs: number): number => {
      const bench = withFault({ at: 'mirror.target-flush', do: 'delay', delayNs });
      SCENARIOS['mirror.target-flush'](bench);
      return bench.qemu.vm.clock.now();
    };
    expect(timed(5_000_000_000) - timed(0)).toBe(5_000_000_000);
  });
});
