import { describe, expect, test } from 'vitest';
import { profileNamed, withoutBugs } from '../../../../mock-qemu/profiles/index.ts';
import { Bench, MIB } from './bench.ts';

const mirror = { 'job-id': 'm', device: 'libvirt-1-format', target: 't', sync: 'full' };

describe('mirror', () => {
  test('copies, becomes ready once, pivots, and the guest goes on over there', () => {
    const bench = new Bench();
    bench.addTarget();
    bench.run('blockdev-mirror', { ...mirror, 'auto-dismiss': false });
    bench.idle();
    expect(bench.heard()).toEqual(['m:created', 'm:running', '{}', 'm:ready', 'BLOCK_JOB_READY']);
    bench.guest('write -P 9 5M 64k');
    bench.idle();
    bench.heard();
    expect(bench.run('query-jobs')).toMatchObject([
      { 'current-progress': 8 * MIB + 65536, 'total-progress': 8 * MIB + 65536 },
    ]);
    bench.heard();
    bench.run('job-complete', { id: 'm' });
    bench.idle();
    expect(bench.heard()).toEqual(['{}', 'm:waiting', 'm:pending', 'BLOCK_JOB_COMPLETED', 'm:concluded']);
    expect(bench.chain()).toEqual(['/img/t']);
    expect(bench.reads(9, 5 * MIB, 65536)).toBe(true);
    expect(bench.reads(2, MIB, MIB)).toBe(true);
  });

  test('a ready, idle mirror has nothing scheduled', () => {
    const bench = new Bench();
    bench.addTarget();
    bench.run('blockdev-mirror', mirror);
    bench.idle();
    expect(bench.qemu.nextTimerAt()).toBeUndefined();
    expect(bench.run('query-block-jobs')).toMatchObject([{ status: 'ready', ready: true }]);
  });

  test('a soft cancel leaves the guest where it is, with an equal copy', () => {
    const bench = new Bench();
    bench.addTarget();
    bench.run('blockdev-mirror', mirror);
    bench.idle();
    bench.guest('write -P 9 0 512');
    bench.heard();
    bench.run('block-job-cancel', { device: 'm' });
    bench.idle();
    expect(bench.heard()).toEqual([
      '{}',
      'm:waiting',
      'm:pending',
      'BLOCK_JOB_COMPLETED',
      'm:concluded',
      'm:null',
    ]);
    expect(bench.chain()).toEqual(['/img/top', '/img/mid', '/img/base']);
    bench.guest('flush');
    expect(bench.store.digest('/img/t')).toBe(bench.store.digest('/img/top'));
  });

  test('force cancel in ready, pause in ready, completion while standby', () => {
    const bench = new Bench();
    bench.addTarget();
    bench.run('blockdev-mirror', mirror);
    bench.idle();
    bench.heard();
    bench.run('block-job-pause', { device: 'm' });
    expect(bench.heard()).toEqual(['m:standby', '{}']);
    bench.run('block-job-complete', { device: 'm' });
    bench.idle();
    expect(bench.heard()).toEqual(['{}']);
    bench.run('block-job-resume', { device: 'm' });
    bench.idle();
    expect(bench.heard().slice(0, 3)).toEqual(['m:ready', '{}', 'm:waiting']);
    expect(bench.chain()).toEqual(['/img/t']);
  });

  test('a target of another size fails after the start', () => {
    const bench = new Bench();
    bench.addTarget({}, 4 * MIB);
    bench.run('blockdev-mirror', { ...mirror, 'auto-dismiss': false });
    bench.idle();
    expect(bench.heard()).toEqual([
      'm:created',
      'm:running',
      '{}',
      'm:aborting',
      'BLOCK_JOB_COMPLETED',
      'm:concluded',
    ]);
    expect(bench.run('query-jobs')).toMatchObject([
      { error: 'Source and target image have different sizes', 'total-progress': 0 },
    ]);
  });

  test.each([
    ['report', ['BLOCK_JOB_ERROR', 'm:aborting', 'BLOCK_JOB_COMPLETED', 'm:concluded', 'm:null']],
    ['stop', ['BLOCK_JOB_ERROR', 'm:paused']],
    ['ignore', ['BLOCK_JOB_ERROR', 'm:ready', 'BLOCK_JOB_READY']],
    ['enospc', ['BLOCK_JOB_ERROR', 'm:paused']],
  ])('target error, policy %s', (policy, expected) => {
    const bench = new Bench();
    bench.addTarget();
    bench.qemu.vm.addFault({ at: 'mirror.target-write', do: 'error', errno: 'ENOSPC', times: 1 });
    bench.run('blockdev-mirror', { ...mirror, 'on-target-error': policy });
    bench.idle();
    expect(bench.heard()).toEqual(['m:created', 'm:running', '{}', ...expected]);
    const [job] = bench.run('query-block-jobs') as readonly Record<string, unknown>[];
    const stopped = { 'io-status': 'nospace', offset: 7 * MIB, len: 8 * MIB, paused: true };
    if (expected.includes('m:paused')) expect(job).toMatchObject(stopped);
  });

  test('completion by hand holds the guest back until it is finalized', () => {
    const bench = new Bench();
    bench.addTarget();
    bench.run('blockdev-mirror', { ...mirror, 'auto-finalize': false });
    bench.idle();
    bench.run('job-complete', { id: 'm' });
    bench.idle();
    expect(bench.heard().slice(-3)).toEqual(['m:waiting', 'm:pending', 'BLOCK_JOB_PENDING']);
    expect(bench.chain()).toEqual(['/img/top', '/img/mid', '/img/base']);
    bench.run('job-finalize', { id: 'm' });
    expect(bench.heard()).toEqual(['BLOCK_JOB_COMPLETED', 'm:concluded', 'm:null', '{}']);
    expect(bench.chain()).toEqual(['/img/t']);
  });

  test('write-blocking: a guest write is on both sides when it is done', () => {
    const bench = new Bench();
    bench.addTarget();
    bench.run('blockdev-mirror', { ...mirror, 'copy-mode': 'write-blocking' });
    bench.idle();
    bench.guest('write -P 9 0 64k');
    expect(bench.qemu.nextTimerAt()).toBeUndefined();
    const [job] = bench.run('query-block-jobs') as readonly Record<string, unknown>[];
    expect(job).toMatchObject({ offset: 8 * MIB + 65536, len: 8 * MIB + 65536 });
  });
});

describe('stream', () => {
  test('pulls the whole chain and clears the header', () => {
    const bench = new Bench();
    const before = bench.store.digest('/img/top');
    bench.run('block-stream', { device: 'libvirt-1-format', 'job-id': 's' });
    bench.idle();
    expect(bench.heard()).toEqual([
      's:created',
      's:running',
      '{}',
      's:waiting',
      's:pending',
      'BLOCK_JOB_COMPLETED',
      's:concluded',
      's:null',
    ]);
    expect(bench.chain()).toEqual(['/img/top']);
    expect(bench.store.open('/img/top').header.backingName).toBeUndefined();
    expect(bench.store.digest('/img/top')).toBe(before);
  });

  test('with nothing to do all is over before the reply', () => {
    const bench = new Bench();
    bench.addTarget();
    bench.run('block-stream', { device: 't', 'job-id': 's' });
    expect(bench.heard().at(-1)).toBe('{}');
    expect(bench.run('query-jobs')).toEqual([]);
  });

  test('down to a base, with a backing name of the caller', () => {
    const bench = new Bench();
    const args = { device: 'libvirt-1-format', 'job-id': 's', 'base-node': 'libvirt-3-format' };
    bench.run('block-stream', { ...args, 'backing-file': 'base' });
    bench.idle();
    expect(bench.store.open('/img/top').header).toMatchObject({
      backingName: 'base',
      backingFormat: 'qcow2',
    });
    expect(bench.reads(2, MIB, MIB)).toBe(true);
    expect(bench.reads(1, 0, MIB)).toBe(true);
  });

  test('throttled: pause, refusals, resume, cancel', () => {
    const bench = new Bench();
    bench.run('block-stream', { device: 'libvirt-1-format', 'job-id': 's', speed: 65536 });
    while ((bench.run('query-block-jobs') as readonly { offset: number }[])[0]?.offset === 0);
    bench.heard();
    bench.run('block-job-pause', { device: 's' });
    expect(bench.heard()).toEqual(['s:paused', '{}']);
    expect(bench.run('block-job-pause', { device: 's' })).toBe('Job is already paused');
    expect(bench.run('block-job-cancel', { device: 's' })).toBe(
      "The block job for device 's' is currently paused",
    );
    expect(bench.run('block-job-complete', { device: 's' })).toBe(
      "Job 's' in state 'paused' cannot accept command verb 'complete'",
    );
    bench.heard();
    bench.run('block-job-cancel', { device: 's', force: true });
    expect(bench.heard()).toEqual([
      's:running',
      's:aborting',
      'BLOCK_JOB_CANCELLED',
      's:concluded',
      's:null',
      '{}',
    ]);
    expect(bench.chain()).toEqual(['/img/top', '/img/mid', '/img/base']);
  });
});

describe('commit', () => {
  test('an image in the middle goes into its base', () => {
    const bench = new Bench();
    const before = bench.store.digest('/img/top');
    const nodes = { 'top-node': 'libvirt-2-format', 'base-node': 'libvirt-3-format' };
    bench.run('block-commit', {
      device: 'libvirt-1-format',
      'job-id': 'c',
      ...nodes,
      'backing-file': '/img/base',
    });
    bench.idle();
    expect(bench.heard()).toContain('BLOCK_JOB_COMPLETED');
    expect(bench.chain()).toEqual(['/img/top', '/img/base']);
    expect(bench.store.digest('/img/top')).toBe(before);
  });

  test('the active image: ready, pivot, no header rewritten', () => {
    const bench = new Bench();
    const before = bench.store.digest('/img/top');
    bench.run('block-commit', { device: 'libvirt-1-format', 'job-id': 'c' });
    bench.idle();
    expect(bench.heard()).toEqual(['c:created', 'c:running', '{}', 'c:ready', 'BLOCK_JOB_READY']);
    bench.run('job-complete', { id: 'c' });
    bench.idle();
    expect(bench.chain()).toEqual(['/img/base']);
    expect(bench.store.open('/img/top').header.backingName).toBe('/img/mid');
    expect(bench.store.digest('/img/base')).toBe(before);
  });
});

describe('backup', () => {
  test('is of the moment of its start, whatever the guest writes then', () => {
    const bench = new Bench();
    bench.addTarget();
    const before = bench.store.digest('/img/top');
    bench.run('blockdev-backup', {
      'job-id': 'b',
      device: 'libvirt-1-format',
      target: 't',
      sync: 'full',
      speed: MIB,
    });
    expect(bench.heard()).toEqual(['b:created', 'b:running', 'b:paused', 'b:running', '{}']);
    bench.guest('write -P 9 0 8M');
    bench.idle();
    expect(bench.heard()).toContain('BLOCK_JOB_COMPLETED');
    expect(bench.store.digest('/img/t')).toBe(before);
    expect(bench.reads(9, 0, 8 * MIB)).toBe(true);
  });

  test('two of a group that fails hang a 7.2, unless the bug is off', () => {
    const run = (fixed: readonly string[]): Bench => {
      const bench = new Bench(undefined, 1, withoutBugs(profileNamed('qemu-7.2'), fixed));
      bench.addTarget();
      const nothing = { driver: 'null-co', size: 8 * MIB };
      bench.run('blockdev-add', { ...nothing, 'node-name': 'u' });
      bench.heard();
      const backup = (data: object) => ({ type: 'blockdev-backup', data: { sync: 'full', ...data } });
      bench.run('transaction', {
        properties: { 'completion-mode': 'grouped' },
        actions: [
          backup({ 'job-id': 'a', device: 'libvirt-1-format', target: 't' }),
          backup({ 'job-id': 'b', device: 'libvirt-2-format', target: 'u' }),
          backup({ 'job-id': 'c', device: 'nope', target: 'u' }),
        ],
      });
      return bench;
    };
    const dropped = (id: string) => [`${id}:aborting`, `${id}:concluded`, `${id}:null`];
    const before = ['a:created', 'b:created', ...dropped('b')];
    const hung = run([]);
    expect(hung.heard()).toEqual(before);
    expect(hung.send('query-status')).toEqual({});
    const fixed = run(['groupAbortHangs']);
    expect(fixed.heard()).toEqual([...before, ...dropped('a'), 'error']);
    expect(fixed.run('query-jobs')).toEqual([]);
  });
});
