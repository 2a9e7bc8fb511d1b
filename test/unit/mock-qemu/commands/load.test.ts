/** A guest that keeps writing, and what becomes of copies of its disk. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { format } from '../../../../mock-qemu/core/jobs/create.ts';
import { profileNamed } from '../../../../mock-qemu/profiles/index.ts';
import type { JsonObject } from '../../../../src/qmp/messages.ts';
import { Bench, chainArgv, MIB } from './bench.ts';

const SECOND_NS = 1_000_000_000;
const GIB = 2 ** 30;

const PROFILES = ['qemu-7.2', 'qemu-10.0'] as const;
type Profile = (typeof PROFILES)[number];

/** A running guest with a disk `big` that is fully written, and a node `copy` of its size. */
function withDisk(sizeBytes: number, profile: Profile = 'qemu-7.2'): Bench {
  const bench = new Bench(chainArgv(), 1, profileNamed(profile));
  for (const name of ['big', 'copy']) {
    const image = bench.store.create(`/img/${name}`);
    format(image, { format: 'qcow2', sizeBytes, header: { clusterSizeBytes: 65536 } });
    if (name === 'big') image.extents.set(0, sizeBytes, 1);
    const file = { driver: 'file', filename: `/img/${name}` };
    bench.run('blockdev-add', { driver: 'qcow2', 'node-name': name, file });
  }
  bench.run('device_add', { driver: 'virtio-blk-pci', id: 'guest', drive: 'big' });
  bench.run('cont');
  return bench;
}

const load = (bench: Bench, options: JsonObject): unknown =>
  bench.qemu.control({ control: 'guest-load', disk: 'guest', ...options });

const mirror = (bench: Bench, options: JsonObject = {}): void => {
  bench.run('blockdev-mirror', { 'job-id': 'm', device: 'big', target: 'copy', sync: 'full', ...options });
};

/** Lets time pass until the job is ready; the virtual seconds that took, undefined if more than `limit`. */
function secondsToReady(bench: Bench, limit: number): number | undefined {
  const { clock } = bench.qemu.vm;
  const startNs = clock.now();
  while (!bench.log.includes('BLOCK_JOB_READY')) {
    if (clock.now() - startNs > limit * SECOND_NS || !bench.jump()) return undefined;
  }
  return (clock.now() - startNs) / SECOND_NS;
}

const job = (bench: Bench): JsonObject =>
  (bench.run('query-block-jobs') as readonly JsonObject[])[0] as JsonObject;

describe('a copy of a disk that is written to', () => {
  test('is ready when size / (copy rate - write rate) says, if the guest goes straight on', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 16 }),
        fc.integer({ min: 16, max: 256 }),
        fc.integer({ min: 0, max: 90 }),
        fc.constantFrom(...PROFILES),
        (sizeGib, copyMib, percent, profile) => {
          const sizeBytes = sizeGib * GIB;
          const copyRate = copyMib * MIB;
          const writeRate = Math.floor((copyRate * percent) / 100);
          // Only as much as fits on the disk once: a second round would find stale what is stale already.
          const expected = sizeBytes / (copyRate - writeRate);
          fc.pre(writeRate * expected < sizeBytes);
          const bench = withDisk(sizeBytes, profile);
          load(bench, { bytesPerSecond: writeRate });
          mirror(bench, { speed: copyRate });
          // A job may be one buffer and one slice ahead of or behind its rate, and the guest uses that time, too.
          const slack = ((16 * MIB) / copyRate + 0.2) * (copyRate / (copyRate - writeRate)) * 2;
          const seconds = secondsToReady(bench, expected + slack);
          expect(seconds).toBeDefined();
          expect(Math.abs((seconds ?? 0) - expected)).toBeLessThan(slack);
        },
      ),
      { numRuns: 25 },
    );
  });

  test('is ready within the bounds of a hot set that is written over and over, exactly if its rate is higher', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 64, max: 1024 }),
        fc.integer({ min: 10, max: 300 }),
        fc.constantFrom('sequential', 'random'),
        fc.constantFrom(...PROFILES),
        (hotMib, percent, pattern, profile) => {
          fc.pre(percent < 90 || percent >= 100);
          const [sizeBytes, copyRate] = [4 * GIB, 64 * MIB];
          const writeRate = Math.floor((copyRate * percent) / 100);
          const bench = withDisk(sizeBytes, profile);
          load(bench, { bytesPerSecond: writeRate, hotBytes: hotMib * MIB, pattern });
          mirror(bench, { speed: copyRate });
          const atMost = (sizeBytes + hotMib * MIB) / copyRate + (hotMib * MIB) / (copyRate - writeRate) + 2;
          const seconds = secondsToReady(bench, percent < 100 ? atMost : 3600);
          if (percent >= 100) expect(seconds).toBeUndefined();
          else expect(seconds).toBeGreaterThan(sizeBytes / copyRate - 1);
        },
      ),
      { numRuns: 25 },
    );
  });

  test('that never gets ready costs next to nothing to watch, and is right when it ends', () => {
    const bench = withDisk(64 * GIB);
    load(bench, { bytesPerSecond: 200 * MIB, hotBytes: GIB });
    mirror(bench, { speed: 100 * MIB });
    const startMs = performance.now();
    bench.qemu.advance(3600 * SECOND_NS);
    expect(performance.now() - startMs).toBeLessThan(50);
    const after = job(bench);
    expect(after).toMatchObject({ ready: false, status: 'running' });
    const copied = Number(after.offset) / (100 * MIB);
    expect(copied).toBeGreaterThan(3590);
    expect(copied).toBeLessThan(3610);
    const staleBytes = Number(after.len) - Number(after.offset);
    expect(staleBytes).toBeGreaterThan(0.3 * GIB);
    expect(staleBytes).toBeLessThan(1.1 * GIB);
    bench.qemu.control({ control: 'stop-guest-load', disk: 'guest' });
    bench.heard();
    expect(secondsToReady(bench, 30)).toBeDefined();
    bench.run('job-complete', { id: 'm' });
    bench.idle();
    expect(bench.store.digest('/img/copy')).toBe(bench.store.digest('/img/big'));
  });

  test.each([1, 7])('behind a guest that goes round has a saw to go, seen every %i s', (everySeconds) => {
    const hotBytes = 100 * MIB;
    const bench = withDisk(128 * MIB);
    load(bench, { bytesPerSecond: 25 * MIB, hotBytes });
    mirror(bench, { speed: 20 * MIB });
    bench.qemu.advance(100 * SECOND_NS);
    const left: number[] = [];
    for (let look = 0; look < 60; look++) {
      bench.qemu.advance(everySeconds * SECOND_NS);
      const { len, offset } = job(bench);
      left.push((Number(len) - Number(offset)) / MIB);
    }
    // As it was seen on real ones: down to what the guest makes stale while the copy goes round once, up to all of it.
    expect(Math.min(...left)).toBeGreaterThan(18);
    expect(Math.min(...left)).toBeLessThan(35);
    expect(Math.max(...left)).toBeGreaterThan(85);
    expect(Math.max(...left)).toBeLessThan(101);
    expect(left.reduce((sum, each) => sum + each, 0) / left.length).toBeCloseTo(60, -1);
  });

  test.each([
    ['the guest stops', (bench: Bench) => void bench.run('stop')],
    [
      'its speed is raised',
      (bench: Bench) => void bench.run('block-job-set-speed', { device: 'm', speed: 0 }),
    ],
    [
      'the guest writes less',
      (bench: Bench) => void load(bench, { bytesPerSecond: 10 * MIB, hotBytes: GIB }),
    ],
  ])('gets ready after all when %s', (_what, act) => {
    const bench = withDisk(4 * GIB);
    load(bench, { bytesPerSecond: 100 * MIB, hotBytes: GIB });
    mirror(bench, { speed: 64 * MIB });
    bench.qemu.advance(600 * SECOND_NS);
    expect(job(bench)).toMatchObject({ ready: false });
    act(bench);
    expect(secondsToReady(bench, 60)).toBeDefined();
  });

  test('stands still while it is paused', () => {
    const bench = withDisk(GIB);
    load(bench, { bytesPerSecond: 100 * MIB });
    mirror(bench, { speed: 64 * MIB });
    bench.qemu.advance(60 * SECOND_NS);
    bench.run('job-pause', { id: 'm' });
    const { offset } = job(bench);
    bench.qemu.advance(60 * SECOND_NS);
    expect(job(bench)).toMatchObject({ status: 'paused', offset });
    bench.run('job-resume', { id: 'm' });
    bench.qemu.advance(10 * SECOND_NS);
    const moved = (Number(job(bench).offset) - Number(offset)) / MIB;
    expect(moved).toBeGreaterThan(600);
    expect(moved).toBeLessThan(720);
  });

  test('write-blocking: ready whatever the guest does, whose writes take longer', () => {
    const bench = withDisk(GIB);
    load(bench, { bytesPerSecond: 512 * MIB, hotBytes: 256 * MIB });
    const query = () => bench.qemu.control({ control: 'query-guest-load', disk: 'guest' }) as JsonObject;
    const before = query();
    mirror(bench, { speed: 64 * MIB, 'copy-mode': 'write-blocking' });
    expect(secondsToReady(bench, 20)).toBeDefined();
    const after = query();
    expect(after.writeLatencyNs).toBe(Number(before.writeLatencyNs) * 2);
    bench.run('job-complete', { id: 'm' });
    while (!bench.log.includes('m:null')) bench.jump();
    bench.run('stop');
    bench.qemu.control({ control: 'stop-guest-load', disk: 'guest' });
    bench.run('quit');
    bench.idle();
    expect(bench.store.open('/img/copy').extents.coveredBytes).toBe(GIB);
  });
});

describe('a load', () => {
  test('follows its rate, rests between bursts, flushes, and stops with the CPUs', () => {
    const bench = withDisk(GIB);
    load(bench, {
      bytesPerSecond: 10 * MIB,
      burstNs: SECOND_NS,
      restNs: SECOND_NS,
      flushIntervalNs: SECOND_NS,
    });
    bench.qemu.advance(10 * SECOND_NS);
    const query = () => bench.qemu.control({ control: 'query-guest-load', disk: 'guest' }) as JsonObject;
    expect(Number(query().writtenBytes) / MIB).toBeCloseTo(50, 0);
    expect(query().flushes).toBeGreaterThan(0);
    bench.run('stop');
    const { writtenBytes } = query();
    bench.qemu.advance(10 * SECOND_NS);
    expect(query().writtenBytes).toBe(writtenBytes);
    bench.run('cont');
    bench.qemu.advance(10 * SECOND_NS);
    expect((Number(query().writtenBytes) - Number(writtenBytes)) / MIB).toBeCloseTo(50, 0);
  });

  test('is the same for the same seed', () => {
    const content = (): string => {
      const bench = withDisk(GIB);
      load(bench, { bytesPerSecond: 10 * MIB, pattern: 'random', hotBytes: 64 * MIB });
      for (let second = 0; second < 5; second++) {
        bench.qemu.advance(SECOND_NS);
        bench.run('query-status');
      }
      bench.run('quit');
      bench.idle();
      return bench.store.digest('/img/big');
    };
    expect(content()).toBe(content());
  });

  test('meets errors in time, and goes on after them', () => {
    const bench = withDisk(GIB);
    load(bench, { bytesPerSecond: 10 * MIB });
    const fault = { at: 'guest.write', do: 'error', errno: 'ENOSPC', atNs: 2 * SECOND_NS, times: 1 };
    bench.qemu.control({ control: 'add-faults', faults: [fault] });
    bench.heard();
    while (!bench.log.includes('STOP') && bench.jump());
    expect(bench.heard()).toEqual(['BLOCK_IO_ERROR', 'STOP']);
    expect(bench.qemu.vm.clock.now() / SECOND_NS).toBeLessThan(2.3);
    bench.run('cont');
    bench.qemu.advance(SECOND_NS);
    expect(bench.run('query-status')).toMatchObject({ status: 'running' });
  });

  test('passes a write threshold in time', () => {
    const bench = withDisk(GIB);
    bench.run('block-set-write-threshold', { 'node-name': 'big', 'write-threshold': 100 * MIB });
    load(bench, { bytesPerSecond: 50 * MIB });
    bench.heard();
    while (!bench.log.includes('BLOCK_WRITE_THRESHOLD') && bench.jump());
    expect(bench.qemu.vm.clock.now() / SECOND_NS).toBeLessThan(2.5);
    expect(bench.heard()).toEqual(['BLOCK_WRITE_THRESHOLD']);
  });
});
